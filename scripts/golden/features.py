"""Small random CLIPs, written by the libraries themselves in every layout, with
what those compute → clip/testdata/parity/<case>/.

Beside the model's own files each folder has golden.safetensors: token ids, the
features of length 1 and logits of a few images and texts, the contrastive loss,
and its gradients with respect to ten weights. Images are the bytes of hash32
(below), which clip/parity_test.go computes too. vit-b-32.safetensors has the
features of a full-size model whose weights are such numbers.

OpenAI's archives are written with openai/CLIP's model.py, of which a checkout is
needed: run.sh features --openai PATH. Without it they stay as they are.
"""
import argparse
import importlib.util
import io
import json
import pathlib
import re
import shutil
import zipfile

import numpy as np
import open_clip
import safetensors.torch
import torch
import torch.nn.functional as F
import transformers
from PIL import Image

import clipbpe
from versions import versions

OUT = pathlib.Path(__file__).resolve().parents[2] / "clip/testdata/parity"
MEAN, STD = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
MERGES = 40
VOCAB = 512 + MERGES + 2
CONTEXT = 16
BATCH = 4


def hash32(n, seed):
    """n uniform 32-bit numbers: counter i of stream seed through murmur3's finalizer."""
    with np.errstate(over="ignore"):
        x = np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32(seed)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
        return x ^ (x >> np.uint32(16))


def pixels(size, batch=BATCH, seed=1):
    rgb = (hash32(batch * size * size * 3, seed) >> np.uint32(24)).reshape(batch, size, size, 3)
    return ((torch.from_numpy(rgb.astype(np.float32)) / 255 - MEAN) / STD).permute(0, 3, 1, 2)


def token_ids(eos=VOCAB - 1, pad=0, above=False):
    """Rows of different lengths; above puts ids greater than eos before it, and eos again after."""
    rng = np.random.default_rng(3)
    ids = np.full((BATCH, CONTEXT), pad, dtype=np.int64)
    for i in range(BATCH):
        n = 4 + 3 * i
        ids[i, 0], ids[i, n] = VOCAB - 2, eos
        ids[i, 1:n] = rng.integers(eos + 1 if above else 5, VOCAB - 2, n - 1)
        if above and n + 1 < CONTEXT:
            ids[i, n + 1] = eos
    return torch.from_numpy(ids)


