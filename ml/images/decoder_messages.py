"""What the C libraries that decode JPEG and PNG print instead of failing.

Where bytes of a picture are missing, libjpeg and libpng fill it up with grey, shift what follows,
and only write a line to standard error. So that is read while a picture is decoded.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_STDERR: Final = 2
_MOST: Final = 65_536
# Other lines, such as those about colour profiles, are no damage.
_DAMAGE: Final = re.compile(
    rb"Corrupt JPEG|[Pp]remature end|Inconsistent progression|Invalid SOS|Bogus|"
    rb"[Nn]ot enough image data|IDAT|CRC error|bad adaptive filter"
)
_LIBRARIES: Final = re.compile(rb"JPEG|Adobe|libpng|SOS|progression")
_SURPLUS: Final = re.compile(rb"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_lock = threading.Lock()
_reading: int | None = None


class Messages:
    """The lines of one decoding, once it has ended."""

    def __init__(self) -> None:
        self.text = b""

    def is_damage(self, coded: bytes | memoryview) -> bool:
        """Whether a line says that something is missing or in the wrong place.

        coded: the stream up to its end mark. Bytes that only fill it up before that are no damage.
        """
        for line in self.text.splitlines():
            if not _DAMAGE.search(line):
                continue
            surplus = _SURPLUS.search(line)
            if surplus is None:
                return True
            number = int(surplus[1])
            if set(bytes(coded[-2 - number : -2])) - {0x00, 0xFF}:
                return True
        return False


def install() -> None:
    """Read standard error of this process for good, before it may open nothing any more.

    What it would print is dropped from then on.
    """
    global _reading
    _reading, writing = os.pipe()
    os.set_blocking(_reading, False)
    os.set_blocking(writing, False)
    os.dup2(writing, _STDERR)
    os.close(writing)


@contextmanager
def read() -> Iterator[Messages]:
    """Collect what is printed to standard error meanwhile; by one thread at a time."""
    messages = Messages()
    with _lock:
        if _reading is not None:
            _drain(_reading)
            yield messages
            messages.text = _drain(_reading)
            return
        sys.stderr.flush()
        before = os.dup(_STDERR)
        reading, writing = os.pipe()
        try:
            for end in (reading, writing):
                os.set_blocking(end, False)
            os.dup2(writing, _STDERR)
            yield messages
        finally:
            sys.stderr.flush()
            os.dup2(before, _STDERR)
            messages.text = _drain(reading)
            # Another thread may have written meanwhile.
            lines = messages.text.splitlines(keepends=True)
            rest = b"".join(line for line in lines if not _LIBRARIES.search(line))
            os.write(before, rest)
            for descriptor in (before, reading, writing):
                os.close(descriptor)


def _drain(reading: int) -> bytes:
    text = b""
    with suppress(BlockingIOError):
        while part := os.read(reading, _MOST):
            text += part
    return text
