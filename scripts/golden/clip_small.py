"""Writes clip/testdata/golden_*.safetensors: small random CLIPs, inputs, and the features,
loss and gradients that PyTorch gives for them.

An implementation of its own, straight from the paper's description and the
names in the checkpoints, so that a mistake in the Go code shows; features.py
does the same with the libraries that users have.
"""
import json
import math
import pathlib
import struct
import sys

import torch
import torch.nn.functional as F

DTYPES = {torch.float32: "F32", torch.int64: "I64", torch.uint8: "U8"}


def write_safetensors(path, tensors, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, t in sorted(tensors.items()):
        raw = t.detach().contiguous().numpy().tobytes()
        header[name] = {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)


class Weights(dict):
    """Random leaf tensors, made when first asked for."""

    def __init__(self, seed):
        super().__init__()
        self.rng = torch.Generator().manual_seed(seed)
        self.buffers = set()

    def get(self, name, *shape, mean=0.0, std=None, buffer=False):
        if name not in self:
            if std is None:
                std = 1 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.1
            t = mean + std * torch.randn(shape, generator=self.rng)
            if buffer:
                self.buffers.add(name)
                t = t.abs() + 0.1 if name.endswith("var") else t
            else:
                t.requires_grad_()
            self[name] = t
        return self[name]


def linear(w, name, x, out, bias=True):
    return F.linear(x, w.get(name + ".weight", out, x.shape[-1]), w.get(name + ".bias", out) if bias else None)


def norm(w, name, x):
    n = x.shape[-1]
    return F.layer_norm(x, (n,), w.get(name + ".weight", n, mean=1.0), w.get(name + ".bias", n), 1e-5)


def attention(w, name, x, y, heads, mask=None, names=("q_proj", "k_proj", "v_proj", "out_proj"), out=None):
    b, tq, width = x.shape
    tk, d = y.shape[1], width // heads
    q = linear(w, f"{name}.{names[0]}", x, width).view(b, tq, heads, d)
    k = linear(w, f"{name}.{names[1]}", y, width).view(b, tk, heads, d)
    v = linear(w, f"{name}.{names[2]}", y, width).view(b, tk, heads, d)
    logits = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(d)
    if mask is not None:
        logits = logits + mask
    mixed = torch.einsum("bhqk,bkhd->bqhd", logits.softmax(-1), v).reshape(b, tq, width)
    return linear(w, f"{name}.{names[3]}", mixed, out or width)


def blocks(w, name, x, layers, heads, act, mask=None):
    for i in range(layers):
        p = f"{name}.{i}"
        h = norm(w, p + ".layer_norm1", x)
        x = x + attention(w, p + ".self_attn", h, h, heads, mask)
        h = linear(w, p + ".mlp.fc1", norm(w, p + ".layer_norm2", x), 4 * x.shape[-1])
        h = h * torch.sigmoid(1.702 * h) if act == "quick_gelu" else 0.5 * h * (1 + torch.erf(h / math.sqrt(2)))
        x = x + linear(w, p + ".mlp.fc2", h, x.shape[-1])
    return x


def vit(w, c, x):
    width, patch = c["width"], c["patch_size"]
    x = F.conv2d(x, w.get("vision_model.embeddings.patch_embedding.weight", width, 3, patch, patch), stride=patch)
    x = x.flatten(2).transpose(1, 2)
    cls = w.get("vision_model.embeddings.class_embedding", width, std=0.5)
    x = torch.cat([cls.expand(len(x), 1, width), x], 1)
    x = x + w.get("vision_model.embeddings.position_embedding.weight", x.shape[1], width, std=0.5)
    x = norm(w, "vision_model.pre_layrnorm", x)
    x = blocks(w, "vision_model.encoder.layers", x, c["layers"], c["heads"], c["act"])
    return linear(w, "visual_projection", norm(w, "vision_model.post_layernorm", x[:, 0]), c["embed_dim"], bias=False)


def resnet(w, c, x):
    def conv(name, x, out, k, stride=1):
        return F.conv2d(x, w.get(name + ".weight", out, x.shape[1], k, k), stride=stride, padding=k // 2)

    def bn(name, x):
        n = x.shape[1]
        return F.batch_norm(x, w.get(name + ".running_mean", n, buffer=True), w.get(name + ".running_var", n, mean=1.0, buffer=True),
                            w.get(name + ".weight", n, mean=1.0), w.get(name + ".bias", n), training=False, eps=1e-5)

    width = c["width"]
    for i, out in ((1, width // 2), (2, width // 2), (3, width)):
        x = F.relu(bn(f"visual.bn{i}", conv(f"visual.conv{i}", x, out, 3, stride=2 if i == 1 else 1)))
    x = F.avg_pool2d(x, 2)
    for stage, depth in enumerate(c["resnet_layers"], 1):
        planes = width * 2 ** (stage - 1)
        for i in range(depth):
            p = f"visual.layer{stage}.{i}"
            stride = 2 if stage > 1 and i == 0 else 1
            out = F.relu(bn(p + ".bn1", conv(p + ".conv1", x, planes, 1)))
            out = F.relu(bn(p + ".bn2", conv(p + ".conv2", out, planes, 3)))
            out = F.avg_pool2d(out, stride) if stride > 1 else out
            out = bn(p + ".bn3", conv(p + ".conv3", out, 4 * planes, 1))
            if stride > 1 or x.shape[1] != 4 * planes:
                x = F.avg_pool2d(x, stride) if stride > 1 else x
                x = bn(p + ".downsample.1", conv(p + ".downsample.0", x, 4 * planes, 1))
            x = F.relu(out + x)
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([x.mean(1, keepdim=True), x], 1)
    x = x + w.get("visual.attnpool.positional_embedding", x.shape[1], x.shape[2], std=0.5)
    return attention(w, "visual.attnpool", x[:, :1], x, c["heads"], names=("q_proj", "k_proj", "v_proj", "c_proj"), out=c["embed_dim"])[:, 0]


def text(w, c, ids):
    n = ids.shape[1]
    x = w.get("text_model.embeddings.token_embedding.weight", c["vocab_size"], c["text_width"], std=0.5)[ids]
    x = x + w.get("text_model.embeddings.position_embedding.weight", c["context_length"], c["text_width"], std=0.5)[:n]
    mask = torch.full((n, n), float("-inf")).triu(1)
    x = norm(w, "text_model.final_layer_norm", blocks(w, "text_model.encoder.layers", x, c["text_layers"], c["text_heads"], c["act"], mask))
    if c["argmax"]:
        at = ids.argmax(1)
    else:
        at = (ids == c["eos"]).int().argmax(1)
    return linear(w, "text_projection", x[torch.arange(len(x)), at], c["embed_dim"], bias=False)


TEXT = dict(vocab_size=50, context_length=12, text_width=18, text_layers=2, text_heads=3, embed_dim=20)
CASES = {
    "vit_gelu_eos": dict(TEXT, image_size=24, patch_size=8, width=24, layers=2, heads=4, act="gelu", argmax=False, eos=7),
    "vit_quickgelu_argmax": dict(TEXT, image_size=30, patch_size=6, width=16, layers=3, heads=2, act="quick_gelu", argmax=True, eos=49),
    "resnet": dict(TEXT, image_size=64, width=4, heads=2, resnet_layers=[1, 1, 1, 1], act="quick_gelu", argmax=True, eos=49),
}


def make(name, c, seed):
    w = Weights(seed)
    rng = torch.Generator().manual_seed(seed + 1)
    b = 6
    rgb = torch.randint(0, 256, (b, c["image_size"], c["image_size"], 3), generator=rng, dtype=torch.uint8)
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixels = ((rgb / 255 - mean) / std).permute(0, 3, 1, 2)
    # Texts of different lengths, padded after eos; ids other than eos stay below it.
    ids = torch.zeros(b, c["context_length"], dtype=torch.int64)
    for i in range(b):
        n = 3 + i
        ids[i, 1:n] = torch.randint(8, 49, (n - 1,), generator=rng)
        ids[i, 0], ids[i, n] = 1, c["eos"]
    scale = w.get("logit_scale", std=0.1, mean=2.6592)
    images = F.normalize((resnet if "resnet_layers" in c else vit)(w, c, pixels), dim=-1)
    texts = F.normalize(text(w, c, ids), dim=-1)
    logits = scale.exp() * images @ texts.T
    target = torch.arange(b)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    leaves = [k for k in w if k not in w.buffers]
    gradients = torch.autograd.grad(loss, [w[k] for k in leaves])
    out = {"input.rgb": rgb, "input.ids": ids, "output.images": images, "output.texts": texts, "output.logits": logits, "output.loss": loss}
    out.update({"weight." + k: t for k, t in w.items()})
    out.update({"gradient." + k: g for k, g in zip(leaves, gradients)})
    folder = pathlib.Path(__file__).resolve().parents[2] / "clip/testdata"
    write_safetensors(folder / f"golden_{name}.safetensors", out, {"config": json.dumps(c), "torch": torch.__version__, "python": sys.version.split()[0]})


for seed, (name, config) in enumerate(CASES.items()):
    make(name, config, 10 * seed + 1)
