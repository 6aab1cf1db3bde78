#!/usr/bin/env python3
"""Writes dataset/testdata/parquet: Parquet files as Hugging Face's datasets and pyarrow write them.

    python3 -m venv v && v/bin/pip install datasets==5.2.0 pyarrow==26.0.1 pillow==13.0.0
    v/bin/python scripts/golden/parquet.py

Each file is described in expected.json, as datasets reads it back: sample by sample the image's SHA-256, label,
class, texts.
"""
import hashlib
import io
import json
import pathlib

import datasets
import PIL
import pyarrow
import pyarrow.parquet
from PIL import Image

OUT = pathlib.Path(__file__).parents[2] / "dataset" / "testdata" / "parquet"


def picture(n):
    """A PNG of 6x6 pixels that tells pictures apart."""
    image = Image.new("RGB", (6, 6))
    image.putdata([((n * 31 + i * 7) % 256, (n * 57 + i) % 256, (i * n) % 256) for i in range(36)])
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def embedded(n, path=None):
    return {"bytes": picture(n), "path": path}


def digest(data):
    return None if data is None else hashlib.sha256(data).hexdigest()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.rglob("*.parquet"):
        old.unlink()
    expected = {"versions": {"datasets": datasets.__version__, "pyarrow": pyarrow.__version__, "pillow": PIL.__version__}, "files": {}}

    def write(name, data, features, batch_size=None, **parquet):
        path = OUT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(data, features=datasets.Features(features)).to_parquet(str(path), batch_size=batch_size, **parquet)
        back = datasets.Dataset.from_parquet(str(path), cache_dir=str(OUT / ".cache")).cast_column("image", datasets.Image(decode=False))
        rows = []
        for row in back:
            image = row.pop("image")
            rows.append({"image": digest(image["bytes"]), "path": image["path"], **row})
        names = {c: f.names for c, f in back.features.items() if isinstance(f, datasets.ClassLabel)}
        expected["files"][name] = {"row_groups": pyarrow.parquet.ParquetFile(path).num_row_groups, "names": names, "rows": rows}

    # A classification set in shards as the Hub has them: class names with underscores, two that begin alike, an
    # unlabelled image (-1), a path beside the bytes.
    classes = ["maine_coon", "Faces", "Faces_easy", "sea horse"]
    labelled = {"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)}
    first = 0
    for split, sizes in {"train": (7, 5), "test": (4,)}.items():
        for i, n in enumerate(sizes):
            numbers = range(first, first + n)
            write(f"labelled/data/{split}-{i:05d}-of-{len(sizes):05d}.parquet", {
                "image": [embedded(k, f"{k}.png" if k % 2 else None) for k in numbers],
                "label": [-1 if split == "test" and k == first else k % 4 for k in numbers],
            }, labelled, batch_size=3)
            first += n

    # Captions: one each, with other columns, and a list of them.
    write("captions.parquet", {
        "image": [embedded(k) for k in range(40, 45)],
        "caption": ["a cat", " two\nlines ", "", "Ünïcödé ☃", None],
        "license": ["CC0", "MIT", "CC0", "CC0", None], "similarity": [0.25, 0.5, 1.0, None, 0.0], "nsfw": [False, True, False, None, False],
        "width": [6, 6, 6, 6, 6],
    }, {
        "image": datasets.Image(), "caption": datasets.Value("string"), "license": datasets.Value("string"),
        "similarity": datasets.Value("float64"), "nsfw": datasets.Value("bool"), "width": datasets.Value("int32"),
    }, batch_size=2)
    write("lists.parquet", {
        "image": [embedded(k) for k in range(50, 54)],
        "captions": [["one", "two", "three"], [], ["only"], ["a", "b"]],
    }, {"image": datasets.Image(), "captions": datasets.List(datasets.Value("string"))}, batch_size=3)

    # Two class labels, neither with the usual name of a label alone (CIFAR-100).
    write("cifar.parquet", {"image": [embedded(k) for k in range(60, 63)], "fine_label": [2, 0, 1], "coarse_label": [1, 0, 0]},
          {"image": datasets.Image(), "fine_label": datasets.ClassLabel(names=["apple", "bee", "cup"]),
           "coarse_label": datasets.ClassLabel(names=["food", "thing"])})

    # As older versions wrote: no page index, one large row group, Snappy; and with many pages in it.
    rows = {"image": [embedded(k) for k in range(70, 94)], "label": [k % 2 for k in range(24)]}
    for name, size in {"old.parquet": None, "pages.parquet": 600}.items():
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["zero", "one"])})
        table = datasets.Dataset.from_dict(rows, features=features).with_format("arrow")[:]
        more = {"data_page_size": size, "write_batch_size": 2, "use_dictionary": False} if size else {}
        pyarrow.parquet.write_table(table, OUT / name, compression="snappy", write_page_index=False, **more)
        expected["files"][name] = {"row_groups": 1, "names": {"label": ["zero", "one"]},
                                   "rows": [{"image": digest(i["bytes"]), "path": None, "label": n} for i, n in zip(rows["image"], rows["label"])]}

    # Not by datasets: bytes in a plain column, class names as texts with and without numbers, and the paths of files.
    plain = {"jpg": [picture(k) for k in range(95, 99)], "class": ["yak", "ant", "yak", "bee"]}
    pyarrow.parquet.write_table(pyarrow.table(plain), OUT / "plain.parquet", compression="zstd")
    pyarrow.parquet.write_table(pyarrow.table({**plain, "label": [0, 2, 0, 1]}), OUT / "numbered.parquet", compression="gzip")
    pyarrow.parquet.write_table(pyarrow.table({"image_path": ["files/a.png", "files/none.png", "https://x/y.png"], "text": ["a", "b", "c"]}),
                                OUT / "paths.parquet")
    (OUT / "files").mkdir(exist_ok=True)
    (OUT / "files" / "a.png").write_bytes(picture(99))
    for name, n in {"plain.parquet": 95, "numbered.parquet": 95}.items():
        expected["files"][name] = {"row_groups": 1, "names": {}, "rows": [{"image": digest(p), "path": None, "class": c} for p, c in zip(plain["jpg"], plain["class"])]}

    (OUT / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
