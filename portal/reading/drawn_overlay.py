"""The X-ray with the model's outline as a PNG, drawn on request.

Hardly anybody does, since the pages draw the outline themselves; so no worker draws it for every
picture. It is made from what is stored: the pixels, which are plain numbers, and the mask, whose
lines lie unfiltered in its PNG. Nothing is decoded but its deflate stream.

It takes 2 s for 16 megapixels, so a process of its own does it (`portal.formats.limited_work`):
``python -m portal.reading.drawn_overlay``. Of a picture of more than 16 megapixels, which is more
than a chest film has, only each second or third row and column is drawn.

Workers still store one where more belongs to it than pixels and mask: a shutter, a mark of the
picture's age, or pixels that are not square in the file.
"""

import re
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final

if __name__ == "__main__":  # as in `portal.formats.header_process`
    sys.modules |= dict.fromkeys(  # type: ignore[arg-type]
        ("numpy", "PIL", "gdcm", "_gdcm", "pylibjpeg", "requests", "tqdm")
    )

from portal.formats import header_process
from xray_files.bad_file import BadFile
from xray_files.streams import png

# Red, green and blue, as in `ml.images.overlay`: the model's colour, and the dark line beside it.
_AI_COLOUR: Final = (45, 212, 199)
_HALO: Final = (8, 16, 24)
_FILL: Final = 0.25
_TINTS: Final = tuple(
    bytes(round((1 - _FILL) * grey + _FILL * part) for grey in range(256)) for part in _AI_COLOUR
)
# The outline is this share of the long edge wide: 2 px at 1024.
_LINE_SHARE: Final = 2 / 1024
_GREYS: Final = 0x10000
_DIGITS: Final = b"0" + b"1" * 255
_ONES: Final = re.compile("1+")
_GREY_8_BITS: Final = (8, 0, 0, 0, 0)  # depth, colour, compression, filter, interlace
_RGB_8_BITS: Final = (8, 2, 0, 0, 0)
MOST_PIXELS: Final = 16_000_000
"""A chest film of 4280 × 3520 pixels has 15 million."""
SECONDS: Final = 12.0
"""Processor time for one overlay, of whatever picture."""
# For each pixel of the picture and each that is drawn: the mask's lines, the greys, the PNG.
_BYTES_PER_PIXEL: Final = 4
_BYTES_PER_DRAWN: Final = 14
_SOME_MEMORY: Final = 32 * 2**20


def main() -> None:
    """Draw one overlay after the other until the portal closes the socket."""
    header_process.yield_to_others()
    header_process.serve(_answer, _budget)


def _budget(_asked: dict[str, Any], size: int) -> tuple[float, int]:
    pixels = size // 2
    drawn = min(pixels, MOST_PIXELS)
    return SECONDS, _SOME_MEMORY + _BYTES_PER_PIXEL * pixels + _BYTES_PER_DRAWN * drawn


def _answer(asked: dict[str, Any], data: bytes) -> header_process.Answer:
    at = asked["mask"]
    window = (asked["centre"], asked["width"])
    return {}, draw(data[:at], asked["rows"], asked["columns"], window, data[at:])


