"""Headers of PNG and JPEG files: size, depth and whether the file is whole. No pixel is decoded."""

from typing import Any, Final

from portal.formats.refusals import Limits, check_size, refuse, refusing
from xray_files.streams import jpeg as jpeg_stream
from xray_files.streams import png as png_chunks

# Bit depths that the PNG standard allows for each colour type (ISO/IEC 15948, table 11.1).
_PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
# The kinds of frames that decoders of files know.
_BASELINE_TO_PROGRESSIVE: Final = frozenset({0xC0, 0xC1, 0xC2})


@refusing
def png(data: bytes, limits: Limits) -> dict[str, Any]:
    """Walk a PNG's chunks to its end, checking each one's CRC."""
    header, has_pixels = b"", False
    for kind, at, end in png_chunks.chunks(data):
        body = png_chunks.whole(data, at, end)
        if not header:
            if kind != b"IHDR" or len(body) != 4 + 13:
                raise refuse("damaged")
            header = bytes(body[4:])
            check_size(*_png_size(header), limits)
        elif kind == b"acTL":  # an animation
            raise refuse("not_single_frame")
        elif kind == b"IDAT":
            has_pixels = True
    if not has_pixels:
        raise refuse("no_pixels")
    rows, columns = _png_size(header)
    depth, colour = header[8], header[9]
    if depth not in _PNG_DEPTHS.get(colour, ()):
        raise refuse("unsupported_photometric")
    return {"rows": rows, "columns": columns, "bits": depth, "colour": colour not in (0, 4)}


def _png_size(header: bytes) -> tuple[int, int]:
    return int.from_bytes(header[4:8], "big"), int.from_bytes(header[:4], "big")


@refusing
def jpeg(data: bytes, limits: Limits) -> dict[str, Any]:
    """Walk a JPEG's markers to its end; what is behind it, such as padding, is passed over."""
    frame = jpeg_stream.frame(data)
    if frame is None:
        raise refuse("truncated")
    check_size(frame.rows, frame.columns, limits)
    if frame.marker not in _BASELINE_TO_PROGRESSIVE or frame.bits != 8:
        raise refuse("unsupported_photometric")
    if frame.samples not in (1, 3, 4):
        raise refuse("unsupported_photometric")
    if jpeg_stream.end(data, frame.at) is None:
        raise refuse("truncated")
    return {
        "rows": frame.rows,
        "columns": frame.columns,
        "bits": frame.bits,
        "colour": frame.samples != 1,
    }
