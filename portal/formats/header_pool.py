"""The processes in which headers of uploaded files are read, started beforehand and few.

Each is a fresh interpreter with an empty environment, so that it inherits no key, no address and no
open file of the portal. One that crashes, takes too long or reaches a limit is replaced, and the
file is refused. They belong to the process that uses them, whichever server runs it, and end with
it.
"""

import atexit
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from portal.formats.header_messages import (
    CPU_SECONDS,
    MEMORY_BYTES,
    check_answer,
    left,
    read_bytes,
    receive,
    send,
)
from portal.formats.refusals import REASONS, Limits, Refused, refuse
from portal.formats.upload_header import Upload
from xray_files.listed_elements import MOST_COMMITTED

__all__ = ["CPU_SECONDS", "MEMORY_BYTES", "HeaderPool", "Work", "shared"]

_log = logging.getLogger(__name__)

PROCESSES: Final = 2
MODULE: Final = "portal.formats.header_process"
# Of the wall's clock, for a machine that is busy with other things; the process itself has
# `CPU_SECONDS` of processor time.
SECONDS: Final = 60.0
_ENVIRONMENT: Final[dict[str, str]] = {}
_TO_END: Final = 2.0
_ROOT: Final = Path(__file__).parents[2]
# A file's own doing: the limit of processor time. Any other end may have another reason.
_LIMIT_SIGNALS: Final = (-signal.SIGPROF, -signal.SIGXCPU)
_TRIES: Final = 2
_NO_ANSWER: Final = frozenset({"refused", "spent", "failed"})
# Of an answer: a picture of 100 megapixels in 16 bits, or in three colours.
_MOST_BYTES: Final = 2**29
_LONGEST_SIDE: Final = 2**31 - 1
_FAR_AWAY: Final = 2**40  # seconds: later than any year of four digits


class Shape(BaseModel):
    """What an answer has to be beside what each one has; more is left alone, and never looked at.

    A process that was taken over by a file answers what it likes: the portal looks at nothing that
    was not checked.
    """

    model_config = ConfigDict(strict=True)


class _Header(BaseModel):
    """What the portal uses of a picture's header; more is kept as it is."""

    model_config = ConfigDict(strict=True, extra="allow")
    rows: int = Field(ge=1, le=_LONGEST_SIDE)
    columns: int = Field(ge=1, le=_LONGEST_SIDE)
    view: str | None = None
    acquired: int | None = Field(None, ge=-_FAR_AWAY, le=_FAR_AWAY)
    mislabelled: bool = False
    exportable: bool = True
    sop_class: str = ""
    made_here: bool = False


