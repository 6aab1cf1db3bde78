"""CLIP's vocabulary in the reference libraries' forms.

    python clipbpe.py    checks that text/clip_merges.txt.gz is what CLIP uses of
                         open_clip's copy of bpe_simple_vocab_16e6.txt.gz
"""
import gzip
import json
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
MERGES = ROOT / "text/clip_merges.txt.gz"
# Ids 0–511 are the bytes, twice; the last two are the marks (openai/CLIP, simple_tokenizer.py).
COUNT = 49408 - 2 * 256 - 2


def read():
    return gzip.open(MERGES, "rt", encoding="utf-8").read().split("\n")[1:-1]


def check():
    import open_clip
    source = pathlib.Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    assert read() == gzip.open(source, "rt", encoding="utf-8").read().split("\n")[1 : 1 + COUNT]


def byte_letters():
    """GPT-2's printable stand-ins for bytes, in the order of CLIP's ids."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def write_hf(folder, merges=None):
    """Writes vocab.json and merges.txt; merges defaults to all of CLIP's."""
    if merges is None:
        merges = read()
    letters = list(byte_letters().values())
    pieces = letters + [c + "</w>" for c in letters] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocab = {p: i for i, p in enumerate(pieces)}
    assert len(vocab) == len(pieces)
    os.makedirs(folder, exist_ok=True)
    json.dump(vocab, open(f"{folder}/vocab.json", "w", encoding="utf-8"), ensure_ascii=False)
    with open(f"{folder}/merges.txt", "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(m + "\n" for m in merges))


if __name__ == "__main__":
    check()
