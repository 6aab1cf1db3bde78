"""Writes the golden files of SigLIP and SigLIP 2, and checks what ARF writes.

    python scripts/golden/siglip.py                     # writes text/testdata/siglip*, clip/testdata/siglip
    ARF_SIGLIP_OUT=DIR scripts/go test -run TestSiglipGolden ./clip
    python scripts/golden/siglip.py --check DIR # loads that with transformers

Everything is small and random: no published weights are used. transformers
gives the models' results and SigLIP's token ids, tokenizers SigLIP 2's,
through the pipeline of transformers 5's Siglip2Tokenizer (Gemma's, behind
lower-casing), which older versions lack. The versions are noted in the files.
Runs from the root of the repository. Needs torch, transformers (4.41),
sentencepiece, protobuf, Pillow.
"""
import argparse
import io
import json
import os
import random
import shutil
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# The repository has folders named like Python packages.
sys.path = [p for p in sys.path if os.path.abspath(p or ".") != ROOT]

import numpy as np
import PIL
from PIL import Image
import sentencepiece
import tokenizers
import torch
import torch.nn.functional as F
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import GemmaTokenizerFast, SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipTokenizer

VERSIONS = {
    "torch": torch.__version__, "transformers": transformers.__version__, "tokenizers": tokenizers.__version__,
    "sentencepiece": sentencepiece.__version__, "pillow": PIL.__version__, "python": sys.version.split()[0],
}
TEXT = os.path.join(ROOT, "text", "testdata")
CLIP = os.path.join(ROOT, "clip", "testdata", "siglip")

OBJECTS = "cat,dog,shopping cart,pair of scissors,hot-air balloon,lighthouse,crème brûlée,T-shirt,St. Bernard,Rubik's cube,CD-ROM,jack-o'-lantern".split(",")
TEMPLATES = ["a photo of a {}.", "A bad photo of the {}!", "itap of my {}", "a rendering of a {} (3D)", "{}", "art of “{}”", "there are {}s", "THE {} IN A VIDEO GAME"]
ODD = [
    "", " ", "\t\n", "▁", "▁▁a▁", ".", "...", "!?", "a", "A", " a", "a ", "  many   spaces\tand\nlines\r\n", "it's they're I've 'tis",
    "3.14159, 2024-01-01; 100%", "½ ² ٣ 四 Ⅷ ㎏ ﬁ", "naïve café Ångström İstanbul ΣΊΣΥΦΟΣ straße ẞ ǅ", "e\u0301 vs é", "\u1e9b\u0323", "日本語の猫",
    "中文 mixed with English", "한국어 각", "ｶﾞ ＡＢＣ　ｄ", "مرحبا بالعالم", "עִבְרִית", "हिन्दी", "😀 👍🏽 👨‍👩‍👧 ❤️", "a\u00a0b\u2003c\u3000d\u200be\ufeff",
    "null\x00 control\x07 del\x7f rep\ufffd soft\u00adhyphen \x1c\x1d\x85", "</s>", "a </s> b", "a</s>", "</s></s>", "x </S> y <UNK> z", "<unk>", "<pad>", "b<unk>c  </s>  d",
    "<eos>", "<bos>text<eos>", "<EOS>", "<0x41>", "<table>cell</table>", "a\n\nb", "a\n\n\nb", "a  b   c", "▁▁▁", "under_score camelCase HTTPServer #tag @user https://example.com/a?b=c&d=e",
    "&amp; &lt;b&gt;", "¿Qué? «guillemets» „quotes“ — dash… ellipsis", "∑ ∞ ≠ ← →", "$5 €7 £9 ¥1", "x" * 99, "zebra " * 80, "!" * 90, "7" * 90, "日" * 70, "é" * 70,
    "</s> " * 70, "word " * 62, "word " * 63, "word " * 64, "a b c d e f g h i j k l m n o p q r s t u v w x y z", "trailing ' ", "' leading", "a ' b", "\u2028\u2029", "\ufeff",
]


def corpus():
    """What the vocabularies are trained on."""
    lines = []
    for name in ("LICENSE", "text/testdata/corpus.txt"):
        with open(os.path.join(ROOT, name), encoding="utf-8") as f:
            lines += [line.strip() for line in f if line.strip()]
    return lines + [t.format(o) for t in TEMPLATES for o in OBJECTS]


