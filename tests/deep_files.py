"""PNG files of 16 bits a channel, written to the letter of the standard; Pillow cannot."""

import struct
import zlib

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
COLOUR_TYPES = {1: 0, 3: 2, 2: 4, 4: 6}  # by the number of channels: grey, RGB, grey and alpha, RGB and alpha


def deep_png(values, *, is_interlaced=False, chunks=()):
    """The file of (H, W, C) values; `chunks` are further (name, content) before the pixels."""
    height, width, channels = values.shape
    stored = values.astype(">u2")
    passes = [stored[y::dy, x::dx] for x, y, dx, dy in ADAM7] if is_interlaced else [stored]
    rows = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, is_interlaced)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


def exif_chunk(orientation):
    """The eXIf chunk of an orientation."""
    return b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + bytes(6)
