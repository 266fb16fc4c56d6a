"""The decoder process: untrusted bytes in, canonical pixels out, under hard limits.

``python -m worker.render.decoder_process FD MEMORY_BYTES CPU_SECONDS`` serves its parent over a
socket pair. It imports the readers once and then forks for every file, so that each file is decoded
in a process of its own that has no token, can write no file, and may be killed by its limits or
crash without harm to other files. It ends when its parent's end of the socket is closed.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from typing import Any

import cv2

from ml.images import reader
from worker.contract.error_codes import ErrorCode
from worker.framing import receive, send

FAILED, LIMIT = ErrorCode.DECODE_FAILED, ErrorCode.DECODE_LIMIT
# A process that reaches a limit is ended by one of these; every other signal is a crash.
LIMIT_SIGNALS = (signal.SIGXCPU, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Decode one file after the other until the parent closes the socket."""
    descriptor, memory_bytes, cpu_seconds = (int(argument) for argument in arguments)
    # Only this process's main thread survives a fork: no library may have started others.
    cv2.setNumThreads(0)
    with socket.socket(fileno=descriptor) as channel:
        while True:
            try:
                _, parts = receive(channel)
            except EOFError:
                return
            _serve(channel, parts[0], memory_bytes, cpu_seconds)


def _serve(channel: socket.socket, data: bytes, memory_bytes: int, cpu_seconds: int) -> None:
    parent_end, child_end = socket.socketpair()
    child = os.fork()
    if child == 0:
        parent_end.close()
        channel.close()
        try:
            _limit(memory_bytes, cpu_seconds)
            send(child_end, *_decode(data))
        finally:
            os._exit(0)
    child_end.close()
    head: dict[str, Any]
    with parent_end:
        try:
            head, parts = receive(parent_end)
        except EOFError:
            head, parts = {}, []
    _, status = os.waitpid(child, 0)
    if not head:
        limited = os.WIFSIGNALED(status) and os.WTERMSIG(status) in LIMIT_SIGNALS
        head = {"error": LIMIT if limited else FAILED}
    send(channel, head, parts)


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    """Limit what decoding may use beyond what the imported libraries use already."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    _lower(resource.RLIMIT_AS, used + memory_bytes)
    _lower(resource.RLIMIT_CPU, cpu_seconds)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _decode(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The answer to one file: its facts and three pictures, or an error code."""
    try:
        picture = reader.read(data)
        parts = [picture.canonical(), reader.preview(picture), reader.thumb(picture)]
        return {"facts": picture.facts()}, parts
    except reader.Unreadable as error:
        return {"error": error.code}, []
    except MemoryError:
        return {"error": LIMIT}, []
    except cv2.error as error:
        return {"error": LIMIT if error.code == cv2.Error.StsNoMem else FAILED}, []
    except Exception:
        # The file is at fault; the exception's text may hold patient data.
        return {"error": FAILED}, []


if __name__ == "__main__":
    main(sys.argv[1:])
