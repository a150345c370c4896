"""Hostile picture files: their bytes and headers are bounded before a decoder reads them.

A decoder believes what a file says of its number of tags, scans, blocks or frames, so that a few bytes can
cost minutes or gigabytes.
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
from typing import IO

from PIL import Image

from ..errors import BadPicture, shown

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "HEIF", "BMP", "GIF", "TIFF", "PPM")
MAX_BYTES = 64 << 20
MAX_PIXELS = 25_000_000
MAX_JPEG_PIXELS = 110_000_000  # of a phone's; it is decoded at a half or a quarter of its size
MAX_PROFILE_BYTES = 1 << 20  # of a colour profile; larger ones are not read
MAX_SIDE_PIXELS = (
    65_535  # JPEG's limit; a resampling filter's kernel grows with the side, not with the pixels
)
MAX_SLOW_BYTES = 1 << 20  # of a file whose decoder is written in Python
MAX_SECONDS = 8.0  # of decoding: no read succeeds after that
MAX_READS = 100_000  # by a decoder that walks a file piece by piece
MAX_SCANS = 32  # of a progressive JPEG, each as slow as a picture; encoders make about ten
MAX_TAG_VALUES = 100_000  # of a TIFF's tag: one for each strip
# JPEG markers: of segments that decoding needs (tables, JFIF, Adobe), and of those that have no length.
JPEG_SEGMENTS = {*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xE0, 0xEE} - {0xC8}
JPEG_BARE_MARKERS = (0x00, 0x01, *range(0xD0, 0xDA))
JPEG_SCAN, JPEG_EXIF, JPEG_PROFILE = 0xDA, 0xE1, 0xE2
# TIFF: tags that lead to more directories (EXIF, GPS, interoperability), and bytes a value by its type.
TIFF_DIRECTORY_TAGS = (0x8769, 0x8825, 0xA005)
TIFF_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
TIFF_BYTE_TYPES = (1, 2, 6, 7)  # read as they stand, whatever their number
ORIENTATION = 0x0112  # an EXIF tag
UPRIGHT = {  # what turns a picture of each orientation upright; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_file(path: Path) -> bytes:
    """A file's bytes, `MAX_BYTES` at most. Raises `BadPicture`."""
    name = shown(path.name)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device may never end
            raise BadPicture(f"{name} is not a file.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: no path at all, by its characters
        raise BadPicture(f"{name} can't be read ({getattr(error, 'strerror', None) or error}).") from None
    check_bytes(data)
    return data


def read_stream(file: IO[bytes]) -> bytes:
    """The bytes that are left in an open file, `MAX_BYTES` at most. Raises `BadPicture`."""
    try:
        data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BadPicture(f"The open file can't be read ({error}).") from None
    if not isinstance(data, bytes):
        raise BadPicture(f"A picture's file is open for bytes; got {type(data).__name__} from it.")
    check_bytes(data)
    return data


def check_bytes(data: bytes) -> None:
    """Raises `BadPicture` for more than `MAX_BYTES`."""
    if len(data) > MAX_BYTES:
        raise BadPicture(f"A picture's file has at most {MAX_BYTES >> 20} MB; got more.")


def check_size(size: tuple[int, int], name: str) -> None:
    """Raises `BadPicture` for too many pixels, or none."""
    width, height = size
    if not 0 < width * height <= MAX_PIXELS or max(size) > MAX_SIDE_PIXELS:
        raise BadPicture(
            f"{name} has {width} x {height} pixels; expected at most {MAX_PIXELS // 10**6} million, "
            f"and {MAX_SIDE_PIXELS} a side."
        )


@contextmanager
def decode_picture(data: bytes, name: str) -> Iterator[tuple[Image.Image, int]]:
    """The first frame of a file, decoded, and its EXIF orientation, 1..8. `name`: for messages.

    Raises `BadPicture`, for an error inside the `with` block too: PIL decodes some parts only when asked.
    """
    check_bytes(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata is no error
            safe, orientation = _sanitize(data)
            formats = [name for name in FORMATS if name != "HEIF" or _reads_heif(data)]
            with Image.open(_BoundedReader(safe), formats=formats) as image:
                if image.format == "JPEG" and MAX_PIXELS < image.width * image.height <= MAX_JPEG_PIXELS:
                    part = 2 if image.width * image.height <= 4 * MAX_PIXELS else 4
                    image.draft(None, (image.width // part, image.height // part))
                check_size(image.size, name)  # before anything is decoded
                codecs = {tile[0] for tile in getattr(image, "tile", ())}
                if "bmp_rle" in codecs or (codecs & {"ppm", "ppm_plain"} and len(data) > MAX_SLOW_BYTES):
                    raise BadPicture(f"{name} is of a rare kind that takes too long to be read.")
                image.load()
                yield image, orientation or _orientation(image.info.get("exif") or b"")
    except BadPicture:
        raise
    except Exception as error:  # decoders raise nearly anything on hostile files
        raise BadPicture(
            f"{name} is no picture that can be read ({type(error).__name__}); expected "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}."
        ) from None


def _reads_heif(data: bytes) -> bool:
    """Whether these may be a phone's HEIC, which pillow-heif reads where it is installed, as by the app."""
    if data[4:8] != b"ftyp":
        return False
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False)
    return True


class _BoundedReader(io.BytesIO):
    """Bytes with a limit on the number of reads and on the time of the last one."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads, self._deadline = 0, time.monotonic() + MAX_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MAX_READS or time.monotonic() > self._deadline:
            raise ValueError("too many pieces")
        return super().read(size)


def _sanitize(data: bytes) -> tuple[bytes, int]:
    """The file without what can make its decoding slow, and its orientation; 0: unknown."""
    if data[:2] == b"\xff\xd8":
        return _sanitize_jpeg(data)
    if data[:2] in (b"II", b"MM"):
        return _sanitize_tiff(data), 1  # PIL turns a TIFF upright itself
    return data, 0


def _sanitize_jpeg(data: bytes) -> tuple[bytes, int]:
    """A JPEG with no more of its metadata than a colour profile, and its orientation."""
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise ValueError("too many scans")
    parts, at, orientation, profile_bytes = [data[:2]], 2, 0, 0
    for _ in range(MAX_READS):
        at = data.find(b"\xff", at)  # a decoder skips bytes that are no marker
        marker = data[at + 1] if 0 <= at < len(data) - 4 else JPEG_SCAN
        if marker == JPEG_SCAN:  # the rest is the picture
            break
        if marker == 0xFF or marker in JPEG_BARE_MARKERS:
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        if marker == JPEG_EXIF and not orientation:
            orientation = _orientation(data[at + 4 : end])
        if marker == JPEG_PROFILE and data.startswith(b"ICC_PROFILE\0", at + 4):
            profile_bytes += end - at
        if marker in JPEG_SEGMENTS or (marker == JPEG_PROFILE and 0 < profile_bytes <= MAX_PROFILE_BYTES):
            parts.append(data[at:end])
        at = end
    else:
        raise ValueError("too many segments")
    return b"".join([*parts, data[at:] if at > 0 else b""]), orientation or 1


def _sanitize_tiff(data: bytes) -> bytes:
    """A TIFF of one directory, with no more values than the file has bytes for."""
    safe, total, large = bytearray(data), 0, data[2:3] == b"\x2b"
    end = 0
    for at, tag, kind, count, _ in _tags(data):
        total += count * TIFF_VALUE_BYTES.get(kind, 1)
        if total > len(data) or (kind not in TIFF_BYTE_TYPES and count > MAX_TAG_VALUES):
            raise ValueError("more values than a TIFF has")
        if tag in TIFF_DIRECTORY_TAGS:
            safe[at + 2 : at + 4] = b"\0\0"  # an invalid type: decoders skip the tag
        end = at + (20 if large else 12)
    offset_bytes = 8 if large else 4  # of the next directory's offset: 0 is none
    safe[end : end + offset_bytes] = bytes(min(offset_bytes, len(safe) - end))
    return bytes(safe)


def _orientation(exif: bytes) -> int:
    """EXIF's orientation, 1..8; 0 if there is none."""
    exif = exif.removeprefix(b"Exif\0\0")
    try:
        for _, tag, kind, count, value in _tags(exif):
            if tag == ORIENTATION and kind == 3 and count == 1:
                (orientation,) = struct.unpack(("<" if exif[:2] == b"II" else ">") + "H", value[:2])
                return int(orientation) if 1 <= orientation <= 8 else 0
    except (ValueError, struct.error):
        pass
    return 0


def _tags(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """A TIFF's first directory: (offset of the entry, tag, type, count, value or its offset) of each tag.

    Raises `ValueError`.
    """
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
    if count > MAX_READS:
        raise ValueError("too many tags")
    for at in range(start, min(start + count * entry.size, len(data) - entry.size + 1), entry.size):
        yield (at, *entry.unpack_from(data, at))