class _Upload(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    media_type: Literal["application/dicom", "image/png", "image/jpeg"]
    phi: dict[str, str]
    keys: dict[str, str]
    header: _Header


class _Uploaded(Shape):
    upload: _Upload


class _Stored(Shape):
    stored: tuple[dict[str, str], dict[str, str], _Header] = Field(strict=False)


class _Digest(Shape):
    digest: str = Field(pattern="^[0-9a-f]{64}$")


_UID: Final = r"^[0-9.]{0,64}$"
_Uid = Annotated[str, Field(pattern=_UID)]
_Reason = Annotated[int, Field(ge=0, le=0xFFFF)]


class ObjectHeader(BaseModel):
    """What an object that is no picture is filed by, see `dicom.object_header`."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    sop_class: _Uid
    sop_uid: _Uid
    study_uid: _Uid
    made_here: bool


class _Object(Shape):
    object: ObjectHeader


class Commitment(Shape):
    """What a request for storage commitment or its report names, see `dicom.commitment`."""

    transaction: _Uid
    named: list[Annotated[tuple[_Uid, _Uid], Field(strict=False)]] = Field(
        max_length=MOST_COMMITTED
    )
    not_stored: list[Annotated[tuple[_Uid, _Uid, _Reason], Field(strict=False)]] = Field(
        max_length=MOST_COMMITTED
    )


@dataclass
class Work:
    """Processor seconds that reading the files of one upload has taken so far.

    `pixels`: digests of stored pictures that files of the upload were compared with, by their ids.
    """

    seconds: float = 0.0
    pixels: dict[UUID, str] = field(default_factory=dict)


class HeaderPool:
    """`processes` processes; each reads one header at a time.

    `module` is what they run, `seconds` how long one may take to answer, `most_seconds` the
    processor time that is counted for a file by which one ended.
    """

    def __init__(
        self,
        processes: int = PROCESSES,
        module: str = MODULE,
        seconds: float = SECONDS,
        most_seconds: float = CPU_SECONDS,
    ) -> None:
        self._seconds = seconds
        self._most_seconds = most_seconds
        self._free: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._all = [_Process(module) for _ in range(processes)]
        for process in self._all:
            self._free.put(process)

    def read(self, filename: str, data: bytes, limits: Limits, work: Work | None = None) -> Upload:
        """What `upload_header.read` returns or refuses; also refused where it exceeds a limit.

        What it took is added to `work`.
        """
        asked = {"what": "upload", "name": filename, "limits": asdict(limits)}
        return Upload(**self.ask(asked, data, work, shape=_Uploaded)["upload"])

    def read_stored(self, data: bytes) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
        """What `dicom.read` returns or refuses for a file that was accepted before."""
        phi, keys, header = self.ask({"what": "stored"}, data, shape=_Stored)["stored"]
        return phi, keys, header

    def pixels_digest(self, data: bytes, work: Work | None = None) -> str:
        """What `dicom.pixels_digest` returns or refuses; what it took is added to `work`."""
        digest: str = self.ask({"what": "pixels_digest"}, data, work, shape=_Digest)["digest"]
        return digest

    def object_header(self, data: bytes, limits: Limits, work: Work | None = None) -> ObjectHeader:
        """What `dicom.object_header` returns or refuses; what it took is added to `work`."""
        asked = {"what": "object", "limits": asdict(limits)}
        return ObjectHeader(**self.ask(asked, data, work, shape=_Object)["object"])

    def commitment(self, data: bytes) -> Commitment:
        """What `dicom.commitment` returns or refuses."""
        answer = self.ask({"what": "commitment"}, data, shape=Commitment)
        return Commitment.model_validate(answer)

    def pids(self) -> list[int]:
        """The processes' ids."""
        return [process.pid for process in self._all]

    def close(self) -> None:
        """End all processes."""
        for process in self._all:
            process.stop()

    def ask(
        self,
        asked: dict[str, Any],
        data: bytes,
        work: Work | None = None,
        seconds: float | None = None,
        *,
        shape: type[Shape] = Shape,
    ) -> dict[str, Any]:
        """The answer of a process, its bytes as `body`; Refused where it refuses or needs more.

        `seconds`: how long it may take, where that is not what the pool's processes have. `shape`:
        what the answer must be; what it is not is refused like a file by which the process ended,
        and the process is replaced.
        """
        process = self._free.get()
        ends = time.monotonic() + (self._seconds if seconds is None else seconds)
        try:
            for _ in range(_TRIES):
                answer = process.ask(asked, data, ends, shape)
                if answer is not None:
                    break
            else:
                answer = {"spent": True}
        finally:
            self._free.put(process)
        if work is not None:
            took: float = answer.get("seconds", self._most_seconds)  # none where it has ended
            work.seconds += took
        if "refused" in answer:
            raise _refused(*answer["refused"])
        if "spent" in answer:
            raise refuse("header_limit")
        if "failed" in answer:
            _log.error("a header could not be read", extra={"code": answer["failed"]})
            raise refuse("unreadable")
        return answer


def _refused(code: str, values: dict[str, str | int]) -> Refused:
    """The refusal, in the language spoken here."""
    if code in REASONS:
        with suppress(KeyError):  # a value that its sentence needs
            return refuse(code, **values)
    return refuse("unreadable")


class _Process:
    """One process and the way to it; used by one thread at a time."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._start()

    def _start(self) -> None:
        self._channel, child_end = socket.socketpair()
        self._ready = False
        with child_end:
            self._process = subprocess.Popen(  # our own module  # noqa: S603  # nosec B603
                [sys.executable, "-m", self._module],
                stdin=child_end.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
                env=_ENVIRONMENT,
                cwd=_ROOT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(
        self, asked: dict[str, Any], data: bytes, ends: float, shape: type[Shape]
    ) -> dict[str, Any] | None:
        """The answer; None where the process ended for another reason than its limits, or sent what
        is no answer, as one does that a file has taken over.

        `ends`: when it has to be there, by the monotonic clock.
        """
        if self._process.poll() is not None:
            self._replace()
        try:
            if not self._ready:
                _report(_missing(receive(self._channel, ends)))
                self._ready = True
            self._channel.settimeout(left(ends))
            send(self._channel, {**asked, "bytes": len(data)})
            self._channel.sendall(data)
            answer = receive(self._channel, ends)
            size = check_answer(answer, _MOST_BYTES)
            if not answer.keys() & _NO_ANSWER:
                shape.model_validate(answer)
            answer["body"] = read_bytes(self._channel, size, ends)
        except TimeoutError:
            self._process.kill()
            self._replace()
            return {"spent": True}
        except (OSError, EOFError, ValidationError):
            ended = self._replace()
            return {"spent": True} if ended in _LIMIT_SIGNALS else None
        except BaseException:
            self._replace()  # in the middle of an answer, which would be the next file's
            raise
        if "spent" in answer:
            self._replace()
        return answer

    def _replace(self) -> int:
        ended = self.stop()
        self._start()
        return ended

    def stop(self) -> int:
        """End the process; its exit status, negative for a signal."""
        self._channel.close()
        with suppress(subprocess.TimeoutExpired):  # it ends by itself, or has ended already
            return self._process.wait(_TO_END)
        self._process.kill()
        return self._process.wait()


def _missing(answer: dict[str, Any]) -> tuple[str, ...]:
    """The layers of isolation that a process has not; it has read no file yet."""
    missing = answer.get("missing")
    if not isinstance(missing, list):
        raise EOFError
    return tuple(map(str, missing))


@cache  # once, although processes are replaced
def _report(missing: tuple[str, ...]) -> None:
    if missing:
        _log.warning("headers are read without these layers of isolation: %s", ", ".join(missing))


_lock = Lock()
_shared: HeaderPool | None = None


def shared() -> HeaderPool:
    """The pool of this process, started by the first who asks for it."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = HeaderPool()
            atexit.register(_close, os.getpid())
        return _shared


def _close(owner: int) -> None:
    """End the pool with the process that started it, not with one that was forked from it."""
    if _shared is not None and os.getpid() == owner:
        _shared.close()


def _forget() -> None:
    """A forked process starts its own."""
    global _lock, _shared
    _lock, _shared = Lock(), None


os.register_at_fork(after_in_child=_forget)
