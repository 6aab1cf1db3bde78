"""Writes captioner/testdata/blip: small random BLIPs that transformers wrote, and what it gives for them.

No published weights are used: BLIP's class makes the models, random numbers
fill them, scaled so that captions differ from image to image and most come to
an end. A case is a folder as on the hub, with config, preprocessor, BERT
tokenizer and weights (one in safetensors, one in a pickle), and golden.safetensors:

    image.N      encoded pictures, as files
    pixels.N     what BlipImageProcessor makes of the first ones
    ids, logits  given texts after each picture, and the scores of the next token
    metadata     golden: JSON with the token ids, texts and log-probabilities that generate() gives

Runs from the root of the repository: scripts/golden/run.sh blip
"""
import io
import json
import math
import os
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# The repository has folders named like Python packages.
sys.path = [p for p in sys.path if os.path.abspath(p or ".") != ROOT]
sys.path.append(os.path.dirname(__file__))

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from tokenizers import BertWordPieceTokenizer
from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor
import transformers.generation.utils

from versions import versions

# What it imports to tell is broken in torch 1.13 on Python 3.11.
transformers.generation.utils.is_fsdp_managed_module = lambda module: False

OUT = os.path.join(ROOT, "captioner", "testdata", "blip")
IMAGES, PIXELS, TEXTS = 56, 4, 6
NEW_TOKENS = 12
PROMPT = "a picture of"

CORPUS = [f"{a} {b} {c} {d}" for a in ("a picture of", "there is", "two of", "a drawing of") for b in ("red", "green", "small", "old")
          for c in ("cats", "dogs", "bicycles", "lighthouses", "cups") for d in ("on a table.", "in the street, at night", "with people's hats", "and a black-and-white sign")]

# Seeds whose captions differ in words and length. As in the published models: the text's width is the picture's in base, less in large.
CASES = {
    "base": dict(seed=4, vision=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=64, patch_size=16),
                 text=dict(hidden_size=32, encoder_hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)),
    "large": dict(seed=4, vision=dict(hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=6, image_size=48, patch_size=8),
                  text=dict(hidden_size=32, encoder_hidden_size=48, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2)),
}


def tokenizer(path):
    """BERT's, around a small vocabulary, which is made once: training doesn't give the same twice."""
    if not os.path.exists(os.path.join(path, "vocab.txt")):
        trained = BertWordPieceTokenizer(lowercase=True)
        trained.train_from_iterator(CORPUS, vocab_size=220, min_frequency=1, show_progress=False)
        os.makedirs(path, exist_ok=True)
        trained.save_model(path)
    t = BertTokenizerFast(os.path.join(path, "vocab.txt"), model_max_length=512)
    t.save_pretrained(path)
    return BertTokenizerFast.from_pretrained(path)


def picture(rng, i):
    """An encoded drawing: shapes on a gradient; of every third the form isn't square, some are grey, JPEG or transparent."""
    w, h = (int(rng.randint(40, 100)), int(rng.randint(40, 100))) if i % 3 else (64, 64)
    y, x = np.mgrid[0:h, 0:w]
    a, b = rng.randint(0, 256, 3), rng.randint(0, 256, 3)
    t = (x / w * rng.rand() + y / h * rng.rand())[..., None] / 2
    image = Image.fromarray(np.uint8(a * (1 - t) + b * t))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(1, 6)):
        box = sorted(rng.randint(0, w, 2)) + sorted(rng.randint(0, h, 2))
        form = [draw.ellipse, draw.rectangle][rng.randint(2)]
        form((box[0], box[2], box[1], box[3]), fill=tuple(int(c) for c in rng.randint(0, 256, 3)))
    out = io.BytesIO()
    if i % 7 == 3:
        image = image.convert("L")
    if i % 7 == 5:
        image.putalpha(Image.fromarray(np.uint8(255 * t[..., 0])))
    image.save(out, "JPEG" if i % 5 == 4 and image.mode != "RGBA" else "PNG", quality=92)
    return out.getvalue()


def make(c, tok, seed):
    """A model of random weights whose attention, and whose choice of words, isn't flat."""
    vocab = len(tok) + 2
    text = dict(c["text"], vocab_size=vocab, max_position_embeddings=40, bos_token_id=vocab - 2, sep_token_id=tok.sep_token_id, pad_token_id=tok.pad_token_id)
    m = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=c["vision"], projection_dim=16, image_text_hidden_size=16)).eval()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in m.named_parameters():
            noise = torch.randn(p.shape, generator=rng)
            if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "LayerNorm.weight")):
                p.copy_(1 + 0.1 * noise)
            elif name.endswith("embeddings.weight"):
                p.copy_(noise)  # else captions repeat a word
            elif p.dim() > 1 and "embedding" not in name:
                p.copy_((3 if "crossattention" in name else 1.6) * noise / math.sqrt(p[0].numel()))
            else:
                p.copy_(0.3 * noise)
        head = m.text_decoder.cls.predictions
        head.decoder.weight.mul_(0.6)
        head.bias[[tok.pad_token_id, tok.cls_token_id, tok.mask_token_id, vocab - 2, vocab - 1]] -= 4
    return m


