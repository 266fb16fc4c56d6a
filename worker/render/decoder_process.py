"""The decoder process: untrusted bytes in, canonical pixels out, under hard limits.

``python -m worker.render.decoder_process FD MEMORY_BYTES CPU_SECONDS`` serves its parent over a
socket pair. Each file is decoded in a process of its own that has no token, can open no file and no
connection, and may be killed by its limits or crash without harm to other files.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

import cv2
import numpy.ma  # noqa: F401 numpy loads it when it first needs it, when no file can be opened

from ml.images import decoder_messages, reader
from worker.contract.error_codes import ErrorCode
from worker.render.process_per_file import Limits, serve

FAILED, LIMIT = ErrorCode.DECODE_FAILED, ErrorCode.DECODE_LIMIT


def main(arguments: list[str]) -> None:
    """Decode one file after the other until the parent closes the socket."""
    descriptor, memory_bytes, cpu_seconds = (int(argument) for argument in arguments)
    # Only this process's main thread survives a fork: no library may have started others.
    cv2.setNumThreads(0)
    with socket.socket(fileno=descriptor) as channel:
        limits = Limits(memory_bytes, cpu_seconds)
        serve(channel, _decode, limits, decoder_messages.install)


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
