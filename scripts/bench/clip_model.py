"""A plain PyTorch CLIP: ViT or ModifiedResNet (Radford et al. 2021, section 2.4). Names of weights are OpenAI's."""

import json
import struct

import numpy
import torch
import torch.nn.functional as F
from torch import nn

VIT_B_32 = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """nn.MultiheadAttention's weights; its own fast path fails under autocast in PyTorch 1.13."""

    def __init__(self, width, heads):
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.heads = heads

    def forward(self, x, mask=None):
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out_proj(attention(q, k, v, mask).transpose(1, 2).flatten(2))


def attention(q, k, v, mask=None):
    """softmax(q k^T / sqrt(d) + mask) v of [B, H, T, d]; fused from PyTorch 2.0 on."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, mask)
    logits = q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)
    return (logits if mask is None else logits + mask).softmax(-1) @ v


class Block(nn.Module):
    def __init__(self, width, heads, activation):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "gelu": activation(), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x, mask=None):
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp["c_proj"](self.mlp["gelu"](self.mlp["c_fc"](self.ln_2(x))))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads, activation):
        super().__init__()
        self.resblocks = nn.ModuleList([Block(width, heads, activation) for _ in range(layers)])

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, width, layers, embed_dim, activation):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn((image_size // patch_size) ** 2 + 1, width) * width**-0.5)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, width // 64, activation)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, embed_dim) * width**-0.5)

    def forward(self, x):
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)
        x = self.transformer(self.ln_pre(x + self.positional_embedding))
        return self.ln_post(x[:, 0]) @ self.proj


class Bottleneck(nn.Module):
    def __init__(self, inside, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = None
        if stride > 1 or inside != 4 * planes:
            self.downsample = nn.Sequential()
            self.downsample.add_module("-1", nn.AvgPool2d(stride))
            self.downsample.add_module("0", nn.Conv2d(inside, 4 * planes, 1, bias=False))
            self.downsample.add_module("1", nn.BatchNorm2d(4 * planes))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.pool(F.relu(self.bn2(self.conv2(out))))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class AttentionPool(nn.Module):
    def __init__(self, positions, width, heads, embed_dim):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(positions + 1, width) * width**-0.5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, embed_dim)
        self.heads = heads

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], dim=1) + self.positional_embedding
        split = lambda t: t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, k, v = split(self.q_proj(x[:, :1])), split(self.k_proj(x)), split(self.v_proj(x))
        return self.c_proj(attention(q, k, v).transpose(1, 2).flatten(2)[:, 0])


class ModifiedResNet(nn.Module):
    def __init__(self, image_size, width, layers, embed_dim):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        inside = width
        for i, blocks in enumerate(layers):
            stage = []
            for j in range(blocks):
                stage.append(Bottleneck(inside, width << i, 2 if i and not j else 1))
                inside = 4 * (width << i)
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        self.attnpool = AttentionPool((image_size // 32) ** 2, inside, inside // 64, embed_dim)

    def forward(self, x):
        for conv, bn in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(bn(conv(x)))
        x = F.avg_pool2d(x, 2)
        return self.attnpool(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


class CLIP(nn.Module):
    def __init__(self, embed_dim, vision_cfg, text_cfg, quick_gelu=False):
        super().__init__()
        activation = QuickGELU if quick_gelu else nn.GELU
        v, t = vision_cfg, text_cfg
        if isinstance(v["layers"], list):
            self.visual = ModifiedResNet(v["image_size"], v["width"], v["layers"], embed_dim)
        else:
            self.visual = VisionTransformer(
                v["image_size"], v["patch_size"], v["width"], v["layers"], embed_dim, activation)
        self.image_size, self.context = v["image_size"], t["context_length"]
        self.token_embedding = nn.Embedding(t["vocab_size"], t["width"])
        self.positional_embedding = nn.Parameter(torch.randn(self.context, t["width"]) * 0.01)
        self.transformer = Transformer(t["width"], t["layers"], t["heads"], activation)
        self.ln_final = nn.LayerNorm(t["width"])
        self.text_projection = nn.Parameter(torch.randn(t["width"], embed_dim) * t["width"] ** -0.5)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.register_buffer("mask", torch.full((self.context,) * 2, float("-inf")).triu(1), persistent=False)

    def encode_image(self, pixels):
        return F.normalize(self.visual(pixels).float(), dim=-1)

    def encode_text(self, ids, eos):
        """ids [N, context], padded with 0."""
        x = self.transformer(self.token_embedding(ids) + self.positional_embedding, self.mask)
        x = self.ln_final(x[torch.arange(len(ids)), (ids == eos).int().argmax(-1)])
        return F.normalize((x @ self.text_projection).float(), dim=-1)


def contrastive_loss(images, texts, logit_scale):
    """CLIP's symmetric cross-entropy (Radford et al. 2021, figure 3) of pairs [B, D]."""
    logits = logit_scale.exp() * images @ texts.t()
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2


def read_safetensors(path):
    """Tensors of a safetensors file in float32 (its format is 8 bytes of length, a JSON header, the data)."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    out = {}
    for name, t in header.items():
        if name != "__metadata__":
            a = numpy.frombuffer(data[slice(*t["data_offsets"])], dtype={"F16": "<f2", "F32": "<f4", "I64": "<i8"}[t["dtype"]])
            out[name] = torch.from_numpy(a.reshape(t["shape"]).astype("<i8" if t["dtype"] == "I64" else "<f4"))
    return out


def load(folder):
    """The CLIP in a folder of open_clip's layout, or ViT-B/32 of random weights where there is none."""
    if not folder:
        return CLIP(**VIT_B_32)
    with open(f"{folder}/open_clip_config.json", encoding="utf-8") as f:
        config = json.load(f)["model_cfg"]
    config["text_cfg"].pop("hf_tokenizer_name", None)
    model = CLIP(**config)
    missing, unexpected = model.load_state_dict(read_safetensors(f"{folder}/open_clip_model.safetensors"), strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"{folder}: missing {missing}, unexpected {unexpected}")
    return model
