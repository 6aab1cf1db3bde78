"""Lets transformers and open_clip load what arf writes → build/parity.json

For each model of clip/testdata/parity: bin/arf convert into both layouts, load
the result with the library whose layout it is, and compare its features with
those noted for the original (golden.safetensors). Fails above 1e-5.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import open_clip
import safetensors
import torch
import torch.nn.functional as F
import transformers
from features import OUT, VOCAB, pixels
from versions import versions

ROOT = OUT.parents[2]
LIMIT = 1e-5


def relative(got, want):
    return float((got - want).norm() / want.norm())


def hf(folder, size, ids):
    model, info = transformers.CLIPModel.from_pretrained(folder, torch_dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    out = model.eval()(pixel_values=pixels(size), input_ids=ids)
    processor = transformers.CLIPImageProcessor.from_pretrained(folder)
    assert processor.crop_size == {"height": size, "width": size}, processor
    tokenizer(folder)
    return {"images": out.image_embeds, "texts": out.text_embeds, "logits": out.logits_per_image}


def openclip(folder, size, ids):
    model = open_clip.create_model(f"local-dir:{folder}")
    model = model.float().eval()
    images, texts = F.normalize(model.encode_image(pixels(size)), dim=-1), F.normalize(model.encode_text(ids), dim=-1)
    tokenizer(folder)
    return {"images": images, "texts": texts, "logits": model.logit_scale.exp() * images @ texts.T}


def tokenizer(folder):
    """All forms of the tokenizer load and agree."""
    text = "cat's <|endoftext|> é 1"
    slow, fast = transformers.CLIPTokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert slow(text)["input_ids"] == fast(text)["input_ids"], folder
    assert len(fast) == VOCAB, (len(fast), folder)


def main():
    results, failed = [], False
    for golden in sorted(OUT.glob("*/golden.safetensors")):
        case = golden.parent
        source = next(iter(case.glob("*.pt")), case)
        with safetensors.safe_open(golden, "pt") as f:
            want, ids, size = {k: f.get_tensor(k) for k in ("images", "texts", "logits")}, f.get_tensor("ids"), image_size(case)
        for layout, load in {"hf": hf, "openclip": openclip}.items():
            with tempfile.TemporaryDirectory() as out:
                run = subprocess.run([ROOT / "bin/arf", "convert", source, out, "--layout", layout], capture_output=True, text=True)
                row = {"case": case.name, "layout": layout}
                if run.returncode:
                    row["refused"] = run.stderr.strip().split("\n")[-1].replace(out, "OUT").replace(str(source), "IN")
                else:
                    with torch.no_grad():
                        got = load(pathlib.Path(out), size, ids)
                    row.update({k: relative(got[k], want[k]) for k in want})
                    failed |= not all(row[k] <= LIMIT for k in want)
                results.append(row)
                print(json.dumps(row))
    failed |= sum("refused" not in r for r in results) < len(list(OUT.glob("*/golden.safetensors")))
    path = ROOT / "build/parity.json" if len(sys.argv) < 2 else pathlib.Path(sys.argv[1])
    path.write_text(json.dumps({"versions": versions("torch", "transformers", "open_clip_torch"), "limit": LIMIT, "results": results}, indent=1) + "\n")
    sys.exit(failed)


def image_size(case):
    for name, keys in {"config.json": ("vision_config", "image_size"), "open_clip_config.json": ("model_cfg", "vision_cfg", "image_size")}.items():
        if (case / name).exists():
            value = json.loads((case / name).read_text())
            for k in keys:
                value = value[k]
            return value
    return {"openclip-training": 24, "openai-vit": 56, "openai-resnet": 64}[case.name]


if __name__ == "__main__":
    main()