def randomize(model, seed):
    """Moves every weight off its initial value, so that none can be left out unseen."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("logit_scale"):
                p.fill_(3.1)
            elif p.ndim < 2:
                p.add_(0.2 * torch.randn(p.shape, generator=g))
            else:
                fan_in = p[0].numel() if "embedding" not in name else 4
                p.copy_(torch.randn(p.shape, generator=g) / fan_in**0.5)
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(0.2 * torch.randn(b.shape, generator=g))
            elif name.endswith("running_var"):
                b.copy_(0.5 + torch.rand(b.shape, generator=g))
    return model.eval()


def write(tensors, path, metadata):
    # One key, since safetensors writes several in no fixed order.
    safetensors.torch.save_file(tensors, path, {"golden": json.dumps(metadata)})


def golden(folder, ids, images, texts, scale, weights, metadata):
    images, texts = F.normalize(images, dim=-1), F.normalize(texts, dim=-1)
    logits = scale.exp() * images @ texts.T
    target = torch.arange(len(logits))
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    out = {"ids": ids, "images": images, "texts": texts, "logits": logits, "loss": loss}
    names = list(weights)
    for name, g in zip(names, torch.autograd.grad(loss, [weights[n] for n in names])):
        out["gradient." + name] = g
    assert len(names) == 10
    out = {k: t.detach().contiguous() for k, t in out.items()}
    write(out, folder / "golden.safetensors", {**metadata, "versions": versions("torch", "transformers", "open_clip_torch")})


def start(name):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def tokenizer(folder):
    clipbpe.write_hf(folder, clipbpe.read()[:MERGES])
    t = transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=CONTEXT)
    t.save_pretrained(folder)


# ---- Hugging Face ----

HF_GRADIENTS = [
    "logit_scale", "visual_projection.weight", "text_projection.weight", "vision_model.embeddings.class_embedding",
    "vision_model.embeddings.position_embedding.weight", "vision_model.pre_layrnorm.weight", "vision_model.encoder.layers.0.self_attn.q_proj.weight",
    "vision_model.encoder.layers.1.mlp.fc2.bias", "text_model.encoder.layers.0.mlp.fc1.weight", "text_model.final_layer_norm.bias",
]


def hf(name, vision, text, eos, dim=24, shard="10GB", safe=True, dtype=torch.float32):
    folder = start(name)
    config = transformers.CLIPConfig(
        projection_dim=dim,
        vision_config=vision,
        text_config=dict(vocab_size=VOCAB, max_position_embeddings=CONTEXT, bos_token_id=VOCAB - 2, eos_token_id=eos, pad_token_id=0, **text),
    )
    model = randomize(transformers.CLIPModel(config), len(name)).to(dtype)
    model.save_pretrained(folder, max_shard_size=shard, safe_serialization=safe)
    model.float()
    transformers.CLIPImageProcessor(size={"shortest_edge": vision["image_size"]}, crop_size=vision["image_size"]).save_pretrained(folder)
    tokenizer(folder)
    ids = token_ids() if eos == 2 else token_ids(eos, pad=1, above=eos < VOCAB - 1)
    out = model(pixel_values=pixels(vision["image_size"]), input_ids=ids, return_loss=True)
    weights = dict(model.named_parameters())
    golden(folder, ids, out.image_embeds, out.text_embeds, model.logit_scale, {n: weights[n] for n in HF_GRADIENTS}, {"layout": "hf", "eos": str(eos if eos != 2 else VOCAB - 1)})


# ---- open_clip ----

OPENCLIP_GRADIENTS = [
    "logit_scale", "text_projection", "positional_embedding", "transformer.resblocks.0.attn.in_proj_bias",
    "transformer.resblocks.0.mlp.c_fc.bias", "ln_final.weight", "transformer.resblocks.0.attn.out_proj.weight",
]
VIT_GRADIENTS = ["visual.proj", "visual.positional_embedding", "visual.transformer.resblocks.1.attn.in_proj_bias"]
RESNET_GRADIENTS = ["visual.layer1.0.bn2.weight", "visual.layer2.0.conv2.weight", "visual.attnpool.c_proj.bias"]


def openclip(name, config, form, dtype=torch.float32):
    folder = start(name)
    config = dict(config, text_cfg=dict(config["text_cfg"], context_length=CONTEXT, vocab_size=VOCAB))
    config["text_cfg"]["hf_tokenizer_name"] = "."  # the folder's own
    model = randomize(open_clip.CLIP(**{k: v if not k.endswith("_cfg") else dict(v) for k, v in config.items()}, output_dict=False), len(name)).to(dtype)
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    if form == "training":  # open_clip_train/main.py
        optimizer = torch.optim.AdamW(model.parameters())
        torch.save({"epoch": 1, "name": name, "state_dict": {"module." + k: v for k, v in state.items()}, "optimizer": optimizer.state_dict()}, folder / "epoch_1.pt")
    else:
        preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD), "interpolation": "bicubic", "resize_mode": "shortest"}
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2))
        if form == "safetensors":
            safetensors.torch.save_file(state, folder / "open_clip_model.safetensors")
        else:
            torch.save(state, folder / "open_clip_pytorch_model.bin")
    tokenizer(folder)
    reference(folder, model.float(), config["vision_cfg"]["image_size"], {"layout": "openclip"})


def reference(folder, model, size, metadata):
    """Golden values of a model with open_clip's and OpenAI's methods."""
    ids = token_ids()
    weights = dict(model.named_parameters())
    names = OPENCLIP_GRADIENTS + (VIT_GRADIENTS if "visual.proj" in weights else RESNET_GRADIENTS)
    golden(folder, ids, model.encode_image(pixels(size)), model.encode_text(ids), model.logit_scale, {n: weights[n] for n in names}, {"eos": str(VOCAB - 1), **metadata})


# ---- OpenAI ----

def openai(path, name, **sizes):
    spec = importlib.util.spec_from_file_location("openai_model", pathlib.Path(path) / "clip/model.py")
    source = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(source)
    folder = start(name)
    model = randomize(source.CLIP(context_length=CONTEXT, vocab_size=VOCAB, transformer_heads=1, transformer_width=64, transformer_layers=1, embed_dim=24, **sizes), len(name))
    size = sizes["image_resolution"]
    with torch.no_grad():  # as published: halves, but for the norms and a few
        source.convert_weights(model)
    half = {n: p.dtype for n, p in model.named_parameters()}
    model.float()
    for key, value in {"input_resolution": size, "context_length": CONTEXT, "vocab_size": VOCAB}.items():
        model.__dict__.pop(key, None)  # the published archives have them as tensors
        model.register_buffer(key, torch.tensor(value))
    traced = torch.jit.trace(model, (pixels(size), token_ids()), check_trace=False)
    for n, p in traced.named_parameters():
        p.data = p.data.to(half[n])
    archive = io.BytesIO()
    torch.jit.save(traced, archive)
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(folder / "model.pt", "w") as new:
        for entry in old.infolist():
            if entry.filename.endswith(".debug_pkl"):  # lines of the program that was traced
                continue
            data = old.read(entry)
            if entry.filename.endswith(".py"):
                data = declarations(data)
            new.writestr(entry, data)
    tokenizer(folder)
    reference(folder, model.float(), size, {"layout": "openai"})


def declarations(code):
    """A class's list of weights, without its methods, which are OpenAI's program."""
    return b"\n".join(line for line in code.split(b"\n") if re.match(rb"class |  \w+ [:=] ", line)) + b"\n"


# ---- full size ----

def formula(name, shape):
    """Weights of the full-size model: uniform numbers of a stream that its name gives."""
    seed = 2166136261
    for b in name.encode():  # FNV-1a
        seed = (seed ^ b) * 16777619 & 0xFFFFFFFF
    n = int(np.prod(shape))
    u = ((hash32(n, seed) >> np.uint32(8)).astype(np.int32) - (1 << 23)).astype(np.float32) * np.float32(2.0**-23)  # in [-1, 1)
    if name == "logit_scale":
        return torch.tensor(3.0)
    if name.endswith("bias"):
        u *= np.float32(0.05)
    elif "norm" in name or "layrnorm" in name:
        u = np.float32(1) + u * np.float32(0.25)
    elif "embedding" in name and "patch" not in name:
        u *= np.float32(0.5)
    else:
        u *= np.float32(1.75) / np.float32(np.sqrt(np.float64(n // shape[0])))
    return torch.from_numpy(u.astype(np.float32)).reshape(shape)


def full_size():
    with torch.no_grad():
        model = transformers.CLIPModel(transformers.CLIPConfig()).eval()
        for name, p in model.named_parameters():
            p.copy_(formula(name, p.shape))
        ids = torch.zeros(3, 77, dtype=torch.int64)
        for i, n in enumerate((5, 20, 76)):
            ids[i, 0], ids[i, n] = 49406, 49407
            ids[i, 1:n] = torch.from_numpy((hash32(n - 1, i) % np.uint32(49406)).astype(np.int64))
        out = model(pixel_values=pixels(224, 3), input_ids=ids)
        assert (out.image_embeds @ out.image_embeds.T).fill_diagonal_(0).max() < 0.95
        assert (out.text_embeds @ out.text_embeds.T).fill_diagonal_(0).max() < 0.95
        tensors = {"ids": ids, "images": out.image_embeds, "texts": out.text_embeds, "logits": out.logits_per_image}
        write({k: t.contiguous() for k, t in tensors.items()}, OUT / "vit-b-32.safetensors", {"versions": versions("torch", "transformers")})


# ---- from files to logits ----

PROMPTS = ["a picture of cat", "rocket, flame", "Coffee cup!", "a person’s face &amp; hair", "camera", "full moon"]


def end_to_end():
    """The shipped model on photographs and prompts, all by open_clip: reading, preprocessing, tokenizing."""
    folder = OUT.parents[2] / "models/icon-clip"
    photos = OUT.parents[2] / "imaging/testdata/photos"
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    ids = open_clip.tokenizer.HFTokenizer(str(folder), context_length=model.context_length)(PROMPTS)
    # 16-bit grey is left out, see preprocess.py
    names = sorted(p.name for p in photos.iterdir() if p.suffix in (".jpg", ".webp", ".gif"))
    with torch.no_grad():
        images = F.normalize(model.eval().encode_image(torch.stack([transform(Image.open(photos / n).convert("RGB")) for n in names])), dim=-1)
        texts = F.normalize(model.encode_text(ids), dim=-1)
        logits = model.logit_scale.exp() * images @ texts.T
    write({"logits": logits.contiguous()}, OUT / "icon-clip.safetensors", {"photos": names, "prompts": PROMPTS, "versions": versions("torch", "open_clip_torch", "transformers", "Pillow")})


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--openai", help="a checkout of openai/CLIP")
    checkout = arguments.parse_args().openai
    torch.manual_seed(0)

    # 7 × 7 patches as ViT-B/32 at 224 pixels, with the pooling of old configs
    hf("hf-quickgelu-argmax", dict(hidden_size=24, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, image_size=56, patch_size=8, hidden_act="quick_gelu"),
       dict(hidden_size=24, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3, hidden_act="quick_gelu"), eos=2)
    # 24 × 24 patches as ViT-L/14 at 336, pooled at the first eos
    hf("hf-gelu-eos-shards", dict(hidden_size=24, intermediate_size=60, num_hidden_layers=2, num_attention_heads=2, image_size=96, patch_size=4, hidden_act="gelu"),
       dict(hidden_size=40, intermediate_size=80, num_hidden_layers=3, num_attention_heads=5, hidden_act="gelu"), eos=300, dim=16, shard="50KB", dtype=torch.bfloat16)
    hf("hf-bin-shards", dict(hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=3, image_size=42, patch_size=14, hidden_act="gelu"),
       dict(hidden_size=16, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, hidden_act="quick_gelu"), eos=VOCAB - 1, shard="40KB", safe=False)

    text = dict(width=24, heads=3, layers=2)
    openclip("openclip-quickgelu", dict(embed_dim=20, quick_gelu=True, vision_cfg=dict(image_size=56, layers=2, width=24, head_width=12, patch_size=8), text_cfg=text), "safetensors")
    openclip("openclip-layerscale", dict(embed_dim=24, vision_cfg=dict(image_size=42, layers=3, width=40, head_width=20, patch_size=14, mlp_ratio=3.0, ls_init_value=0.1), text_cfg=dict(text, ls_init_value=0.2)), "bin", torch.float16)
    openclip("openclip-resnet", dict(embed_dim=20, vision_cfg=dict(image_size=64, layers=[1, 2, 1, 1], width=4, head_width=16, patch_size=None), text_cfg=text), "safetensors", torch.float16)
    openclip("openclip-training", dict(embed_dim=16, vision_cfg=dict(image_size=24, layers=2, width=64, patch_size=8, mlp_ratio=1.0), text_cfg=dict(width=64, heads=1, layers=1, mlp_ratio=1.0)), "training")
    if checkout:
        openai(checkout, "openai-vit", image_resolution=56, vision_layers=2, vision_width=64, vision_patch_size=14)
        openai(checkout, "openai-resnet", image_resolution=64, vision_layers=(1, 1, 2, 1), vision_width=4, vision_patch_size=None)
    full_size()
    end_to_end()


if __name__ == "__main__":
    main()
