"""The render job: a source file becomes canonical pixels, a preview, a thumb and facts.

The file is decoded in a process of its own; this one only passes the bytes on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.client.portal_client import Attempt
from worker.contract.error_codes import ErrorCode
from worker.contract.facts import Facts
from worker.contract.files import FileKind
from worker.contract.message import InvalidMessage
from worker.contract.result import RenderResult
from worker.errors import Permanent, Transient
from worker.framing import receive, send
from worker.settings import Settings

# The decoder's whole environment. One thread: it forks for every file.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Rendered:
    """One decoded file."""

    facts: Facts
    pixels: bytes
    preview: bytes
    thumb: bytes


class Decoder:
    """A decoder process, started at once and started again when it was lost."""

    def __init__(self, settings: Settings) -> None:
        self._memory_bytes = settings.decode_megabytes * 2**20
        # Less than the task's own time limit, so that the job fails for its file.
        self._cpu_seconds = max(1, int(settings.soft_seconds / 2))
        self._start()

    def _start(self) -> None:
        self._channel, child_end = socket.socketpair()
        limits = (str(self._memory_bytes), str(self._cpu_seconds))
        with child_end:
            # Libraries' messages can quote the file, so they are dropped.
            self._process = subprocess.Popen(  # our own module, our interpreter  # noqa: S603  # nosec B603
                [
                    sys.executable,
                    "-m",
                    "worker.render.decoder_process",
                    str(child_end.fileno()),
                    *limits,
                ],
                pass_fds=[child_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
                env=_ENVIRONMENT,
                cwd=Path(__file__).parents[2],
            )

    def decode(self, data: bytes) -> Rendered:
        """Decode a file; Permanent with the reader's code, DECODE_FAILED or DECODE_LIMIT."""
        if self._process.poll() is not None:
            self.stop()
            self._start()
        try:
            send(self._channel, {}, [data])
            head, parts = receive(self._channel)
        except (OSError, EOFError):
            self.stop()
            raise Transient(ErrorCode.DECODER_LOST) from None
        except BaseException:
            # Out of time in the middle of an answer: the next file needs a new process.
            self.stop()
            raise
        if "error" in head:
            raise Permanent(ErrorCode(head["error"]))
        try:
            return Rendered(Facts.parse(head["facts"]), *parts)
        except InvalidMessage:
            raise Permanent(ErrorCode.RESULT_REFUSED) from None

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
