"""The render job: a source file becomes canonical pixels, a preview, a thumb and facts.

Owns the decoder process of its worker process. Nothing here touches the file's bytes but to pass
them on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from worker.client.portal_client import Work
from worker.errors import Permanent, Transient
from worker.framing import receive, send
from worker.settings import Settings

# All that the decoder may know of its surroundings. One thread: it forks for every file.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Rendered:
    """What one file gave."""

    facts: dict[str, Any]
    pixels: bytes
    preview: bytes
    thumb: bytes


class Decoder:
    """A decoder process, begun at once, begun anew when it was lost."""

    def __init__(self, settings: Settings) -> None:
        self._memory_bytes = settings.decode_megabytes * 2**20
        # Processor time ends a decoder before the task's own limit does: the file is at fault.
        self._cpu_seconds = max(1, int(settings.soft_seconds / 2))
        self._begin()

    def _begin(self) -> None:
        self._channel, theirs = socket.socketpair()
        limits = (str(self._memory_bytes), str(self._cpu_seconds))
        with theirs:
            # Libraries' own messages can quote the file, so nobody keeps them.
            self._process = subprocess.Popen(  # our own module, our interpreter  # noqa: S603  # nosec B603
                [
                    sys.executable,
                    "-m",
                    "worker.render.decoder_process",
                    str(theirs.fileno()),
                    *limits,
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
                env=_ENVIRONMENT,
                cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
            )

    def decode(self, data: bytes) -> Rendered:
        """Decode a file; Permanent with the reader's code, decode_failed or decode_limit."""
        if self._process.poll() is not None:
            self.stop()
            self._begin()
        try:
            send(self._channel, {}, [data])
            head, parts = receive(self._channel)
        except (OSError, EOFError):
            self.stop()
            raise Transient("decoder_lost") from None
        except BaseException:
            # Out of time in the middle of an answer: the next file needs a fresh process.
            self.stop()
            raise
        if "error" in head:
            raise Permanent(head["error"])
        return Rendered(head["facts"], *parts)

    def stop(self) -> None:
        """End the process and whatever it is decoding."""
        self._channel.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def render(work: Work, decoder: Decoder) -> dict[str, Any]:
    """Do one render job up to its result; the caller finishes it."""
    rendered = decoder.decode(work.input("source"))
    work.output("pixels", rendered.pixels, "application/octet-stream")
    work.output("preview", rendered.preview, "image/jpeg")
    work.output("thumb", rendered.thumb, "image/jpeg")
    return {"facts": rendered.facts}
