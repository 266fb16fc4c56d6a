"""A process that reads headers: untrusted bytes in, a checked header or a reason out.

``python -m portal.formats.header_process`` serves its parent over the socket that is its standard
input. It has an empty environment, no key and no address of anything. Once it has loaded what it
needs it is confined (`worker.isolation`): it can open no file or socket and reach no other process.
Memory and processor time are limited for each file, and its end is the answer where a file needs
more.
"""

import codecs
import os
import pkgutil
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

if __name__ == "__main__":
    # pydicom loads what it finds to decode pixels with. Here none are, so it has not to be there.
    for _name in (
        *("numpy", "PIL", "gdcm", "_gdcm", "pylibjpeg", "openjpeg", "libjpeg", "rle", "jpeg_ls"),
        *("requests", "tqdm"),
    ):
        sys.modules[_name] = None  # type: ignore[assignment]

from portal.formats import dicom, upload_header
from portal.formats.header_messages import CPU_SECONDS, MEMORY_BYTES, receive, send
from portal.formats.refusals import Limits, Refused
from worker.isolation.confinement import confine, filter_calls
from worker.isolation.limits import lower

_BYTES_PER_CPU_SECONDS: Final = 64 * 2**20
_FILES: Final = 3  # that are open: the socket and two times nothing


Answer = tuple[dict[str, Any], bytes]
"""What the parent gets: a message, and bytes of a file."""
Budget = Callable[[dict[str, Any], int], tuple[float, int]]
"""Seconds of processor time and bytes of memory beside the file, by what is asked and its size."""


def main() -> None:
    """Read one header after the other until the parent closes the socket."""
    serve(_read, _budget)


def serve(read: Callable[[dict[str, Any], bytes], Answer], budget: Budget) -> None:
    """Answer by `read` until the parent closes the socket, each time within `budget`."""
    load_codecs()
    with socket.socket(fileno=0) as channel:
        used = data_bytes()
        missing = confine({channel.fileno()})
        limit()
        filter_calls(missing, also=("setitimer",))
        send(channel, {"ready": True, "missing": missing})
        with suppress(EOFError, OSError):
            while True:
                asked = receive(channel)
                began = time.process_time()
                answer, body = _answer(channel, asked, used, read, budget)
                answer["seconds"] = time.process_time() - began
                send(channel, {**answer, "bytes": len(body)})
                channel.sendall(body)
                del body
                if "spent" in answer:
                    return  # the parent starts a fresh one


def load_codecs() -> None:
    """Load what decoding a text may need: no file can be opened any more afterwards."""
    names = {module.name for module in pkgutil.iter_modules(sys.modules["encodings"].__path__)}
    for name in names:
        with suppress(LookupError, UnicodeError, ImportError):
            codecs.lookup(name)
            b"a\xb0\xa1".decode(name)


def data_bytes() -> int:
    """How much memory this process has for itself."""
    with open("/proc/self/status", "rb") as status:
        lines = status.readlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(b"VmData:"))


def limit() -> None:
    """Give up what reading headers does not need."""
    lower(resource.RLIMIT_NPROC, 0)
    lower(resource.RLIMIT_FSIZE, 0)
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, _FILES)


def yield_to_others() -> None:
    """Go on at low priority: what is asked for may take seconds, and pages go first."""
    with suppress(OSError):
        os.nice(10)


def _answer(
    channel: socket.socket,
    asked: dict[str, Any],
    used: int,
    read: Callable[[dict[str, Any], bytes], Answer],
    budget: Budget,
) -> Answer:
    size = asked["bytes"]
    seconds, memory = budget(asked, size)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + size + memory, hard))
    # The default of the signal ends the process, wherever it is: also within the standard library.
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        data = channel.recv(size, socket.MSG_WAITALL) if size else b""
        if len(data) < size:
            raise EOFError
        return read(asked, data)
    except Refused as refused:
        return {"refused": [refused.code, refused.values]}, b""
    except MemoryError:
        return {"spent": True}, b""
    except EOFError:
        raise
    except Exception as error:
        # The file is at fault. The exception's text may hold patient data, its kind does not.
        return {"failed": type(error).__name__}, b""
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _budget(_asked: dict[str, Any], size: int) -> tuple[float, int]:
    return CPU_SECONDS * (1 + size / _BYTES_PER_CPU_SECONDS), MEMORY_BYTES


def _read(asked: dict[str, Any], data: bytes) -> Answer:
    if asked["what"] == "pixels_digest":
        return {"digest": dicom.pixels_digest(data)}, b""
    if asked["what"] == "stored":
        return {"stored": dicom.read(data, Limits(len(data), max_header_bytes=len(data)))}, b""
    if asked["what"] == "commitment":
        return dicom.commitment(data), b""
    limits = Limits(**asked["limits"])
    if asked["what"] == "object":
        return {"object": dicom.object_header(data, limits)}, b""
    return {"upload": asdict(upload_header.read(asked["name"], data, limits))}, b""


if __name__ == "__main__":
    main()
