"""A model that the batch engine holds, used by a worker process as if it were its own.

The worker process keeps what needs no GPU, under its own time limits; see `batch_engine`.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.runtime import session
from ml.runtime.session import Answer, Floats, ModelMissing, Session, TamperedModel
from worker.contract.error_codes import ErrorCode
from worker.errors import Transient
from worker.framing import receive, send
from worker.segment.batch_engine import checksums

# How long a process waits until the engine listens, and between two tries.
START_SECONDS, PAUSE_SECONDS = 240.0, 0.1


class BatchSession(Session):
    """A model in the engine's process. A request that fails is repeated by the job's next attempt.

    Raises ModelMissing and TamperedModel as session.open does, Transient without an engine.
    """

    def __init__(self, path: Path, weights: Path | None = None) -> None:
        folder = session.locate(weights)
        card = session.read_card(folder)
        self._path = path
        self._channel: socket.socket | None = None
        self._model = {"folder": str(folder.resolve()), "files": checksums(card)}
        # Requests that were answered in the same run as the last one.
        self.together = 0
        head, _ = self._request(np.zeros((0, 1, 1, 1), dtype=np.float32))
        super().__init__(card, str(head["device"]), int(head["size"]))

    def answer(self, inputs: Floats) -> Answer:
        head, parts = self._request(inputs)
        self.together = int(head["together"])
        arrays: dict[str, NDArray[np.float32]] = {
            name: np.frombuffer(part, dtype=np.float32).reshape(shape)
            for name, shape, part in zip(head["arrays"], head["shapes"], parts, strict=True)
        }
        return Answer(**arrays)

    def _request(self, inputs: Floats) -> tuple[dict[str, Any], list[bytes]]:
        inputs = np.ascontiguousarray(inputs, dtype=np.float32)
        try:
            if self._channel is None:
                self._channel = _connect(self._path)
            send(self._channel, {**self._model, "shape": inputs.shape}, [inputs.tobytes()])
            head, parts = receive(self._channel)
        except (OSError, EOFError):
            self.close()
            raise Transient(ErrorCode.ENGINE_LOST) from None
        except BaseException:
            # Out of time in the middle of an answer: the next request must not receive it.
            self.close()
            raise
        if "error" not in head:
            return head, parts
        code = ErrorCode(head["error"])
        if code is ErrorCode.MODEL_TAMPERED:
            raise TamperedModel(head["sentence"])
        if code is ErrorCode.MODEL_MISSING:
            raise ModelMissing(head["sentence"])
        raise Transient(code)

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _connect(path: Path) -> socket.socket:
    end = time.monotonic() + START_SECONDS
    while True:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            channel.connect(str(path))
        except OSError:
            channel.close()
            if time.monotonic() > end:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return channel
