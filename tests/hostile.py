"""Picture files that cost their reader dear: few bytes that ask for gigabytes, minutes, or both."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

from .profiles import profile

SIDE = 5000  # 25 million pixels, the most that is read


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def heic(image: Image.Image) -> bytes:
    """A picture as phones save it."""
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def segment(marker: int, data: bytes) -> bytes:
    """Of a JPEG."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def tiff(tags: list[tuple[int, int, int, int | None]], blob: bytes = b"", after: int = 0) -> bytes:
    """One directory; a value of None lies in the blob."""
    place = 8 + 2 + 12 * len(tags) + 4
    rows = (struct.pack("<HHLL", *tag[:3], place if tag[3] is None else tag[3]) for tag in tags)
    head = b"II*\0" + struct.pack("<LH", 8, len(tags))
    return head + b"".join(rows) + struct.pack("<L", after) + blob


def grey_tiff(width: int, height: int, rows: int, **more: Any) -> list[tuple[int, int, int, int | None]]:
    """The tags of a grey TIFF with a strip for every `rows` rows."""
    n = -(-height // rows)
    strips = (273, 4, n, None), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, n, None)
    return [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), *strips]


def rle_bmp(width: int, height: int, data: bytes) -> bytes:
    start = 54 + 1024
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + bytes(1024) + data


def bomb(side: int = 30000) -> bytes:
    """A PNG of a few bytes that says it has so many pixels a side."""
    data = bytearray(saved(Image.new("L", (1, 1)), "PNG"))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def large() -> dict[str, bytes]:
    """Pictures of as many pixels as are read, in the modes that take the most memory."""
    size, turned = (SIDE, SIDE), Image.Exif()
    turned[0x0112] = 6
    palette = Image.new("P", size)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    return {
        "rgba.webp": saved(Image.new("RGBA", size), "WEBP", lossless=True, method=0, exif=turned),
        "rgba.png": saved(Image.new("RGBA", size), "PNG", exif=turned),
        "la.png": saved(Image.new("LA", size), "PNG"),
        "palette.png": saved(palette, "PNG", transparency=b"\x10\x20"),
        "16 bit.png": saved(Image.fromarray(np.full(size, 1000, np.uint16)), "PNG"),
        "float.tiff": saved(Image.new("F", size), "TIFF", compression="tiff_deflate"),
        "int.tiff": saved(Image.new("I", size), "TIFF", compression="tiff_deflate"),
        "cmyk.jpeg": saved(Image.new("CMYK", size), "JPEG", exif=turned),
        "phone.jpeg": saved(Image.new("RGB", (8000, 6000)), "JPEG", progressive=True, exif=turned),
        "large phone.jpeg": saved(Image.new("RGB", (12000, 9000)), "JPEG", icc_profile=profile()),
        "profile.png": saved(Image.new("RGBA", size), "PNG", icc_profile=profile()),
        "heic.heic": heic(Image.new("RGB", size)),
        "progressive.jpeg": saved(Image.new("RGB", size), "JPEG", progressive=True, exif=turned),
        "palette.gif": saved(palette, "GIF", transparency=0),
        "thin.png": saved(Image.new("RGB", (60000, 1)), "PNG"),
    }


