"""Checks that `arf eval` gives the numbers that clip_benchmark gives, and that `clip_benchmark build` reads its files.

Writes clip_benchmark's webdataset folders from an image folder (a set of classes, a set of captions), evaluates an open_clip model
on them with both programs, and compares.

    scripts/golden/run.sh benchmark models/icon-clip data/icons/id [bin/arf]
"""
import csv
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

import open_clip
import torch
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval
from clip_benchmark.datasets.builder import build_wds_dataset, image_captions_collate_fn
from open_clip.transform import image_transform
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

TEMPLATES = ["a {c} icon", "icon of {c}", "{c}"]


def tar(path, samples):
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w") as t:
        for i, (image, extension, text) in enumerate(samples):
            for name, data in ((f"s{i:07d}{image.suffix}", image.read_bytes()), (f"s{i:07d}.{extension}", text.encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                t.addfile(info, io.BytesIO(data))
    (path.parent / "nshards.txt").write_text("1\n")


def sets(source, root):
    """The two folders; the captions of an image are different from all others."""
    classes = sorted(p.name for p in source.iterdir() if p.is_dir())
    images = {c: sorted(p for p in (source / c).iterdir() if p.suffix == ".png") for c in classes}
    labelled, captioned = root / "wds_classes", root / "wds_captions"
    tar(labelled / "test" / "0.tar", [(p, "cls", str(k)) for k, c in enumerate(classes) for p in images[c][:8]])
    (labelled / "classnames.txt").write_text("\n".join(classes) + "\n")
    (labelled / "zeroshot_classification_templates.txt").write_text("\n".join(TEMPLATES) + "\n")
    words = lambda c, i: (f"a {c} no. {i}", f"icon of {c} number {i}")
    tar(captioned / "test" / "0.tar", [(p, "txt", "\n".join(words(c, i))) for c in classes for i, p in enumerate(images[c][:2])])
    (captioned / "dataset_type.txt").write_text("retrieval\n")
    return labelled, captioned, classes


def load(folder):
    config = json.loads((folder / "open_clip_config.json").read_text())
    m, p = config["model_cfg"], config["preprocess_cfg"]
    known = open_clip.model.CLIPTextCfg.__dataclass_fields__
    text = {k: v for k, v in m["text_cfg"].items() if k in known}
    model = open_clip.model.CLIP(m["embed_dim"], m["vision_cfg"], text, quick_gelu=m.get("quick_gelu", False))
    model.load_state_dict({k: v.float() for k, v in load_file(folder / "open_clip_model.safetensors").items()})
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    length = m["text_cfg"]["context_length"]
    tokenize = lambda texts: tokenizer(texts, max_length=length, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return model.eval(), tokenize, image_transform(m["vision_cfg"]["image_size"], is_train=False, mean=p["mean"], std=p["std"])


class Loader:
    """Batches with the classes that clip_benchmark asks for."""

    def __init__(self, batches, classes):
        self.batches, self.dataset = batches, type("Dataset", (), {"classes": classes})

    def __iter__(self):
        return iter(self.batches)


def main():
    model_dir, source = map(pathlib.Path, sys.argv[1:3])
    program = sys.argv[3] if len(sys.argv) > 3 else "bin/arf"
    root = pathlib.Path(tempfile.mkdtemp())
    labelled, captioned, classes = sets(source, root / "data")
    subprocess.run([program, "eval", model_dir, "--suite", "wds", "--data", root / "data", "--out", root / "out", "--quiet"], check=True)

    model, tokenize, transform = load(model_dir)
    batches = lambda folder, collate=None: torch.utils.data.DataLoader(
        build_wds_dataset("x", transform, data_dir=str(folder)).batched(64, **({"collation_fn": collate} if collate else {})), batch_size=None)
    want = {
        "classes": zeroshot_classification.evaluate(
            model, Loader(batches(labelled), classes), tokenize, classes, TEMPLATES, "cpu", amp=False),
        "captions": zeroshot_retrieval.evaluate(
            model, batches(captioned, image_captions_collate_fn), tokenize, "cpu", amp=False, recall_k_list=[1, 5, 10]),
    }
    worst = 0
    for name, metrics in want.items():
        got = json.loads((root / "out" / "wds" / f"{name}.json").read_text())["metrics"]
        for key, value in metrics.items():
            worst = max(worst, abs(got[key] - value))
            print(f"{name:9} {key:26} clip_benchmark {value:.6f}  arf {got[key]:.6f}")
    table = root / "benchmark.csv"
    subprocess.run([sys.executable, "-m", "clip_benchmark.cli", "build", root / "out" / "wds", "--output", table], check=True)
    rows = list(csv.DictReader(table.open()))
    print(f"largest difference {worst:.1e}; clip_benchmark build: {len(rows)} rows, {sorted(r['dataset'] for r in rows)}")
    if worst > 1e-6 or len(rows) != len(want):
        sys.exit("they differ")


main()
