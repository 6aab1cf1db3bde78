"""Makes imaging/testdata/photos: small derivatives of free photographs in the
forms in which pictures come. preprocess.py notes what they must become.

    pip download --no-deps scikit-image==0.22.0 && unzip scikit_image*.whl 'skimage/data/*'
    run.sh pictures skimage/data

Encoders differ from version to version, so that this isn't part of "golden":
the pictures stay as they are. All sources are in the public domain or CC0
(scikit-image: skimage/data/_fetchers.py):

    astronaut  NASA, public domain              chelsea  Stéfan van der Walt, CC0
    coffee     Rachel Michetti, CC0             rocket   SpaceX, CC0
    hubble     NASA, public domain              moon     NASA, public domain
    camera     Lav Varshney, CC0                brick    CC0Textures.com, CC0
"""
import pathlib
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageCms

OUT = pathlib.Path(__file__).resolve().parents[2] / "imaging/testdata/photos"


def png(path, a, depth, colour, interlace=False, extra=b""):
    """PNGs that Pillow doesn't write. a: [h, w, channels], whole pixels of depth bits."""
    def rows(a):
        h, w, c = a.shape
        if not h or not w:
            return b""
        if depth == 16:
            return b"".join(b"\0" + r.astype(">u2").tobytes() for r in a)
        if depth == 8:
            return b"".join(b"\0" + r.astype(np.uint8).tobytes() for r in a)
        bits = ((a[..., 0, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8).reshape(h, -1)
        return b"".join(b"\0" + r.tobytes() for r in np.packbits(bits, axis=1))

    h, w, _ = a.shape
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b"".join(rows(a[y::dy, x::dx]) for x, y, dx, dy in passes) if interlace else rows(a)
    chunk = lambda k, d: struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlace))))
        f.write(extra + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def chunk(k, d):
    return struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))


