"""Answers of several parts (multipart/related, RFC 2387), one part in memory at a time."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from flask import Response

from portal.web.event_stream import EventStream

# What is handed to the connection at a time, which then has its seconds for it.
_PIECE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its media type with parameters, where it lies, and its bytes."""

    media_type: str
    data: bytes = field(repr=False)
    location: str = field(default="", repr=False)


def whole(parts: Iterable[Part], kind: str) -> Response:
    """An answer that is in memory as a whole; `kind` is the media type of its parts."""
    boundary = _boundary()
    body = b"".join(_pieces(parts, boundary))
    return Response(body, content_type=_content_type(kind, boundary))


def streamed(parts: Iterable[Part], kind: str, largest: int) -> Response:
    """An answer of parts that are made one after the other, as they are taken. `largest`: bytes of
    the largest one, which the server counts for as long as the answer waits for its reader.

    Where making one fails, the answer ends without its last boundary: its reader knows then.
    """
    boundary = _boundary()

    async def pieces() -> AsyncGenerator[bytes, None]:
        made = iter(_pieces(parts, boundary))
        while (piece := await asyncio.to_thread(next, made, None)) is not None:
            yield piece

    body = EventStream(pieces, largest)
    return Response(body, content_type=_content_type(kind, boundary), direct_passthrough=True)


def _boundary() -> str:
    return f"pleura-{secrets.token_hex(16)}"


def _content_type(kind: str, boundary: str) -> str:
    return f'multipart/related; type="{kind}"; boundary={boundary}'


def _pieces(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    for part in parts:
        lines = [f"--{boundary}", f"Content-Type: {part.media_type}"]
        if part.location:
            lines.append(f"Content-Location: {part.location}")
        lines += [f"Content-Length: {len(part.data)}", "", ""]
        yield "\r\n".join(lines).encode()
        for begin in range(0, len(part.data), _PIECE):
            yield part.data[begin : begin + _PIECE]
        yield b"\r\n"
        del part  # or it would be there while the next is made
    yield f"--{boundary}--\r\n".encode()
