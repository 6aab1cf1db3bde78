"""Makes the drawn pictures of imaging/testdata and, with Pillow, what they must
become. preprocess.py does the same with photographs and the libraries.

Pillow 13 resizes some tall pictures in the other order of passes (columns
first), which changes pixels slightly; CLIP models were made with older ones.

For each picture <name> of cases.json: <name>.rgb.png is convert("RGB"), and
<name>.eval<S>.png is CLIP's preprocessing at S pixels: torchvision's
Resize(S, bicubic) of a PIL image, CenterCrop(S), convert("RGB") (in the order
resize, crop on RGB, so that palettes are resampled in colour).
"""
import json, os, pathlib, struct, zlib
import numpy as np
from PIL import Image

os.chdir(pathlib.Path(__file__).resolve().parents[2] / "imaging/testdata")
rng = np.random.default_rng(0)


def picture(w, h, channels):
    """Smooth colours with hard edges and some noise."""
    y, x = np.mgrid[0:h, 0:w]
    out = np.zeros((h, w, channels))
    for c in range(channels):
        out[..., c] = 127 + 120 * np.sin(x / (3 + c) + c) * np.cos(y / (5 - c))
    out[(x - w / 2) ** 2 + (y - h / 2) ** 2 < (min(w, h) / 4) ** 2] = [250, 10, 90, 128][:channels]
    out += rng.normal(0, 8, out.shape)
    return np.clip(out, 0, 255).astype(np.uint8)


def png16(path, a):
    """Pillow writes no 16-bit RGB."""
    h, w, c = a.shape
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in a)
    chunk = lambda k, d: struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
    color = {1: 0, 2: 4, 3: 2, 4: 6}[c]
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, color, 0, 0, 0)))
        f.write(chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def evaluate(im, size, resample, squash):
    w, h = im.size
    if squash:
        nw, nh = size, size
    elif w <= h:
        nw, nh = size, int(size * h / w)
    else:
        nw, nh = int(size * w / h), size
    if (nw, nh) != (w, h):
        im = im.resize((nw, nh), resample)
    left, top = int(round((nw - size) / 2.0)), int(round((nh - size) / 2.0))
    return im.crop((left, top, left + size, top + size))


cases = []


def case(name, sizes=((24, "bicubic", "shortest"),), tolerance=0):
    im = Image.open(name).convert("RGB")
    im.save(name + ".rgb.png", optimize=True)
    for size, interpolation, mode in sizes:
        resample = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}[interpolation]
        golden = f"{name}.{interpolation}-{mode}-{size}.png"
        evaluate(im, size, resample, mode == "squash").save(golden, optimize=True)
        cases.append(dict(file=name, rgb=name + ".rgb.png", golden=golden, size=size,
                          interpolation=interpolation, mode=mode, tolerance=tolerance))


every = [(s, i, m) for s in (16, 37, 61, 100) for i in ("bicubic", "bilinear") for m in ("shortest", "squash")]
Image.fromarray(picture(90, 61, 3)).save("rgb.png"); case("rgb.png", every)
Image.fromarray(picture(40, 77, 1)[..., 0]).save("grey.png"); case("grey.png", every)
Image.fromarray(picture(200, 5, 3)).save("wide.png"); case("wide.png")
Image.fromarray(picture(1, 1, 3)).save("pixel.png"); case("pixel.png")
Image.fromarray(picture(24, 24, 3)).save("same.png"); case("same.png")
Image.fromarray(picture(40, 30, 4)).save("rgba.png"); case("rgba.png")
Image.fromarray(picture(40, 30, 2), "LA").save("grey-alpha.png"); case("grey-alpha.png")
Image.fromarray(picture(40, 30, 3)).quantize(17).save("palette.png"); case("palette.png")
p = Image.fromarray(picture(40, 30, 3)).quantize(9); p.save("palette-alpha.png", transparency=2); case("palette-alpha.png")
Image.fromarray(picture(40, 30, 1)[..., 0]).convert("1").save("bits.png"); case("bits.png")
a16 = picture(40, 30, 3).astype(np.uint16) * 257 ^ 0x55
png16("rgb16.png", a16); case("rgb16.png")

photo = Image.fromarray(picture(90, 61, 3))
# Decoders of JPEG may differ by a level or two where they build chroma.
photo.save("444.jpg", quality=90, subsampling=0); case("444.jpg", tolerance=1)
photo.save("420.jpg", quality=85, subsampling=2); case("420.jpg", tolerance=1)
photo.convert("L").save("grey.jpg", quality=90); case("grey.jpg", tolerance=1)
photo.convert("CMYK").save("cmyk.jpg", quality=90); case("cmyk.jpg", tolerance=1)
exif = Image.Exif(); exif[0x0112] = 6
photo.save("rotated.jpg", quality=90, exif=exif); case("rotated.jpg", tolerance=1)
photo.save("lossless.webp", lossless=True); case("lossless.webp")
photo.save("lossy.webp", quality=80); case("lossy.webp", tolerance=1)
photo.quantize(31).save("still.gif"); case("still.gif")
photo.quantize(31).save("moving.gif", save_all=True, append_images=[photo.rotate(180).quantize(31)]); case("moving.gif")
Image.fromarray(picture(40, 30, 4)).save("alpha.webp", lossless=True, exact=True); case("alpha.webp")
p.save("alpha.gif", transparency=2)  # read by TestBackground
photo.save("photo.avif", quality=80, subsampling="4:4:4"); case("photo.avif", tolerance=3)
photo.save("rgb.tif", compression="tiff_lzw"); case("rgb.tif")
photo.convert("CMYK").save("cmyk.tif", compression="tiff_lzw"); case("cmyk.tif")
photo.save("rgb.bmp"); case("rgb.bmp")
json.dump(cases, open("cases.json", "w"), indent=1)
