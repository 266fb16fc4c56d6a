"""A sealed file written and read as a stream: a header in the clear, then sealed chunks.

Nothing is handed on before it was authenticated. Errors give the reason to a person.
"""

import base64
import io
import json
import secrets
from typing import Final, Protocol

from portal.vault import ChunkCipher, NotReadable, key_mark

_FORMAT: Final = "pleura-backup-1"
_CHUNK: Final = 1024 * 1024
_TAG: Final = 16
_HEADER_MOST: Final = 1024


class UnusableBackup(Exception):
    """A backup that cannot be opened or restored; the text gives the reason to a person."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...


class Sealer(io.RawIOBase):
    """Seals what is written to it; `finish` writes the last chunk."""

    def __init__(self, target: _Writable, key_text: str) -> None:
        key, salt = base64.b64decode(key_text), secrets.token_bytes(16)
        fields = {
            "format": _FORMAT,
            "salt": salt.hex(),
            "chunk": _CHUNK,
            "key": key_mark(key, salt),
        }
        header = json.dumps(fields, sort_keys=True).encode() + b"\n"
        self._target, self._waiting = target, bytearray()
        self._cipher = ChunkCipher(key, salt, header)
        self._target.write(header)

    def writable(self) -> bool:
        """Always true."""
        return True

    def write(self, data: bytes, /) -> int:  # type: ignore[override] # bytes are all that comes
        """Take some more."""
        self._waiting += data
        while len(self._waiting) > _CHUNK:  # the last chunk is never empty, and marked
            self._target.write(self._cipher.seal(bytes(self._waiting[:_CHUNK]), last=False))
            del self._waiting[:_CHUNK]
        return len(data)

    def finish(self) -> None:
        """Seal the rest and mark the end."""
        self._target.write(self._cipher.seal(bytes(self._waiting), last=True))
        self._waiting.clear()


class Opener(io.RawIOBase):
    """Opens what a Sealer wrote, chunk by chunk; raises UnusableBackup."""

    def __init__(self, source: _Readable, key_text: str) -> None:
        header = source.readline(_HEADER_MOST)
        try:
            fields = json.loads(header)
            salt, chunk = bytes.fromhex(fields["salt"]), int(fields["chunk"])
            known = fields["format"] == _FORMAT and chunk == _CHUNK
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise UnusableBackup("This is not a backup of Pleura, or its beginning is damaged.")
        key = base64.b64decode(key_text)
        if fields["key"] != key_mark(key, salt):
            raise UnusableBackup(
                "The backup was sealed with another key (or its beginning is damaged)."
            )
        self._source = source
        self._cipher = ChunkCipher(key, salt, header)
        self._next = source.read(_CHUNK + _TAG)
        self._opened = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """Always true."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes; fewer than asked for only at the end."""
        parts, wanted = list[bytes](), size
        while wanted != 0:
            if not self._opened:
                if self._ended:
                    break
                self._open_next()
                continue
            part = self._opened[:wanted] if wanted > 0 else self._opened
            self._opened = self._opened[len(part) :]
            parts.append(bytes(part))
            wanted -= len(part) if wanted > 0 else 0
        return b"".join(parts)

    def drain(self) -> None:
        """Read to the end, so that all of it was authenticated."""
        while self.read(_CHUNK):
            pass

    def _open_next(self) -> None:
        sealed, self._next = self._next, self._source.read(_CHUNK + _TAG)
        last = not self._next
        try:
            self._opened = memoryview(self._cipher.open_(sealed, last=last))
        except NotReadable:
            raise UnusableBackup(self._why(sealed, last)) from None
        self._ended = last

    def _why(self, sealed: bytes, last: bool) -> str:
        if last:
            try:
                self._cipher.open_(sealed, last=False)
            except NotReadable:
                return "The backup is damaged or cut off at its end."
            return "The backup is cut off: its end is missing."
        return "The backup is damaged: a part of it is not as it was written."
