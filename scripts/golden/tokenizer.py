"""Encodes strings.py with the reference tokenizers → text/testdata/parity.json.gz

For each string: the ids of transformers' CLIPTokenizerFast, cut to 77; those of
open_clip's SimpleTokenizer with ftfy's repair of wrong encodings off, null where
they are the same; and whether that repair would change them. Prints how often
the references differ from each other, by kind.
"""
import collections
import gzip
import html
import json
import pathlib
import tempfile

import ftfy
import transformers
from open_clip.tokenizer import SimpleTokenizer
from transformers import CLIPTokenizer, CLIPTokenizerFast

import clipbpe
from strings import strings
from versions import versions

CONTEXT = 77


def main():
    with tempfile.TemporaryDirectory() as folder:
        clipbpe.write_hf(folder)
        slow, plain = CLIPTokenizer.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
        plain.fix_text = None  # as where ftfy isn't installed
        plain.nlp = transformers.models.clip.tokenization_clip.BasicTokenizer(strip_accents=False, do_split_on_punc=False)
        fast = CLIPTokenizerFast.from_pretrained(folder)
    simple = SimpleTokenizer(context_length=CONTEXT)

    def openclip(s):
        ids = [simple.sot_token_id, *simple.encode(s)][: CONTEXT - 1] + [simple.eot_token_id]
        assert simple([s])[0].tolist()[: len(ids)] == ids
        return ids

    def unrepaired(s):
        s = html.unescape(html.unescape(ftfy.fix_text(s, fix_encoding=False)))
        return " ".join(s.split()).lower()

    rows, counts, differ = [], collections.Counter(), collections.defaultdict(collections.Counter)
    cut = lambda t, s: t(s, truncation=True, max_length=CONTEXT)["input_ids"]
    clean = simple.clean_fn
    for kind, s in strings():
        f, o = cut(fast, s), openclip(s)
        simple.clean_fn = unrepaired
        u = openclip(s)
        simple.clean_fn = clean
        rows.append([kind, s, f, None if u == f else u, u != o])
        counts[kind] += 1
        slower, plainer = cut(slow, s), cut(plain, s)
        for name, same in {
            "open_clip / fast": o == f, "slow with ftfy / fast": slower == f, "slow without ftfy / fast": plainer == f,
            "slow with ftfy / open_clip": slower == o, "open_clip without the repair of encodings / open_clip": u == o,
        }.items():
            differ[name][kind] += not same
    out = {"versions": versions("transformers", "tokenizers", "open_clip_torch", "ftfy", "regex"), "context": CONTEXT, "rows": rows}
    path = clipbpe.ROOT / "text/testdata/parity.json.gz"
    path.write_bytes(gzip.compress(json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode(), 9, mtime=0))
    print(f"{len(rows)} strings, {path.stat().st_size} bytes")
    for name, kinds in {"strings": counts, **differ}.items():
        print(f"{name}: {sum(kinds.values())}:", ", ".join(f"{k} {n}" for k, n in kinds.items() if n))


if __name__ == "__main__":
    main()
