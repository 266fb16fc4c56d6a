"""What the portal and its header processes share: messages over a socket, and the limits."""

import json
import re
import socket
import time
from typing import Any, Final

CPU_SECONDS: Final = 0.4
"""Processor time for one file, and as much again for each 64 MiB of it."""
MEMORY_BYTES: Final = 48 * 2**20
"""What reading one header may take beyond the loaded modules and the file itself."""
_LENGTH_BYTES: Final = 4
_LONGEST: Final = 2**20
_STEP: Final = 2**20
_MOST_SECONDS: Final = 1e6
_LONGEST_VALUE: Final = 100
_MOST_VALUES: Final = 10
_CODE: Final = re.compile(r"\w{1,100}", re.ASCII)


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    """Send one message; OSError where the other side is gone."""
    encoded = json.dumps(message).encode()
    channel.sendall(len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded)


def receive(channel: socket.socket, ends: float | None = None) -> dict[str, Any]:
    """Receive one message; EOFError where the other side ended or sends what is no message.

    Neither are numbers that are none, or texts that no encoding can write. `ends`: see
    `read_bytes`.
    """
    length = int.from_bytes(read_bytes(channel, _LENGTH_BYTES, ends), "big")
    if length > _LONGEST:
        raise EOFError
    try:
        message = json.loads(read_bytes(channel, length, ends))
        json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise EOFError from None
    if not isinstance(message, dict):
        raise EOFError
    return message


def check_answer(answer: dict[str, Any], most_bytes: int) -> int:
    """How many bytes follow an answer; EOFError where what each answer has is not as it must be.

    What is read of a file may have taken over the process that reads it.
    """
    seconds, size = answer.get("seconds"), answer.get("bytes")
    if not (type(seconds) is float and 0 <= seconds <= _MOST_SECONDS):
        raise EOFError
    if not (type(size) is int and 0 <= size <= most_bytes):
        raise EOFError
    if not _is_refusal(answer.get("refused", ["", {}])):
        raise EOFError
    failed = answer.get("failed", "no")  # it goes into the log, where no text of a file belongs
    if not (isinstance(failed, str) and _CODE.fullmatch(failed)):
        raise EOFError
    return size


def _is_refusal(refused: Any) -> bool:
    """Whether it is a code, and the values of its sentence by their names."""
    if not (isinstance(refused, list) and len(refused) == 2):
        return False
    code, values = refused
    if not (isinstance(code, str) and isinstance(values, dict) and len(values) <= _MOST_VALUES):
        return False
    texts = [code, *values, *(one for one in values.values() if type(one) is not int)]
    return all(isinstance(text, str) and len(text) <= _LONGEST_VALUE for text in texts)


def read_bytes(channel: socket.socket, size: int, ends: float | None = None) -> bytes:
    """So many bytes of the channel; EOFError where the other side ended before.

    `ends`: by the monotonic clock, after which TimeoutError is raised, however little comes at a
    time.
    """
    data = bytearray()
    while len(data) < size:
        if ends is not None:
            channel.settimeout(left(ends))
        part = channel.recv(min(size - len(data), _STEP))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def left(ends: float) -> float:
    """How many seconds are left; TimeoutError where none are."""
    seconds = ends - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