def strings():
    """More than 500 texts: prompts, prose, oddities, and random characters of many scripts."""
    rng = random.Random(7)
    out = list(ODD) + [t.format(o) for t in TEMPLATES for o in OBJECTS]
    prose = corpus()
    out += [rng.choice(prose)[:300] for _ in range(160)]
    blocks = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x530), (0x590, 0x700), (0x900, 0xE80), (0x1E00, 0x2000), (0x2000, 0x2C00),
              (0x3000, 0x3200), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xF900, 0xFB50), (0xFE00, 0x10000), (0x1F300, 0x1F650)]
    words = sorted({w for line in prose for w in line.split()})
    for _ in range(260):
        parts = []
        for _ in range(rng.randrange(1, 9)):
            if rng.random() < 0.5:
                parts.append(rng.choice(words))
            else:
                lo, hi = rng.choice(blocks)
                parts.append("".join(chr(rng.randrange(lo, hi)) for _ in range(rng.randrange(1, 5))))
        out.append(rng.choice(["", " ", "  ", "\u3000"]).join(parts))
    return [s.encode("utf-8", "ignore").decode() for s in dict.fromkeys(out)]


def siglip_tokenizer(path, rule="nmt_nfkc", **more):
    """A unigram model with the settings of T5's, which SigLIP's is."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line.lower() for line in corpus()]), model_writer=model, model_type="unigram", vocab_size=500,
        normalization_rule_name=rule, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=0.999, num_threads=1, minloglevel=2, **more)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "spiece.model"), "wb") as f:
        f.write(model.getvalue())
    SiglipTokenizer(os.path.join(path, "spiece.model")).save_pretrained(path)
    return SiglipTokenizer.from_pretrained(path)


def gemma_tokenizer(path):
    """Gemma's pipeline around a vocabulary of its layout."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False))
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in json.loads(trained.to_str())["model"]["merges"]]
    merges = [("▁", "▁"), ("▁▁", "▁▁"), ("▁▁", "▁")] + merges
    runs = ["\n" * n for n in range(2, 5)] + ["▁" * n for n in range(2, 5)] + ["<table>", "</table>"]
    vocab = {}
    letters = sorted((t for t in trained.get_vocab() if len(t) == 1))
    for token in special + runs + [f"<0x{b:02X}>" for b in range(256)] + ["".join(m) for m in merges] + ["\n"] + letters:
        vocab.setdefault(token, len(vocab))
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    t.add_special_tokens([AddedToken(s, normalized=False) for s in special])
    t.add_tokens([AddedToken(s, normalized=False) for s in runs])
    t.post_processor = processors.TemplateProcessing(single="$A <eos>", pair="$A <eos> $B <eos>", special_tokens=[("<eos>", vocab["<eos>"])])
    os.makedirs(path, exist_ok=True)
    raw = os.path.join(path, "tokenizer.json")
    t.save(raw)
    GemmaTokenizerFast(tokenizer_file=raw, add_bos_token=False, add_eos_token=True, padding_side="right", model_max_length=64).save_pretrained(path)
    # The reference: as transformers 5's Siglip2Tokenizer, with lower-casing before.
    t = Tokenizer.from_file(raw)
    t.normalizer = normalizers.Sequence([normalizers.Lowercase(), t.normalizer])
    t.enable_truncation(64)
    return t


def write_tokens(path, encode, decode, every=1):
    cases = []
    for s in strings()[::every]:
        ids = encode(s)
        cases.append({"text": s, "ids": ids, "decoded": decode(ids)})
    assert every > 1 or len(cases) >= 500
    with open(path, "w") as f:
        json.dump({"versions": VERSIONS, "cases": cases}, f, ensure_ascii=True, separators=(",", ":"))


# Shapes as in the published models: base; so400m, whose patches leave a rest of
# the image; and giant, whose towers differ in width.
def tower(width, hidden, layers, heads, **more):
    return dict(hidden_size=width, intermediate_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, **more)


