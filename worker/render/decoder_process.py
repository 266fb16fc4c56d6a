"""The decoder process: hostile bytes in, canonical pixels out, under hard limits.

``python -m worker.render.decoder_process FD MEMORY_BYTES CPU_SECONDS`` serves its parent over a
socket pair. It imports the readers once and then forks for every file, so that each file is decoded
in a process of its own that knows no token, can write no file, and may be killed by its limits or
by its decoder without harm to anybody else. It ends when its parent's end of the socket is closed.
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
from worker.framing import receive, send

FAILED, LIMIT = "decode_failed", "decode_limit"
# A process that hits a limit is ended by one of these; every other signal is a decoder's crash.
LIMIT_SIGNALS = (signal.SIGXCPU, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Answer one file after the other until the parent goes away."""
    descriptor, memory_bytes, cpu_seconds = (int(argument) for argument in arguments)
    # Only this process's main thread survives a fork: no library may have begun others.
    cv2.setNumThreads(0)
    with socket.socket(fileno=descriptor) as channel:
        while True:
            try:
                _, parts = receive(channel)
            except EOFError:
                return
            _serve(channel, parts[0], memory_bytes, cpu_seconds)


def _serve(channel: socket.socket, data: bytes, memory_bytes: int, cpu_seconds: int) -> None:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        channel.close()
        try:
            _limit(memory_bytes, cpu_seconds)
            send(theirs, *_decode(data))
        finally:
            os._exit(0)
    theirs.close()
    head: dict[str, Any]
    with ours:
        try:
            head, parts = receive(ours)
        except EOFError:
            head, parts = {}, []
    _, status = os.waitpid(child, 0)
    if not head:
        stopped = os.WIFSIGNALED(status) and os.WTERMSIG(status) in LIMIT_SIGNALS
        head = {"error": LIMIT if stopped else FAILED}
    send(channel, head, parts)


def _limit(memory_bytes: int, cpu_seconds: int) -> None:
    """Bound what decoding may take beyond what the imported libraries hold already."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        held = int(statm.read().split()[0]) * resource.getpagesize()
    _lower(resource.RLIMIT_AS, held + memory_bytes)
    _lower(resource.RLIMIT_CPU, cpu_seconds)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _decode(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The answer to one file: its facts and three pictures, or the code of why not."""
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
        # Whatever a reader stumbles over, the file is at fault; its words may hold patient data.
        return {"error": FAILED}, []


if __name__ == "__main__":
    main(sys.argv[1:])
