"""What CLIP's preprocessing makes of imaging/testdata/photos.

The rule is convert("RGB"), then open_clip's image_transform (torchvision's
Resize, CenterCrop, as in OpenAI's): pictures are opened so by torchvision's
ImageFolder, webdataset's "pilrgb" and Hugging Face's processor. golden-<S>.png
has the S × S results below each other, cases.json their order. Pillow clips
16-bit grey to white; for those files the rule is the high byte, as Pillow does
with 16-bit colour.

Prints how far Hugging Face's CLIPImageProcessor and the transform without
convert("RGB") first are from that, in grey levels.
"""
import json
import pathlib
import warnings

import numpy as np
from open_clip.transform import image_transform
from PIL import Image
from transformers import CLIPImageProcessor

from versions import versions

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "imaging/testdata/photos"
GOLDEN = {64: None, 224: ["astronaut-420.jpg", "coffee-progressive.jpg", "astronaut-4032x3024-progressive.jpg", "chelsea-animated.gif", "coffee-2400x60.jpg", "one.png"]}


def convert(im):
    if im.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(im) >> 8).astype(np.uint8)).convert("RGB")
    return im.convert("RGB")


def transform(size):
    """open_clip's evaluation transform up to ToTensor."""
    t = image_transform(size, is_train=False)
    steps = t.transforms[:3]
    return lambda im: np.asarray([im := step(im) for step in steps][-1])


def main():
    warnings.simplefilter("ignore")
    names = sorted(p.name for p in FOLDER.iterdir() if p.suffix in (".jpg", ".png", ".webp", ".gif") and not p.name.startswith("golden-"))
    for size, only in GOLDEN.items():
        apply = transform(size)
        rows = [apply(convert(Image.open(FOLDER / n))) for n in only or names]
        Image.fromarray(np.concatenate(rows)).save(FOLDER / f"golden-{size}.png", optimize=True)
    out = {"versions": versions("Pillow", "torch", "torchvision", "open_clip_torch"), "cases": {str(s): only or names for s, only in GOLDEN.items()}}
    (FOLDER / "cases.json").write_text(json.dumps(out, indent=1) + "\n")

    apply = transform(224)
    processor = CLIPImageProcessor(do_normalize=False, do_rescale=False)
    for what, other in {"Hugging Face's processor": lambda n: processor(Image.open(FOLDER / n))["pixel_values"][0].transpose(1, 2, 0),
                        "without convert first": lambda n: apply(Image.open(FOLDER / n))}.items():
        print(what)
        for n in names:
            want = apply(convert(Image.open(FOLDER / n))).astype(int)
            try:
                d = np.abs(other(n).astype(int) - want)
            except Exception as e:
                print(f"  {n}: {type(e).__name__}: {e}")
                continue
            if d.max() > 0:
                print(f"  {n}: mean {d.mean():.2f}, max {d.max()}")


if __name__ == "__main__":
    main()
