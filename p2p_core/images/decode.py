"""Picture files from anywhere, decoded without trusting them: their bytes, their headers, their decoders.

A decoder takes a file at its word: how many tags, scans, blocks or frames there are. A few bytes can then
cost minutes or gigabytes, so what is claimed is bounded here before anything is decoded.
"""

from __future__ import annotations

import io
import stat
import struct
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from ..errors import BadPicture, shown

MOST_BYTES = 64 << 20
MOST_PIXELS = 25_000_000
MOST_SIDE = 65_535  # what JPEG can say; a filter's kernel grows with the side, not with the pixels
MOST_READS = 100_000  # of a decoder that walks a file piece by piece
MOST_SCANS = 32  # of a progressive JPEG, each as dear as a picture; encoders make about ten
MOST_VALUES = 100_000  # of a TIFF's tag: one for each strip
MOST_IN_PYTHON = 1 << 20  # bytes of a file whose decoder is not compiled
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MOST_SECONDS = 8.0  # until a decoder's next read
KEPT = {*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xE0, 0xEE} - {0xC8}  # a JPEG's segments: tables, JFIF, Adobe
MARKS = (0x00, 0x01, *range(0xD0, 0xDA))  # in a JPEG, without a length
FOLDED = (0x8769, 0x8825, 0xA005)  # tags that lead to more directories: EXIF, GPS, interoperability
ORIENTATION = 0x0112
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
BYTES = (1, 2, 6, 7)  # types of tags that are read as they stand


def read(path: Path) -> bytes:
    """A file's bytes, `MOST_BYTES` at most. Raises `BadPicture`."""
    name = shown(path.name)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device may never end
            raise BadPicture(f"{name} is not a file.")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: no path at all, by its characters
        raise BadPicture(f"{name} can't be read ({getattr(error, 'strerror', None) or error}).") from None
    check_bytes(data)
    return data


def check_bytes(data: bytes) -> None:
    """Raises `BadPicture` for more than `MOST_BYTES`."""
    if len(data) > MOST_BYTES:
        raise BadPicture(f"A picture's file has at most {MOST_BYTES >> 20} MB; got more.")


def check_size(size: tuple[int, int], name: str) -> None:
    """Raises `BadPicture` for too many pixels, or none."""
    width, height = size
    if not 0 < width * height <= MOST_PIXELS or max(size) > MOST_SIDE:
        raise BadPicture(
            f"{name} has {width} x {height} pixels; expected at most {MOST_PIXELS // 10**6} million, "
            f"and {MOST_SIDE} a side."
        )


@contextmanager
def decoded(data: bytes, name: str) -> Iterator[tuple[Image.Image, int]]:
    """The first frame that a file holds, decoded, and its EXIF orientation, 1..8. Raises `BadPicture`.

    Whatever fails inside the block is the file's fault too.
    """
    check_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; what matters is raised
            slim, orientation = _headed(data)
            with Image.open(_Bounded(slim), formats=FORMATS) as image:
                check_size(image.size, name)  # before anything is decoded
                codecs = {tile[0] for tile in getattr(image, "tile", ())}
                if "bmp_rle" in codecs or (codecs & {"ppm", "ppm_plain"} and len(data) > MOST_IN_PYTHON):
                    raise BadPicture(f"{name} is of a rare kind that takes too long to be read.")
                image.load()
                yield image, orientation or _orientation(image.info.get("exif", b""))
    except BadPicture:
        raise
    except Exception as error:  # decoders raise nearly anything on hostile files
        raise BadPicture(
            f"{name} is no picture that can be read ({type(error).__name__}); expected "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        ) from None


class _Bounded(io.BytesIO):
    """Bytes that are read so many times, so long, and no more."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads, self._until = 0, time.monotonic() + MOST_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MOST_READS or time.monotonic() > self._until:
            raise ValueError("too many pieces")
        return super().read(size)


def _headed(data: bytes) -> tuple[bytes, int]:
    """A file with nothing in its header that a decoder could choke on, and its orientation; 0: not there."""
    if data[:2] == b"\xff\xd8":
        return _plain_jpeg(data)
    if data[:2] in (b"II", b"MM"):
        return _flat_tiff(data), 1  # its decoder turns it
    return data, 0


def _plain_jpeg(data: bytes) -> tuple[bytes, int]:
    """A JPEG without its metadata, which it may have megabytes of, and its orientation."""
    if data.count(b"\xff\xda") > MOST_SCANS:
        raise ValueError("too many scans")
    parts, at, orientation = [data[:2]], 2, 0
    for _ in range(MOST_READS):
        at = data.find(b"\xff", at)  # a decoder skips what is no marker
        marker = data[at + 1] if 0 <= at < len(data) - 4 else 0xDA
        if marker == 0xDA:  # the scan: the rest is the picture
            break
        if marker == 0xFF or marker in MARKS:
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        if marker == 0xE1 and not orientation:
            orientation = _orientation(data[at + 4 : end])
        if marker in KEPT:
            parts.append(data[at:end])
        at = end
    else:
        raise ValueError("too many segments")
    return b"".join([*parts, data[at:] if at > 0 else b""]), orientation or 1


def _flat_tiff(data: bytes) -> bytes:
    """A TIFF of one directory, with no more values than the file has bytes for."""
    flat, total, large = bytearray(data), 0, data[2:3] == b"\x2b"
    end = 0
    for at, tag, kind, count, _ in _tags(data):
        total += count * SIZES.get(kind, 1)
        if total > len(data) or (kind not in BYTES and count > MOST_VALUES):
            raise ValueError("more values than a TIFF has")
        if tag in FOLDED:
            flat[at + 2 : at + 4] = b"\0\0"  # a type that there is none of: the tag is passed over
        end = at + (20 if large else 12)
    flat[end : end + (8 if large else 4)] = bytes(min(8 if large else 4, len(flat) - end))  # no next one
    return bytes(flat)


def _orientation(exif: bytes) -> int:
    """1..8 as EXIF says it; 0 where it says nothing."""
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        for _, tag, kind, count, value in _tags(exif):
            if tag == ORIENTATION and kind == 3 and count == 1:
                said = struct.unpack(("<" if exif[:2] == b"II" else ">") + "H", value[:2])[0]
                return said if 1 <= said <= 8 else 0
    except (ValueError, struct.error):
        pass
    return 0


def _tags(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """A TIFF's first directory: (place, tag, type, count, value or where it lies). Raises `ValueError`."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        raise ValueError("no TIFF")
    large = data[2] == 43  # as the decoder tells BigTIFF
    start = struct.unpack_from(order + ("Q" if large else "L"), data, 8 if large else 4)[0]
    if start + 8 > len(data):
        raise ValueError("no directory")
    count = struct.unpack_from(order + ("Q" if large else "H"), data, start)[0]
    entry = struct.Struct(order + ("HHQ8s" if large else "HHL4s"))
    start += 8 if large else 2
    if count > MOST_READS:
        raise ValueError("too many tags")
    for at in range(start, min(start + count * entry.size, len(data) - entry.size + 1), entry.size):
        yield (at, *entry.unpack_from(data, at))
