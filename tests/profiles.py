"""Colour profiles for tests, made from their primaries."""

from __future__ import annotations

import struct

P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))  # in XYZ, for D50
WHITE = (0.9642, 1.0, 0.8249)
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(primaries: tuple[tuple[float, float, float], ...] = P3, space: bytes = b"RGB ") -> bytes:
    """A profile of three primaries, or a grey one, with sRGB's curve (ICC.1:2010)."""
    curve = b"para" + struct.pack(">IHH", 0, 3, 0) + b"".join(map(_fixed, SRGB_CURVE))
    tags = {b"desc": _text("test"), b"cprt": _text("none"), b"wtpt": _xyz(WHITE)}
    if space == b"RGB ":
        for letter, primary in zip(b"rgb", primaries, strict=True):
            tags |= {bytes([letter]) + b"XYZ": _xyz(primary), bytes([letter]) + b"TRC": curve}
    else:
        tags[b"kTRC"] = curve
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 128 + len(table) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x04200000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + b"".join(map(_fixed, WHITE))
    return header.ljust(128, b"\0") + table + body


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _text(text: str) -> bytes:
    letters = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(letters), 28) + letters
