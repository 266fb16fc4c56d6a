"""The encode process: a picture's header and the content of its objects in, an archive out.

``python -m worker.encode.encode_process FD MEMORY_BYTES CPU_SECONDS`` serves its parent over a
socket pair, under the limits of the decoder process: the header was written by somebody else. Each
set is made in a process of its own that can open no file and no connection.
"""

from __future__ import annotations

import logging
import socket
import sys
import warnings
from typing import Any

import cv2

from worker.contract.contents import object_content
from worker.contract.error_codes import ErrorCode
from worker.contract.message import InvalidMessage
from worker.encode import inputs, object_set, sample, source
from worker.errors import Permanent
from worker.render.process_per_file import Limits, serve


def answer(data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """What was made and the archive, or an error code."""
    try:
        packed, header = inputs.apart(data)
        content, jpeg, outlines, pdf = object_content.unpack(packed)
        found, made = object_set.archive(source.read(header), content, jpeg, outlines, pdf)
    except Permanent as error:
        return {"error": error.code}, []
    except InvalidMessage:
        return {"error": ErrorCode.OBJECTS_REFUSED}, []
    except MemoryError:
        return {"error": ErrorCode.OBJECTS_LIMIT}, []
    except cv2.error as error:
        is_limit = error.code == cv2.Error.StsNoMem
        return {"error": ErrorCode.OBJECTS_LIMIT if is_limit else ErrorCode.OBJECTS_REFUSED}, []
    except Exception:
        # The header or the content is at fault; the exception's text may hold patient data.
        return {"error": ErrorCode.OBJECTS_REFUSED}, []
    return {"objects": found.as_json()}, [made]


def _load_all() -> None:
    """Make a set once: libraries read tables of theirs when they first need them."""
    content, jpeg, outlines, pdf, header = sample.of_every_kind()
    found, _ = object_set.archive(source.read(header), content, jpeg, outlines, pdf)
    assert {one.kind for one in found.objects} == set(object_content.ObjectKind)


def main(arguments: list[str]) -> None:
    """Make one set after the other until the parent closes the socket."""
    descriptor, memory_bytes, cpu_seconds = (int(argument) for argument in arguments)
    logging.disable(logging.CRITICAL)  # highdicom's messages quote names
    warnings.simplefilter("ignore")
    # Only this process's main thread survives a fork: no library may have started others.
    cv2.setNumThreads(0)
    _load_all()
    with socket.socket(fileno=descriptor) as channel:
        serve(channel, answer, Limits(memory_bytes, cpu_seconds), lambda: None)


if __name__ == "__main__":
    main(sys.argv[1:])
