"""Writes a folder as clip-retrieval's writer does (numpy.save, pandas' to_parquet), for index/store_test.go."""
import pathlib

import numpy as np
import pandas as pd

here = pathlib.Path(__file__).resolve().parents[2] / "index/testdata/clip-retrieval"
for name in ("img_emb", "text_emb", "metadata"):
    (here / name).mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(7)
row = 0
for shard, n in enumerate((3, 2)):
    image, text = (rng.standard_normal((n, 8)).astype(np.float32) for _ in range(2))
    image[:, 0] = np.arange(row, row + n)  # to see that rows are in order
    np.save(here / f"img_emb/img_emb_{shard}.npy", image.astype(np.float16))
    np.save(here / f"text_emb/text_emb_{shard}.npy", text.astype(np.float16))
    numbers = range(row, row + n)
    pd.DataFrame({
        "image_path": [f"/images/{i:05d}.jpg" for i in numbers],
        "caption": [f"caption {i} – ü" if i != 1 else None for i in numbers],
        "url": [f"https://example.org/{i}.jpg" for i in numbers],
        "width": [640 + i for i in numbers],
    }).to_parquet(here / f"metadata/metadata_{shard}.parquet")
    row += n
np.save(here.parent / "float32.npy", np.arange(6, dtype=np.float32).reshape(2, 3))