CASES = {
    "base": dict(vision=tower(24, 64, 2, 3, image_size=48, patch_size=16), text=tower(24, 64, 2, 3)),
    "so400m": dict(vision=tower(16, 60, 3, 2, image_size=45, patch_size=14), text=tower(16, 60, 1, 4)),
    "giant": dict(vision=tower(24, 50, 1, 4, image_size=32, patch_size=8), text=tower(16, 64, 2, 2, projection_size=24), gemma=True),
}
GRADIENTS = [
    "logit_scale", "logit_bias", "vision_model.embeddings.patch_embedding.bias", "vision_model.embeddings.position_embedding.weight",
    "vision_model.encoder.layers.0.mlp.fc1.weight", "vision_model.head.probe", "vision_model.head.attention.in_proj_weight",
    "vision_model.head.mlp.fc2.bias", "text_model.embeddings.token_embedding.weight", "text_model.encoder.layers.0.self_attn.q_proj.weight",
    "text_model.final_layer_norm.weight", "text_model.head.weight",
]
PROMPTS = ["a photo of a cat.", "A DOG!", "two red balloons, and a lighthouse", "", "itap of my crème brûlée " * 20, "日本"]


def make_model(c, vocab, seed):
    config = SiglipConfig(text_config=dict(c["text"], vocab_size=vocab, max_position_embeddings=64, pad_token_id=0 if c.get("gemma") else 1), vision_config=c["vision"])
    m = SiglipModel(config).eval()
    size = c["text"].get("projection_size")
    if size:  # transformers 4.49 and later make this head themselves
        m.text_model.head = torch.nn.Linear(c["text"]["hidden_size"], size)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in m.named_parameters():
            if p.dim() > 1 and "embedding" not in name and "probe" not in name:
                p.copy_(torch.randn(p.shape, generator=rng) / p[0].numel() ** 0.5)
            elif name.endswith("norm.weight") or "norm1.weight" in name or "norm2.weight" in name:
                p.copy_(1 + 0.1 * torch.randn(p.shape, generator=rng))
            else:
                p.copy_(0.5 * torch.randn(p.shape, generator=rng))
        m.logit_scale.fill_(1.7)
        m.logit_bias.fill_(-2.3)
    return m


def features(m, pixels, ids):
    out = m(input_ids=ids, pixel_values=pixels)
    return out.image_embeds, out.text_embeds, out.logits_per_image


def sigmoid_loss(logits, positive, excluded):
    """Zhai et al. 2023, eq. 1, for any set of matches and of pairs left out."""
    loglik = F.logsigmoid(torch.where(positive, logits, -logits))
    return -loglik.masked_fill(excluded, 0).sum() / len(logits)


def write_case(name, c, tokenize, vocab, seed):
    path = os.path.join(CLIP, name)
    shutil.rmtree(path, ignore_errors=True)
    m = make_model(c, vocab, seed)
    m.save_pretrained(path)
    size = c["vision"]["image_size"]
    processor = SiglipImageProcessor(size={"height": size, "width": size})
    processor.save_pretrained(path)
    rng = np.random.RandomState(seed)
    b = len(PROMPTS)
    rgb = rng.randint(0, 256, (b, size, size, 3), dtype=np.uint8)
    pixels = processor(images=list(rgb), return_tensors="pt")["pixel_values"]
    ids = tokenize(PROMPTS)
    images, texts, logits = features(m, pixels, ids)
    eye, none = torch.eye(b).bool(), torch.zeros(b, b).bool()
    match = eye.clone()
    match[0, 2] = match[2, 0] = match[1, 5] = match[5, 1] = True
    excluded = match & ~eye
    loss = sigmoid_loss(logits, eye, none)
    parameters = dict(m.named_parameters())
    gradients = torch.autograd.grad(loss, [parameters[n] for n in GRADIENTS], retain_graph=True)
    out = {
        "input.rgb": torch.from_numpy(rgb), "input.ids": ids, "input.match": match.to(torch.uint8),
        "output.images": images, "output.texts": texts, "output.logits": logits, "output.loss": loss,
        "output.loss_soft": sigmoid_loss(logits, match, none), "output.loss_masked": sigmoid_loss(logits, eye, excluded),
        **{"gradient." + n: g for n, g in zip(GRADIENTS, gradients)},
    }
    from safetensors.torch import save_file
    save_file({k: v.detach().contiguous() for k, v in out.items()}, os.path.join(path, "golden.safetensors"),
              metadata={"prompts": json.dumps(PROMPTS), **VERSIONS})