def main(folder):
    OUT.mkdir(parents=True, exist_ok=True)
    files = dict(astronaut="astronaut.png", coffee="coffee.png", hubble="hubble_deep_field.jpg", camera="camera.png",
                 chelsea="chelsea.png", rocket="rocket.jpg", moon="moon.png", brick="brick.png")
    full = {k: Image.open(pathlib.Path(folder) / v).convert("RGB") for k, v in files.items()}

    def photo(name, *size):
        im = full[name].copy()
        im.thumbnail(size if len(size) == 2 else (size[0], size[0]), Image.LANCZOS)
        return im

    save = lambda im, name, **options: im.save(OUT / name, **options)
    jpeg = lambda im, name, quality=85, subsampling=2, **o: save(im, name, quality=quality, subsampling=subsampling, **o)

    # JPEG
    jpeg(photo("astronaut", 300), "astronaut-420.jpg")
    jpeg(photo("astronaut", 301), "astronaut-444.jpg", subsampling=0)
    jpeg(photo("coffee", 300), "coffee-422.jpg", subsampling=1)
    jpeg(photo("coffee", 299), "coffee-progressive.jpg", progressive=True)
    jpeg(photo("rocket", 257), "rocket-progressive-444.jpg", progressive=True, subsampling=0, optimize=True)
    jpeg(photo("chelsea", 333), "chelsea-quality-20.jpg", quality=20)
    jpeg(photo("chelsea", 240), "chelsea-quality-100.jpg", quality=98, subsampling=0)
    jpeg(photo("camera", 256).convert("L"), "camera-grey.jpg")
    jpeg(photo("hubble", 256).convert("CMYK"), "hubble-cmyk.jpg")
    jpeg(photo("astronaut", 200).convert("CMYK"), "astronaut-cmyk-444.jpg", subsampling=0)
    jpeg(photo("coffee", 200), "coffee-rgb.jpg", keep_rgb=True, subsampling=0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    jpeg(photo("rocket", 240), "rocket-icc.jpg", icc_profile=profile)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        jpeg(photo("chelsea", 150), f"chelsea-exif-{orientation}.jpg", exif=exif, quality=75)
    jpeg(photo("moon", 123), "moon-restart.jpg", restart_marker_rows=2)

    # PNG
    save(photo("rocket", 160), "rocket-rgb.png", optimize=True)
    save(photo("coffee", 200).quantize(256), "coffee-palette.png", optimize=True)
    save(photo("coffee", 150).quantize(14), "coffee-palette-4bit.png", optimize=True, bits=4)
    save(photo("astronaut", 150).quantize(64), "astronaut-palette-key.png", optimize=True, transparency=7)
    save(photo("astronaut", 150).quantize(32), "astronaut-palette-alpha.png", optimize=True, transparency=bytes(range(0, 256, 8)))
    save(photo("camera", 180).convert("L"), "camera-grey.png", optimize=True)
    save(photo("camera", 180).convert("1"), "camera-1bit.png", optimize=True)
    alpha = photo("camera", 128).convert("L").resize((128, 128))
    cut = photo("astronaut", 128).resize((128, 128))
    cut.putalpha(alpha)
    save(cut, "astronaut-rgba.png", optimize=True)
    la = photo("moon", 128).convert("L").resize((128, 128))
    la.putalpha(alpha)
    save(la, "moon-grey-alpha.png", optimize=True)
    rgb = np.asarray(photo("chelsea", 120))
    png(OUT / "chelsea-interlaced.png", rgb, 8, 2, interlace=True)
    wide = rgb.astype(np.uint16) * 257 ^ (np.arange(rgb.shape[1], dtype=np.uint16)[:, None] * 37 & 0xFF)
    png(OUT / "chelsea-rgb16.png", wide[::2, ::2], 16, 2)
    png(OUT / "chelsea-rgba16-interlaced.png", np.concatenate([wide, wide[..., :1]], 2)[::2, ::2], 16, 6, interlace=True)
    grey = np.asarray(photo("camera", 100).convert("L"))[..., None]
    png(OUT / "camera-grey16.png", grey.astype(np.uint16) * 257, 16, 0)
    png(OUT / "camera-grey-alpha16.png", np.concatenate([grey, 255 - grey], 2).astype(np.uint16) * 257, 16, 4)
    png(OUT / "camera-grey-2bit.png", grey >> 6, 2, 0)
    png(OUT / "camera-grey-4bit-interlaced.png", grey >> 4, 4, 0, interlace=True)
    png(OUT / "camera-grey-key.png", grey, 8, 0, extra=chunk(b"tRNS", struct.pack(">H", 200)))
    png(OUT / "chelsea-rgb-key.png", rgb, 8, 2, extra=chunk(b"tRNS", struct.pack(">HHH", *rgb[5, 5])))

    # WebP
    save(photo("astronaut", 300), "astronaut-lossy.webp", quality=80)
    save(photo("coffee", 260), "coffee-lossy-30.webp", quality=30)
    save(photo("coffee", 120), "coffee-lossless.webp", lossless=True)
    save(cut, "astronaut-lossy-alpha.webp", quality=80)
    save(cut, "astronaut-lossless-alpha.webp", lossless=True)
    save(photo("rocket", 200), "rocket-animated.webp", save_all=True, append_images=[photo("rocket", 200).rotate(180)], quality=70, duration=100)

    # GIF
    save(photo("coffee", 160).quantize(64), "coffee.gif")
    save(photo("rocket", 160).quantize(64), "rocket-interlaced.gif", interlace=1)
    save(photo("astronaut", 128).quantize(32), "astronaut-transparent.gif", transparency=5)
    frames = [photo("chelsea", 100).rotate(a).quantize(32) for a in (0, 90, 180)]
    save(frames[0], "chelsea-animated.gif", save_all=True, append_images=frames[1:], duration=100)

    for name in ("coffee", "astronaut-transparent"):  # a frame that doesn't fill its screen
        gif = bytearray((OUT / f"{name}.gif").read_bytes())
        gif[6:10] = struct.pack("<HH", *(n + 40 for n in struct.unpack("<HH", gif[6:10])))
        (OUT / f"{name}-small-frame.gif").write_bytes(gif)

    # sizes and shapes
    save(photo("coffee", 200).resize((1, 1), Image.BOX), "one.png")
    jpeg(photo("coffee", 200).resize((1, 1), Image.BOX), "one.jpg")
    save(full["rocket"].resize((3, 200), Image.BOX), "tall-3x200.png")
    jpeg(full["rocket"].resize((200, 3), Image.BOX), "wide-200x3.jpg")
    save(full["rocket"].resize((2, 2), Image.BOX), "two.png")
    jpeg(full["coffee"].crop((0, 150, 600, 165)).resize((2400, 60), Image.LANCZOS), "coffee-2400x60.jpg", quality=60)
    jpeg(full["rocket"].crop((300, 0, 312, 427)).resize((60, 2135), Image.LANCZOS), "rocket-60x2135.jpg", quality=60)
    jpeg(full["brick"].resize((3000, 4000), Image.LANCZOS), "brick-3000x4000.jpg", quality=12)
    jpeg(full["astronaut"].resize((4032, 3024), Image.LANCZOS), "astronaut-4032x3024-progressive.jpg", quality=15, progressive=True)
    save(full["chelsea"].convert("L").resize((2500, 1667)).quantize(4), "chelsea-2500x1667-palette.png", optimize=True)
    jpeg(photo("hubble", 225).crop((0, 0, 225, 197)), "hubble-225x197.jpg")


if __name__ == "__main__":
    main(sys.argv[1])
    files = sorted(OUT.iterdir())
    print(len(files), sum(f.stat().st_size for f in files))
