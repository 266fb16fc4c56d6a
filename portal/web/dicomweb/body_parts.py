"""The parts of a body of several parts (RFC 2046), read one after the other.

Of a part that is larger than it may be nothing is kept. Boundaries are looked for as the bytes
come, so one part is in memory beside the body that the server holds. A body may consist of nothing
but what looks like boundaries: the search for them has an end.
"""

import time
from collections.abc import Iterator
from email.parser import BytesParser
from typing import IO, Final

from portal.dicom_network.parts import Part

_PIECE: Final = 2**16
_LONGEST_HEAD: Final = 2**14
_LONGEST_BOUNDARY: Final = 70
_END: Final = b"\r\n\r\n"
# What may follow a boundary: the end of its line, or that of the body.
_AFTER: Final = (b"\r", b" ", b"\t")


class NoParts(Exception):
    """The body does not begin with a boundary of this name, or the name is none."""


class _Spent(Exception):
    """The search has taken as much processor time as it may."""


def read(
    stream: IO[bytes], boundary: str, media_type: str, most: int, *, most_seconds: float
) -> Iterator[Part]:
    """The parts of a body; NoParts where there is no first one.

    Of each part at most `most` bytes are kept. `refusal`: `part_type` where it names another media
    type, `too_large`, or `truncated` where the body ends within it. Once finding the parts has
    taken `most_seconds` of this thread's processor time, the last one has `not_now`: it stands for
    all that follow.
    """
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii():
        raise NoParts
    source, mark = _Source(stream, most_seconds), b"\r\n--" + boundary.encode()
    try:
        is_ended = source.take(mark, 0, is_boundary=True).is_ended
    except _Spent:
        return iter([Part(b"", 0, "not_now")])
    if not is_ended:
        raise NoParts
    source.pause()
    return _found(source, mark, media_type, most)


def _found(source: "_Source", mark: bytes, media_type: str, most: int) -> Iterator[Part]:
    """The parts, where their taker's own work does not count as search."""
    parts = _parts(source, mark, media_type, most)
    while True:
        source.go_on()
        try:
            part = next(parts, None)
        except _Spent:
            yield Part(b"", 0, "not_now")
            return
        source.pause()
        if part is None:
            return
        yield part


def _parts(source: "_Source", mark: bytes, media_type: str, most: int) -> Iterator[Part]:
    while not source.begins_with(b"--"):
        source.take(b"\r\n", 0)  # what is left of the boundary's line
        source.put_back(b"\r\n")  # there may be no line of a header at all
        head = source.take(_END, _LONGEST_HEAD)
        if not head.is_ended:
            yield Part(b"", head.size, "truncated")
            return
        source.put_back(b"\r\n")  # and no byte of content
        content = source.take(mark, most + 2, is_boundary=True)
        size = max(0, content.size - 2)
        if head.size > _LONGEST_HEAD or not _is_of(head.data, media_type):
            yield Part(b"", size, "part_type")
        elif size > most:
            yield Part(b"", size, "too_large")
        elif not content.is_ended:
            yield Part(b"", size, "truncated")
        else:
            yield Part(content.data[2:], size)
        if not content.is_ended:
            return


def _is_of(head: bytes, media_type: str) -> bool:
    """Whether a part's header names this media type, or none, as that of the body then holds."""
    named = BytesParser().parsebytes(head.strip(b"\r\n") + _END)
    return "Content-Type" not in named or named.get_content_type() == media_type


class _Taken:
    """What was before a mark, as far as it was kept; and whether the mark came."""

    def __init__(self, data: bytes, size: int, *, is_ended: bool) -> None:
        self.data, self.size, self.is_ended = data, size, is_ended


class _Source:
    """A stream with what was read of it ahead. A boundary may be its first bytes."""

    def __init__(self, stream: IO[bytes], most_seconds: float) -> None:
        self._stream = stream
        self._ahead = bytearray(b"\r\n")
        self._left, self._began = most_seconds, time.thread_time()

    def pause(self) -> None:
        """What follows is not the search's work."""
        self._left -= time.thread_time() - self._began

    def go_on(self) -> None:
        """It is again."""
        self._began = time.thread_time()

    def begins_with(self, text: bytes) -> bool:
        """Whether this comes next; also True at the end of the stream."""
        while len(self._ahead) < len(text) and self._fill():
            pass
        return not self._ahead or self._ahead.startswith(text)

    def put_back(self, text: bytes) -> None:
        """Have this come next."""
        self._ahead[:0] = text

    def take(self, mark: bytes, most: int, *, is_boundary: bool = False) -> _Taken:
        """What is before the next mark, which is passed over; nothing of more than `most` bytes."""
        kept, size, begin = bytearray(), 0, 0
        while True:
            at = self._ahead.find(mark, begin)
            if at >= 0 and is_boundary and not self._ends_a_line(at + len(mark)):
                begin = at + 1
                continue
            whole = len(self._ahead) - len(mark) + 1 if at < 0 else at
            if whole > 0:
                size += whole
                if size <= most:
                    kept += self._ahead[:whole]
                del self._ahead[:whole]
                begin = max(0, begin - whole)
            if at >= 0:
                del self._ahead[: len(mark)]
                return _Taken(bytes(kept) if size <= most else b"", size, is_ended=True)
            if not self._fill():
                size += len(self._ahead)
                self._ahead.clear()
                return _Taken(b"", size, is_ended=False)

    def _ends_a_line(self, at: int) -> bool:
        while len(self._ahead) < at + 2 and self._fill():
            pass
        after = bytes(self._ahead[at : at + 2])
        return after in (b"", b"--") or after[:1] in _AFTER

    def _fill(self) -> bool:
        if time.thread_time() - self._began > self._left:
            raise _Spent
        piece = self._stream.read(_PIECE)
        self._ahead += piece
        return bool(piece)
