"""The render job: a source file becomes canonical pixels, a preview, a thumb and facts.

The file is decoded in a process of its own; this one only passes the bytes on.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.client.portal_client import Attempt
from worker.contract.error_codes import OF_FILES, ErrorCode
from worker.contract.facts import Facts
from worker.contract.files import FileKind
from worker.contract.message import InvalidMessage
from worker.contract.result import RenderResult
from worker.errors import Permanent, Transient
from worker.framing import InvalidFrame, receive, receive_untrusted, send
from worker.settings import Settings

log = logging.getLogger(__name__)

# A process that reaches a limit is ended by one of these; every other signal is a crash.
_LIMIT_SIGNALS = (signal.SIGXCPU, signal.SIGKILL)
# Pixels, preview and thumb.
_PARTS = 3
# A file's process is new, so each page of memory that it touches costs the kernel a fault: glibc
# takes large pages where it can, and arrays that are freed are taken again instead of new ones.
_MEMORY = (
    "glibc.malloc.hugetlb=1",
    f"glibc.malloc.mmap_threshold={2**30}",
    f"glibc.malloc.trim_threshold={2**30}",
)
# The decoder's whole environment. One thread: it forks for every file.
_ENVIRONMENT = {
    "GLIBC_TUNABLES": ":".join(_MEMORY),
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "LANG": "C.UTF-8",
}


@dataclass(frozen=True)
class Rendered:
    """One decoded file."""

    facts: Facts
    pixels: bytes
    preview: bytes
    thumb: bytes


class Decoder:
    """A decoder process, started at once and started again when it was lost."""

    def __init__(
        self,
        settings: Settings,
        program: str = "worker.render.decoder_process",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the program; EOFError when it ends before it is ready.

        `environment`: of the program, beside what every decoder has.
        """
        self._environment = _ENVIRONMENT | dict(environment or {})
        self._memory_bytes = settings.decode_megabytes * 2**20
        # Less than the task's own time limit, so that the job fails for its file.
        self._cpu_seconds = max(1, int(settings.soft_seconds / 2))
        self._program = program
        self._start()

    def _start(self) -> None:
        self._channel, child_end = socket.socketpair()
        limits = (str(self._memory_bytes), str(self._cpu_seconds))
        with child_end:
            # Libraries' messages can quote the file, so they are dropped.
            self._process = subprocess.Popen(  # our own module, our interpreter  # noqa: S603  # nosec B603
                [sys.executable, "-m", self._program, str(child_end.fileno()), *limits],
                pass_fds=[child_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
                env=self._environment,
                cwd=Path(__file__).parents[2],
            )
        try:
            head, _ = receive(self._channel)
        except EOFError:
            self.stop()
            raise EOFError("the decoder process ended before it was ready") from None
        self.missing: list[str] = head["missing"]
        if self.missing:
            log.warning("files are decoded without these layers: %s", ", ".join(self.missing))
        else:
            log.info("files are decoded with every layer of isolation")

    def decode(self, data: bytes) -> Rendered:
        """Decode a file; Permanent with the reader's code, DECODE_FAILED or DECODE_LIMIT."""
        head, parts = self.answer(data)
        try:
            if "error" in head:
                code = ErrorCode(head["error"])
                # A decoder that was taken over chooses no code that the portal acts upon.
                raise Permanent(code if code in OF_FILES else ErrorCode.RESULT_REFUSED)
            return Rendered(Facts.parse(head["facts"]), *parts)
        except (InvalidMessage, KeyError, TypeError, ValueError):
            raise Permanent(ErrorCode.RESULT_REFUSED) from None

    def answer(self, data: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """What the file's process answers; an error code where it ends without an answer."""
        try:
            if self._process.poll() is not None:
                self.stop()
                self._start()
            head, parts = self._exchange(data)
            ended, _ = receive(self._channel)
        except (OSError, EOFError):
            self.stop()
            raise Transient(ErrorCode.DECODER_LOST) from None
        except BaseException:
            # Out of time in the middle of an answer: the next file needs a new process.
            self.stop()
            raise
        if head:
            return head, parts
        status = ended["status"]
        limited = os.WIFSIGNALED(status) and os.WTERMSIG(status) in _LIMIT_SIGNALS
        return {"error": ErrorCode.DECODE_LIMIT if limited else ErrorCode.DECODE_FAILED}, []

    def _exchange(self, data: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """Send one file and receive what comes back, which is nothing where the process ends."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                socket.send_fds(self._channel, [b"f"], [theirs.fileno()])
            try:
                send(ours, {}, [data])
                return receive_untrusted(ours, self._memory_bytes, _PARTS)
            except (OSError, EOFError):
                return {}, []
            except InvalidFrame:
                return {"error": ErrorCode.RESULT_REFUSED}, []

    def stop(self) -> None:
        """End the process and whatever it is decoding."""
        self._channel.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def render(attempt: Attempt, decoder: Decoder) -> RenderResult:
    """Do one render job up to its result; the caller finishes it."""
    rendered = decoder.decode(attempt.read_input(FileKind.SOURCE))
    attempt.store_output(FileKind.PIXELS, rendered.pixels)
    attempt.store_output(FileKind.PREVIEW, rendered.preview)
    attempt.store_output(FileKind.THUMB, rendered.thumb)
    return RenderResult(facts=rendered.facts)
