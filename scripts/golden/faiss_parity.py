"""Lets Python's faiss and arf read each other's indexes → build/parity-faiss.json

Both build an index of each kind that arf chooses (index/kind.go) from the same
vectors, write it, and search both files with the same parameters; arf's part is
faiss/parity_test.go. Then Python's faiss reads what `arf embed --faiss` writes.
Fails where a file isn't read, or scores or rows differ by more than LIMITS.
(faiss-cpu, in an environment of its own: requirements-faiss.txt.)
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import faiss
import numpy as np
from faiss_index import check
from versions import versions

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS, QUERIES, DIM, K = 20_000, 500, 64, 20
# A search of lists looks at so little that it misses some: both must miss the same. Through a graph the versions
# of FAISS take ways of their own, which end at the same rows where the search is wide enough.
CASES = [
    {"name": "flat", "kind": "Flat", "search": {}},
    {"name": "graph", "kind": "HNSW32", "search": {"efSearch": 64}},
    {"name": "lists", "kind": "IVF512,Flat", "search": {"nprobe": 2}},
    {"name": "quantised", "kind": "OPQ16_64,IVF256_HNSW32,PQ16x8np", "search": {"nprobe": 4, "quantizer_efSearch": 16}},
]
LIMITS = {"score": 1e-5, "rows": 0.999}  # largest difference of the scores at a place; least share of rows in common


def unit(rng, n, centres):
    """Vectors around centres, so that they have neighbours."""
    rows = centres[rng.integers(len(centres), size=n)] + 0.5 * rng.standard_normal((n, DIM)) / DIM**0.5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def search(path, case, queries):
    index = faiss.read_index(str(path))
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT and index.ntotal == ROWS and index.d == DIM, path
    for name, value in case["search"].items():
        faiss.ParameterSpace().set_index_parameter(index, name, value)
    return index.search(queries, K)


def main():
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((200, DIM))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rows, queries = unit(rng, ROWS, centres), unit(rng, QUERIES, centres)
    best = np.argsort(-(queries @ rows.T), axis=1)[:, :K]
    results, failed = [], False
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        rows.tofile(folder / "rows.f32")
        queries.tofile(folder / "queries.f32")
        (folder / "cases.json").write_text(json.dumps({"dim": DIM, "k": K, "cases": CASES}))
        for case in CASES:
            index = faiss.index_factory(DIM, case["kind"], faiss.METRIC_INNER_PRODUCT)
            index.train(rows)
            index.add(rows)
            faiss.write_index(index, str(folder / f"{case['name']}.theirs"))
        subprocess.run([ROOT / "scripts/go", "test", "./faiss", "-run=^TestParity$", "-count=1"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"ARF_FAISS_PARITY": name})
        arf = json.loads((folder / "found.json").read_text())
        for case in CASES:
            for built, by in (("ours", "arf"), ("theirs", "python")):
                found = arf["found"][case["name"]][built]
                scores, ids = np.array(found["scores"], np.float32).reshape(QUERIES, K), np.array(found["rows"]).reshape(QUERIES, K)
                want_scores, want = search(folder / f"{case['name']}.{built}", case, queries)
                share = lambda a, b: float(np.mean([len(set(x) & set(y)) / K for x, y in zip(a, b)]))
                row = {"kind": case["kind"], "built_by": by, "rows_in_common": share(ids, want), "largest_score_difference": float(np.abs(scores - want_scores).max()), "recall": share(want, best)}
                failed |= row["largest_score_difference"] > LIMITS["score"] or row["rows_in_common"] < LIMITS["rows"]
                results.append(row)
                print(json.dumps(row))
        out = folder / "features"
        subprocess.run([ROOT / "bin/arf", "embed", ROOT / "models/icon-clip", ROOT / "imaging/testdata/photos", "--faiss", "--quiet", "--out", out], check=True)
        check(out)
    path = ROOT / "build/parity-faiss.json" if len(sys.argv) < 2 else pathlib.Path(sys.argv[1])
    path.write_text(json.dumps({"versions": versions("faiss-cpu", "numpy") | {"arf's faiss": arf["faiss"]}, "vectors": ROWS, "queries": QUERIES, "dim": DIM, "k": K, "limits": LIMITS, "results": results}, indent=1) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
