"""FAISS indexes between Python and arf (faiss-cpu, in an environment of its own: requirements-faiss.txt).

  python scripts/golden/faiss_index.py          writes faiss/testdata for faiss/faiss_test.go
  python scripts/golden/faiss_index.py FOLDER   checks the indexes that `arf embed --faiss` wrote: Python's faiss reads
                                                them, and they find the rows themselves among the 10 nearest
"""
import json
import pathlib
import sys

import faiss
import numpy as np

KINDS = ["Flat", "HNSW8", "IVF8,Flat", "OPQ4_8,IVF8_HNSW8,PQ4x4"]


def write(out):
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    rows, queries = (rng.standard_normal((n, 8)).astype(np.float32) for n in (300, 10))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    golden = {"faiss": faiss.__version__, "queries": queries.tolist(), "kinds": {}}
    for i, kind in enumerate(KINDS):
        index = faiss.index_factory(8, kind, faiss.METRIC_INNER_PRODUCT)
        index.train(rows)
        index.add(rows)
        # All there is to look at, so that no version finds others.
        for name, value in (("nprobe", 8), ("efSearch", 400), ("quantizer_efSearch", 64)):
            try:
                faiss.ParameterSpace().set_index_parameter(index, name, value)
            except RuntimeError:
                pass
        scores, ids = index.search(queries, 5)
        faiss.write_index(index, str(out / f"python{i}.index"))
        golden["kinds"][kind] = {"file": f"python{i}.index", "scores": scores.tolist(), "rows": ids.tolist()}
    (out / "golden.json").write_text(json.dumps(golden))
    by_distance = faiss.index_factory(8, "Flat", faiss.METRIC_L2)
    by_distance.add(rows[:4])
    faiss.write_index(by_distance, str(out / "distance.index"))


def check(folder):
    for name, features in (("image", "img_emb"), ("text", "text_emb")):
        path = folder / f"{name}.index"
        if not path.exists():
            continue
        files = sorted((folder / features).glob("*.npy"), key=lambda f: int(f.stem.split("_")[-1]))
        rows = np.concatenate([np.load(f) for f in files]).astype(np.float32)
        index = faiss.read_index(str(path))
        assert index.ntotal == len(rows) and index.d == rows.shape[1], (path, index.ntotal, rows.shape)
        assert index.metric_type == faiss.METRIC_INNER_PRODUCT
        exact = rows[:500] @ rows.T
        scores, ids = index.search(rows[:500], 10)
        best = np.sort(exact, axis=1)[:, -10:]
        recall = float((scores >= best[:, :1] - 1e-3).mean())
        print(f"{path}: {type(faiss.downcast_index(index)).__name__}, {index.ntotal} rows, recall@10 {recall:.3f}")
        assert recall > 0.9


if __name__ == "__main__":
    if len(sys.argv) > 1:
        check(pathlib.Path(sys.argv[1]))
    else:
        write(pathlib.Path(__file__).resolve().parents[2] / "faiss/testdata")
