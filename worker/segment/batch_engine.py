"""One engine for several processes: waiting pictures are answered in one run of the network.

The engine holds the models and answers over a Unix socket (`batch_process` runs it, `batch_client`
asks it). While the network runs, more requests arrive; the next run takes all of them that fit. No
request waits for others to come: on a GPU a run takes some tens of milliseconds. A GPU holds each
model once, however many processes use it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import queue
import socket
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ml.runtime.session import Answer, Floats, ModelMissing, Session, TamperedModel
from worker.contract.error_codes import ErrorCode
from worker.framing import receive, send

log = logging.getLogger(__name__)

# As many networks as one process may use (see worker.segment.model_cache), each with its gate, and
# the lung finder.
MODELS_MAX = 7
# A client that does not receive its answer within this time is dropped.
SEND_SECONDS = 10
ANSWER_ARRAYS = tuple(field.name for field in dataclasses.fields(Answer))
Model = tuple[str, str]  # its folder, and its card's files with their checksums
OpenModel = Callable[[Path], Session]


def checksums(card: dict[str, Any]) -> str:
    """The files of a model's card with their checksums, as one text to compare."""
    return json.dumps(card["files"], sort_keys=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """A model and pictures for it. Without pictures it asks for the model's device and size."""

    model: Model
    inputs: Floats
    channel: socket.socket

    def reply(self, head: dict[str, Any], arrays: list[Floats] | None = None) -> None:
        """Send the answer; a client that has gone, or does not receive it, is dropped."""
        arrays = arrays or []
        head = {**head, "shapes": [array.shape for array in arrays]}
        try:
            send(self.channel, head, [array.tobytes() for array in arrays])
        except OSError:
            with suppress(OSError):
                self.channel.shutdown(socket.SHUT_RDWR)


class BatchEngine:
    """The models and the waiting requests.

    Threads ``receive_requests``; only one thread may ``run``. No run takes more than
    ``pictures_max`` pictures, unless a single request is larger.
    """

    def __init__(self, open_model: OpenModel, pictures_max: int) -> None:
        self._open_model, self._pictures_max = open_model, pictures_max
        self._received: queue.Queue[Request] = queue.Queue()
        self._waiting: list[Request] = []
        self._models: OrderedDict[Model, Session] = OrderedDict()

    def listen(self, listener: socket.socket) -> None:
        """Accept connections without end, each in a thread of its own."""
        while True:
            channel, _ = listener.accept()
            threading.Thread(target=self.receive_requests, args=(channel,), daemon=True).start()

    def receive_requests(self, channel: socket.socket) -> None:
        """Receive one client's requests until it closes the connection."""
        # For sending alone: the next request may take long to come.
        channel.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0)
        )
        with channel, suppress(OSError, EOFError):
            while True:
                head, parts = receive(channel)
                inputs: Floats = np.frombuffer(parts[0], dtype=np.float32).reshape(head["shape"])
                self._received.put(Request((head["folder"], head["files"]), inputs, channel))

    def run(self) -> None:
        """Answer without end."""
        while True:
            self.step()

    def step(self) -> None:
        """Wait for a request, then answer it and the waiting ones for the same model."""
        if not self._waiting:
            self._waiting.append(self._received.get())
        with suppress(queue.Empty):
            while True:
                self._waiting.append(self._received.get_nowait())
        model, room = self._waiting[0].model, self._pictures_max
        batch: list[Request] = []
        for request in self._waiting:
            if request.model == model and (not batch or len(request.inputs) <= room):
                batch.append(request)
                room -= len(request.inputs)
        self._waiting = [request for request in self._waiting if request not in batch]
        self._answer(model, batch)

    def _answer(self, model: Model, batch: list[Request]) -> None:
        try:
            session = self._session(model)
        except (ModelMissing, TamperedModel) as error:
            log.error("model in %s: %s", model[0], error)
            tampered = isinstance(error, TamperedModel)
            code = ErrorCode.MODEL_TAMPERED if tampered else ErrorCode.MODEL_MISSING
            for request in batch:
                request.reply({"error": code, "sentence": str(error)})
            return
        with_pictures = [request for request in batch if len(request.inputs)]
        for request in batch:
            if not len(request.inputs):
                request.reply({"device": session.device, "size": session.size})
        if not with_pictures:
            return
        try:
            answer = session.answer(np.concatenate([request.inputs for request in with_pictures]))
        except Exception as error:
            if len(with_pictures) > 1:  # too many for the memory, or one of them is at fault
                for request in with_pictures:
                    self._answer(model, [request])
                return
            log.error("a run failed: %s", type(error).__name__)
            no_memory = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
            code = ErrorCode.OUT_OF_MEMORY if no_memory else ErrorCode.ENGINE_FAILED
            with_pictures[0].reply({"error": code})
            return
        if len(with_pictures) > 1:
            log.info("%d pictures in one run", len(with_pictures))
        _reply_to_each(with_pictures, answer)

    def _session(self, model: Model) -> Session:
        session = self._models.get(model)
        if session is None:
            folder, files = model
            session = self._open_model(Path(folder))
            if checksums(session.card) != files:
                raise TamperedModel(f"the model in {folder} has changed since it was asked for")
            self._models[model] = session
            while len(self._models) > MODELS_MAX:
                self._models.popitem(last=False)
        self._models.move_to_end(model)
        return session


def _reply_to_each(batch: list[Request], answer: Answer) -> None:
    """Send each request its own part of the answer."""
    start = 0
    for request in batch:
        part = slice(start, start + len(request.inputs))
        start += len(request.inputs)
        arrays = {
            name: value for name in ANSWER_ARRAYS if (value := getattr(answer, name)) is not None
        }
        head = {"arrays": list(arrays), "together": len(batch)}
        request.reply(head, [value[part] for value in arrays.values()])