def traps() -> dict[str, bytes]:
    """Files of a few megabytes at most that decoders take long over, or much memory."""
    png, jpeg, gif = (saved(Image.new("P", (8, 8)).convert(m), kind)
                      for m, kind in (("RGB", "PNG"), ("RGB", "JPEG"), ("P", "GIF")))  # fmt: skip
    first = 13 + 3 * 2 ** ((gif[10] & 7) + 1)  # of its blocks
    scans = saved(Image.new("L", (SIDE, SIDE)), "JPEG", progressive=True)
    scan = scans[scans.rindex(b"\xff\xda") : -2]
    exif = tiff([(tag, 4, 14000, None) for tag in range(1, 500)] + [(0x0112, 3, 1, 6)], b"\x77" * 57000)
    strips = 1_200_000
    one = grey_tiff(1, 1, 1)
    one[5], one[8] = (273, 4, 1, 8), (279, 4, 1, 1)
    links, link = 50_000, len(tiff(one)) - 8
    chain = b"".join(tiff(one, after=8 + link * (n + 1) if n < links - 1 else 0)[8:] for n in range(links))
    inner = tiff([(tag, 4, 500_000, 8) for tag in range(1, 3000)])[8:]
    folded = [*one, (0x8769, 4, 1, None)]
    return {
        "bomb.png": bomb(),
        "too large.webp": saved(Image.new("RGBA", (7000, 7000)), "WEBP", lossless=True, method=0),
        "chunks.png": png[:33] + chunk(b"teSt") * 500_000 + png[33:],
        "exif.png": png[:33] + chunk(b"eXIf", exif) + png[33:],
        "exif.jpeg": jpeg[:2] + segment(0xE1, b"Exif\0\0" + exif[:65000]) * 60 + jpeg[20:],
        "junk.jpeg": jpeg[:2] + b"\xff\xf0" + segment(0xE1, b"Exif\0\0" + exif[:65000]) * 60 + jpeg[20:],
        "scans.jpeg": scans[:-2] + scan * 20_000 + b"\xff\xd9",
        "tables.jpeg": jpeg[:2] + segment(0xDB, (b"\0" + b"\1" * 64) * 1000) * 60 + jpeg[2:],
        "comments.gif": gif[:first] + b"\x21\xfe\x01a\0" * 500_000 + gif[first:],
        "comment.gif": gif[:first] + b"\x21\xfe" + (b"\xff" + b"a" * 255) * 30_000 + b"\0" + gif[first:],
        "frames.gif": gif[:-1] + b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0" * 300_000 + b";",
        "strips.tiff": tiff(grey_tiff(1, strips, 1), b"\1\0\0\0" * 2 * strips),
        "tags.tiff": tiff([*one, *((tag, 7, 1 << 22, None) for tag in range(40000, 48000))], bytes(1 << 22)),
        "chain.tiff": b"II*\0" + struct.pack("<L", 8) + chain,
        "folded.tiff": tiff(folded, inner + bytes(2 << 20)),
        "lines.bmp": rle_bmp(100, 100, b"\0\0" * 2_000_000),
        "jumps.bmp": rle_bmp(65000, 380, b"\0\2\xff\xff" * 100),
        "words.ppm": b"P3 3000 2500 255\n" + b"1 " * 3_000_000,
        "scaled.ppm": b"P6 3000 2500 100\n" + b"1" * 3_000_000,
    }  # fmt: skip


def small() -> dict[str, bytes]:
    """Harmless pictures of every format and mode, to be mutated."""
    noise = Image.effect_noise((48, 40), 60).convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    frames: dict[str, Any] = {"save_all": True, "append_images": [noise.rotate(90).resize(noise.size)]}
    found = {f"rgb.{kind}": saved(noise, kind) for kind in ("PNG", "WEBP", "BMP", "TIFF", "PPM")}
    return found | {
        "rgb.JPEG": saved(noise, "JPEG", exif=turned),
        "rgb.AVIF": saved(noise, "AVIF"),
        "frames.AVIF": saved(noise, "AVIF", icc_profile=profile(), **frames),
        "rgb.HEIC": heic(noise),
        **{f"profile.{kind}": saved(noise, kind, icc_profile=profile()) for kind in ("PNG", "JPEG", "TIFF")},
        "grey profile.PNG": saved(noise.convert("LA"), "PNG", icc_profile=profile(space=b"GRAY")),
        "progressive.JPEG": saved(noise, "JPEG", progressive=True),
        "palette.GIF": saved(noise.convert("P"), "GIF"),
        "frames.GIF": saved(noise, "GIF", **frames),
        "frames.WEBP": saved(noise, "WEBP", **frames),
        "rgba.PNG": saved(noise.convert("RGBA"), "PNG", exif=turned),
        "cmyk.JPEG": saved(noise.convert("CMYK"), "JPEG"),
        "16 bit.PNG": saved(Image.fromarray(np.full((40, 48), 32768, np.uint16)), "PNG"),
        "packed.TIFF": saved(noise, "TIFF", compression="tiff_lzw", exif=turned),
        "float.TIFF": saved(noise.convert("F"), "TIFF"),
        "large.TIFF": saved(noise, "TIFF", big_tiff=True),
    }


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder
