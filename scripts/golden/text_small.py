"""Makes golden.json, words.json and the small CLIP tokenizer clip/ of
text/testdata with Hugging Face's own tokenizers. wordpiece/ there is made by
that package's training:

    ARF_UPDATE=1 go test -run TestTrainWordPieceFixture ./text
"""
import json, os, pathlib
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

os.chdir(pathlib.Path(__file__).resolve().parents[2] / "text/testdata")
CORPUS = [l.strip() for l in open("corpus.txt", encoding="utf-8")]

TEXTS = CORPUS[:40] + [
    "", " ", "\t\n", "a", "A", "!", "Shopping Cart", "  many   spaces\tand\nlines  ",
    "a photo of a shopping-cart.", "it's they're I've I'm we'll he'd can't 'tis ''s 's'", "IT'S THEY'RE",
    "3.14159, 2024-01-01; 100%", "½ ² ٣ 四", "naïve café Ångström İstanbul ΣΊΣΥΦΟΣ straße ẞ",
    "e\u0301 vs é", "\u1e9b\u0323", "日本語の猫", "中文 mixed with English", "한국어 각", "مرحبا بالعالم", "עִבְרִית", "हिन्दी",
    "😀 👍🏽 👨‍👩‍👧 ❤️", "a\u00a0b\u2003c\u3000d\u200be\ufeff", "null\x00 control\x07 del\x7f rep\ufffd soft\u00adhyphen",
    "<|startoftext|>", "text <|endoftext|> more", "<|endoftext|", "<|endoftext|><|endoftext|>", "<|pad|> <|unk|>",
    "under_score snake_case camelCase HTTPServer", "#tag @user https://example.com/a?b=c&d=e", "&amp; &lt;b&gt;",
    "¿Qué? «guillemets» „quotes“ — dash… ellipsis", "∑ ∞ ≠ ← → ↑", "$5 €7 £9 ¥1", "x" * 99, "y" * 101, "z" * 300,
    "ab" * 60, "supercalifragilisticexpialidocious", "zebra xylophone quux", "word " * 100, "!" * 90, "7" * 90,
    "##cart ## #", "a''b \"c\" `d`", "tab\tsep", "line\r\nbreak", "trailing space ", "ﬁ ligature Ⅷ ㎏",
]


def clip():
    t = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix=""))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    split = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Merges were learnt here once (the trainer's order of equals changes from run
    # to run); the vocabulary is laid out as CLIP's: bytes, bytes at the end of a
    # word, merges in order, the two marks.
    if os.path.exists("clip/merges.txt"):
        merges = [tuple(l.split(" ")) for l in open("clip/merges.txt").read().split("\n")[1:-1]]
    else:
        t.train_from_iterator(CORPUS * 3, trainers.BpeTrainer(
            vocab_size=900, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False))
        merges = [tuple(m) for m in json.loads(t.to_str())["model"]["merges"]]
    vocab = {}
    for piece in alphabet + [a + "</w>" for a in alphabet] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]:
        vocab.setdefault(piece, len(vocab))
    t.model = models.BPE(vocab, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix="")
    t.add_special_tokens([AddedToken("<|startoftext|>", normalized=False), AddedToken("<|endoftext|>", normalized=False)])
    t.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", vocab["<|endoftext|>"]), ("<|startoftext|>", vocab["<|startoftext|>"]),
        trim_offsets=False, add_prefix_space=False)
    os.makedirs("clip", exist_ok=True)
    t.save("clip/tokenizer.json", pretty=False)
    # transformers' form of the small files, with tokens as objects
    token = lambda s: {"__type": "AddedToken", "content": s, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    json.dump({"bos_token": token("<|startoftext|>"), "eos_token": token("<|endoftext|>"), "pad_token": "<|endoftext|>",
               "unk_token": token("<|endoftext|>"), "add_prefix_space": False, "do_lower_case": True, "errors": "replace",
               "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}, open("clip/tokenizer_config.json", "w"))
    json.dump(vocab, open("clip/vocab.json", "w"), ensure_ascii=False)
    with open("clip/merges.txt", "w") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    return t


def cut(ids, n):
    """Truncation that keeps the end mark."""
    return ids if len(ids) <= n else ids[: n - 1] + ids[-1:]


golden = {}
for name, t in {"clip": clip(), "wordpiece": Tokenizer.from_file("wordpiece/tokenizer.json")}.items():
    golden[name] = []
    for s in TEXTS:
        ids = t.encode(s).ids
        # Transformers' decoding of CLIP replaces the end-of-word mark.
        text = t.decode(ids).replace("</w>", " ").strip() if name == "clip" else t.decode(ids)
        golden[name].append({"text": s, "ids": ids, "cut16": cut(ids, 16), "decoded": text})
json.dump(golden, open("golden.json", "w"), ensure_ascii=True, indent=0)

# How every character of the common blocks is normalized and split.
words = {}
for name, t in {"clip": Tokenizer.from_file("clip/tokenizer.json"), "wordpiece": Tokenizer.from_file("wordpiece/tokenizer.json")}.items():
    steps = t.pre_tokenizer
    if name == "clip":
        split = json.loads(t.to_str())["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
        steps = pre_tokenizers.Split(Regex(split), "removed", invert=True)  # without bytes as letters
    blocks = [range(0, 0x600), range(0x1E00, 0x1F00), range(0x2000, 0x2C00), range(0x3000, 0x3100), range(0xFF00, 0xFFF0), range(0x1F300, 0x1F650)]
    words[name] = {f"{c:04X}": [w for w, _ in steps.pre_tokenize_str(t.normalizer.normalize_str("A" + chr(c) + "b"))] for b in blocks for c in b}
json.dump(words, open("words.json", "w"), ensure_ascii=False, separators=(",", ":"))