def write_preprocessing():
    """SiglipImageProcessor on pictures that package imaging's tests have."""
    size = 24
    processor = SiglipImageProcessor(size={"height": size, "width": size})
    tensors = {}
    for name in ("rgb.png", "grey.png", "444.jpg", "420.jpg", "palette.png", "lossless.webp"):
        with Image.open(os.path.join(ROOT, "imaging", "testdata", name)) as image:
            tensors[name] = processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"][0].contiguous()
    from safetensors.torch import save_file
    save_file(tensors, os.path.join(CLIP, "preprocess.safetensors"), metadata=VERSIONS)


def write():
    siglip = siglip_tokenizer(os.path.join(TEXT, "siglip"))
    gemma = gemma_tokenizer(os.path.join(TEXT, "siglip2"))
    write_tokens(os.path.join(TEXT, "siglip.json"), lambda s: siglip(s, truncation=True, max_length=64)["input_ids"],
                 lambda ids: siglip.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip())
    write_tokens(os.path.join(TEXT, "siglip2.json"), lambda s: gemma.encode(s).ids, lambda ids: gemma.decode(ids).strip(" "))
    # With mT5's settings, which SigLIP's multilingual models have; small, so without NFKC.
    many = siglip_tokenizer(os.path.join(TEXT, "siglip-multilingual"), rule="identity", byte_fallback=True, user_defined_symbols=["<extra_id_0>"])
    write_tokens(os.path.join(TEXT, "siglip-multilingual.json"), lambda s: many(s, truncation=True, max_length=64)["input_ids"],
                 lambda ids: many.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip(), every=5)
    gemma.enable_padding(length=64, pad_id=0, pad_token="<pad>")
    by_siglip = lambda texts: siglip(texts, padding="max_length", truncation=True, max_length=64, return_tensors="pt")["input_ids"]
    by_gemma = lambda texts: torch.tensor([gemma.encode(t).ids for t in texts])
    for seed, (name, c) in enumerate(CASES.items()):
        if c.get("gemma"):
            write_case(name, c, by_gemma, gemma.get_vocab_size(), seed)
        else:
            write_case(name, c, by_siglip, siglip.vocab_size, seed)
    write_preprocessing()


def check(out):
    """Folders that ARF wrote: transformers gives the golden features with them, from the golden inputs."""
    from safetensors.torch import load_file
    for name, c in CASES.items():
        path, golden = os.path.join(out, name), load_file(os.path.join(CLIP, name, "golden.safetensors"))
        if "projection_size" in c["text"]:
            m = make_model(c, SiglipConfig.from_pretrained(path).text_config.vocab_size, 99).eval()
            print(m.load_state_dict(load_file(os.path.join(path, "model.safetensors"))))
        else:
            m, info = SiglipModel.from_pretrained(path, output_loading_info=True)
            assert not any(info.values()), info
        original = load_file(os.path.join(CLIP, name, "model.safetensors"))
        written = load_file(os.path.join(path, "model.safetensors"))
        assert original.keys() == written.keys() and all(torch.equal(original[k], written[k]) and original[k].shape == written[k].shape for k in original), name
        processor = SiglipImageProcessor.from_pretrained(path)
        pixels = processor(images=list(golden["input.rgb"].numpy()), return_tensors="pt")["pixel_values"]
        if c.get("gemma"):
            tokenizer = GemmaTokenizerFast.from_pretrained(path)
            texts = [p.lower() for p in PROMPTS]
        else:
            tokenizer, texts = SiglipTokenizer.from_pretrained(path), PROMPTS
        ids = tokenizer(texts, padding="max_length", truncation=True, max_length=64, return_tensors="pt")["input_ids"]
        assert torch.equal(ids, golden["input.ids"]), name
        with torch.no_grad():
            images, texts, logits = features(m.eval(), pixels, ids)
        for what, got in (("images", images), ("texts", texts), ("logits", logits)):
            want = golden["output." + what]
            error = ((got - want).norm() / want.norm()).item()
            print(f"{name}: {what}: relative error {error:.2g}")
            assert error <= 1e-6
    print("ok", json.dumps(VERSIONS))


parser = argparse.ArgumentParser()
parser.add_argument("--check", metavar="DIR")
args = parser.parse_args()
check(args.check) if args.check else write()
