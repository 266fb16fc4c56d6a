"""The bytes of a DICOM file's one frame: pixels, or a compressed stream without what is around it.

Tables of offsets are not used: there is one frame, and those in files are often wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from xray_files import kinds
from xray_files.bad_file import BadFile
from xray_files.element_stream import UNDEFINED
from xray_files.header import Header
from xray_files.picture_header import PictureHeader, pixels_of
from xray_files.streams import jpeg, jpeg_2000, rle

# One frame of the largest file, cut into pieces of 8 KB, has fewer.
_MOST_FRAGMENTS: Final = 10_000
# Of RLE, so many are followed here, which takes some hundredths of a second.
_MOST_RUNS: Final = 200_000


def frame(found: Header, header: PictureHeader) -> bytes | memoryview:
    """The native pixels, or the compressed stream from its begin to its end mark."""
    pixels = pixels_of(found, header)
    if not header.encapsulated:
        return memoryview(found.data)[pixels.start : pixels.start + header.native_bytes]
    fragments = list(_fragments(found.data, pixels.start))
    if not any(len(fragment) for fragment in fragments):
        raise BadFile("no_pixels")
    whole = fragments[0] if len(fragments) == 1 else b"".join(fragments)
    if header.transfer_syntax == kinds.RLE:
        rle.check(whole, header.rle_segments, (header.rows, header.columns), most_runs=_MOST_RUNS)
        return whole
    stream = jpeg_2000.codestream(whole)
    _check_size(stream, header)
    mark = bytes(stream[:4])
    if mark == jpeg_2000.MARK:
        return jpeg_2000.trimmed(stream)
    if mark[:3] == jpeg.MARK:
        return jpeg.trimmed(stream)
    raise BadFile("damaged")


def raw_parts(found: Header, header: PictureHeader) -> Iterator[bytes | memoryview]:
    """The pixels as they are in the file, in their pieces, whatever is behind their end."""
    pixels = pixels_of(found, header)
    if header.encapsulated:
        return _fragments(found.data, pixels.start)
    return iter([memoryview(found.data)[pixels.start : pixels.start + header.native_bytes]])


def _check_size(stream: bytes | memoryview, header: PictureHeader) -> None:
    """A compressed stream has a size of its own: another than the header's is refused."""
    size = jpeg_2000.size(stream)
    if size is None and bytes(stream[:3]) == jpeg.MARK:
        start = jpeg.frame(stream)
        if start is None:
            raise BadFile("truncated")
        size = start.size
    if size is not None and size != (header.rows, header.columns):
        raise BadFile("inconsistent")


def _fragments(data: bytes, at: int) -> Iterator[bytes | memoryview]:
    """The fragments that hold pixels (DICOM PS3.5 A.4), to the mark that ends them."""
    view = memoryview(data)
    for index in range(_MOST_FRAGMENTS):
        if at + 8 > len(data):
            raise BadFile("truncated")
        tag, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if tag == b"\xfe\xff\xdd\xe0":
            return
        if tag != b"\xfe\xff\x00\xe0":
            raise BadFile("damaged")
        if length == UNDEFINED or at + 8 + length > len(data):
            raise BadFile("truncated")
        if index:  # the first item is the table of offsets
            yield view[at + 8 : at + 8 + length]
        at += 8 + length
    raise BadFile("too_many_parts")