def generate(m, tok, pixels, prompt, **options):
    ids = torch.tensor([[tok.cls_token_id, *(tok(prompt)["input_ids"][1:-1] if prompt else []), tok.sep_token_id]] * len(pixels))
    start = ids.shape[1] - 1
    out = m.generate(pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS,
                     return_dict_in_generate=True, output_scores=True, **options)
    decoder, sep, pad = m.text_decoder, tok.sep_token_id, tok.pad_token_id
    sums = decoder.compute_transition_scores(out.sequences, out.scores, out.get("beam_indices"), normalize_logits=options.get("num_beams", 1) == 1)
    captions = []
    for row, scores in zip(out.sequences.tolist(), sums.tolist()):
        new = row[start:]
        end = new.index(sep) if sep in new else len(new) - (pad in new and new[::-1].index(next(t for t in reversed(new) if t != pad)))
        counted = min(end + 1, NEW_TOKENS) if sep in new else end
        captions.append({"ids": new[:end], "ended": sep in new, "text": tok.decode(row, skip_special_tokens=True), "log_prob": sum(scores[:counted])})
    return captions


def write(name, c):
    path = os.path.join(OUT, name)
    tok = tokenizer(path)
    m = make(c, tok, c["seed"])
    size = c["vision"]["image_size"]
    processor = BlipImageProcessor(size={"height": size, "width": size})
    processor.save_pretrained(path)
    rng = np.random.RandomState(1)
    encoded = [picture(rng, i) for i in range(IMAGES)]
    pixels = processor(images=[Image.open(io.BytesIO(e)) for e in encoded], return_tensors="pt")["pixel_values"]
    for _ in range(40):  # as likely an end that every other caption has one
        if sum(x["ended"] for x in generate(m, tok, pixels, "")) >= IMAGES / 2:
            break
        with torch.no_grad():
            m.text_decoder.cls.predictions.bias[tok.sep_token_id] += 0.2
    m.save_pretrained(path, safe_serialization=name == "base")
    os.remove(os.path.join(path, "generation_config.json"))
    ids = torch.from_numpy(rng.randint(5, len(tok), (TEXTS, 9)))
    ids[:, 0] = len(tok)
    with torch.no_grad():
        logits = m(pixel_values=pixels[:TEXTS], input_ids=ids).logits
        runs = {
            "greedy": generate(m, tok, pixels, ""), "beam": generate(m, tok, pixels, "", num_beams=3),
            "greedy_prompt": generate(m, tok, pixels, PROMPT), "beam_prompt": generate(m, tok, pixels, PROMPT, num_beams=3),
            "beam_all": generate(m, tok, pixels[:8], "", num_beams=4, num_return_sequences=4),
        }
    for what, captions in runs.items():
        different = len({tuple(x["ids"]) for x in captions})
        ended = sum(x["ended"] for x in captions)
        print(f"{name}: {what}: {len(captions)} captions, {different} different, {ended} ended, lengths {sorted({len(x['ids']) for x in captions})}, such as {captions[1]['text']!r}")
        assert different > len(captions) / 3 and len(captions) / 5 < ended < len(captions), "the golden captions show little; change the scales"
    changed = sum(a["ids"] != b["ids"] for a, b in zip(runs["greedy"], runs["beam"]))
    assert changed > IMAGES / 4, "beam search changes too little"
    tensors = {f"image.{i}": torch.frombuffer(bytearray(e), dtype=torch.uint8) for i, e in enumerate(encoded)}
    tensors.update({f"pixels.{i}": pixels[i].contiguous() for i in range(PIXELS)}, ids=ids, logits=logits.contiguous())
    golden = {"runs": runs, "prompt": PROMPT, "max_new_tokens": NEW_TOKENS, "versions": versions("torch", "transformers", "tokenizers", "safetensors", "Pillow", "numpy")}
    # One entry, as several come in any order.
    save_file(tensors, os.path.join(path, "golden.safetensors"), metadata={"golden": json.dumps(golden, separators=(",", ":"))})


for name, case in CASES.items():
    write(name, case)