def draw(
    pixels: bytes, rows: int, columns: int, window: tuple[float, float], mask_png: bytes
) -> bytes:
    """The picture through a window, with a mask filled and outlined, as a PNG of its size.

    pixels: little-endian uint16, row after row; window: centre and width in their values; mask_png:
    as `ml.images.overlay.mask_png` writes it. BadFile where they do not fit each other.
    """
    if len(pixels) != rows * columns * 2:
        raise BadFile("damaged")
    step = 1
    while -(-rows // step) * -(-columns // step) > MOST_PIXELS:
        step += 1
    mask = _bits(mask_png, rows, columns, step)
    if step > 1:
        words = memoryview(pixels).cast("H")
        lines = (words[at : at + columns : step] for at in range(0, len(words), step * columns))
        pixels = b"".join(line.tobytes() for line in lines)
        rows, columns = -(-rows // step), -(-columns // step)
    grey = _through(window, pixels)
    width = max(1, round(max(rows, columns) * _LINE_SHARE))
    edge = _edge(mask)
    line = _grown(edge, columns, width // 2)
    halo = _grown(line, columns, max(1, width // 2))
    deflate = zlib.compressobj(1)
    packed = []
    for row in range(rows):
        planes = [bytearray(grey[row * columns : (row + 1) * columns]) for _ in range(3)]
        for start, end in _runs(mask[row], columns):
            for plane, tint in zip(planes, _TINTS, strict=True):
                plane[start:end] = plane[start:end].translate(tint)
        for bits, colour in ((halo[row], _HALO), (line[row], _AI_COLOUR)):
            for start, end in _runs(bits, columns):
                for plane, part in zip(planes, colour, strict=True):
                    plane[start:end] = bytes((part,)) * (end - start)
        scanline = bytearray(1 + 3 * columns)  # of filter 0
        for number, plane in enumerate(planes, 1):
            scanline[number::3] = plane
        packed.append(deflate.compress(scanline))
    packed.append(deflate.flush())
    header = struct.pack(">II5B", columns, rows, *_RGB_8_BITS)
    parts = ((b"IHDR", header), (b"IDAT", b"".join(packed)), (b"IEND", b""))
    return png.MARK + b"".join(_chunk(kind, body) for kind, body in parts)


def _through(window: tuple[float, float], pixels: bytes) -> bytes:
    """The pixels in 8 bits: black at centre - width / 2, white at centre + width / 2."""
    centre, width = window
    low, width = centre - width / 2, max(width, 1e-6)
    first, last = (min(max(int(end), 0), _GREYS) for end in (low, low + width + 1))
    ramp = (min(max(round((value - low) * 255 / width), 0), 255) for value in range(first, last))
    table = bytes(first) + bytes(ramp) + b"\xff" * (_GREYS - last)
    if pixels.count(0) * 2 >= len(pixels) and not any(memoryview(pixels)[1::2]):
        return pixels[::2].translate(table[:256])
    values = array("H", pixels)
    if sys.byteorder == "big":
        values.byteswap()
    return bytes(map(table.__getitem__, values))


def _bits(mask_png: bytes, rows: int, columns: int, step: int) -> list[int]:
    """The mask's rows as numbers of binary digits, the first pixel's the highest.

    Of every `step`-th row, every `step`-th pixel.
    """
    try:
        chunks = [(kind, mask_png[at + 8 : end - 4]) for kind, at, end in png.chunks(mask_png)]
    except BadFile:
        raise BadFile("damaged") from None
    header = struct.pack(">II5B", columns, rows, *_GREY_8_BITS)
    if chunks[0] != (b"IHDR", header):  # another form than workers write
        raise BadFile("damaged")
    stride = columns + 1
    try:
        stream = b"".join(body for kind, body in chunks if kind == b"IDAT")
        lines = zlib.decompressobj().decompress(stream, rows * stride)
    except zlib.error:
        raise BadFile("damaged") from None
    if len(lines) != rows * stride or any(lines[::stride]):
        raise BadFile("damaged")
    if lines.count(0) == len(lines):
        return [0] * -(-rows // step)
    digits = lines.translate(_DIGITS)
    begins = range(0, len(digits), step * stride)
    return [int(digits[at + 1 : at + stride : step], 2) for at in begins]


def _edge(mask: Sequence[int]) -> list[int]:
    """The pixels of a mask that have one outside of it beside, above or below."""
    above, below = [0, *mask[:-1]], [*mask[1:], 0]
    return [
        row & ~((row << 1) & (row >> 1) & up & down)
        for row, up, down in zip(mask, above, below, strict=True)
    ]


def _grown(bits: Sequence[int], columns: int, steps: int) -> list[int]:
    """The pixels at most so many steps away; nearly round, by a cross and a square in turn."""
    full = (1 << columns) - 1
    grown = list(bits)
    for step in range(steps):
        wide = [(row | row << 1 | row >> 1) & full for row in grown]
        beside = wide if step % 2 else grown
        above, below = [0, *beside[:-1]], [*beside[1:], 0]
        grown = [a | b | c for a, b, c in zip(wide, above, below, strict=True)]
    return grown


def _runs(bits: int, columns: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of ones."""
    if bits:
        for found in _ONES.finditer(f"{bits:0{columns}b}"):
            yield found.span()


def _chunk(kind: bytes, body: bytes) -> bytes:
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


if __name__ == "__main__":
    main()
