"""One engine for several processes: pictures that wait are answered in one run of the network.

``python -m worker.segment.batch_engine SOCKET DEVICE THREADS MOST`` holds the models and answers
over a Unix socket. While a run is under way others' pictures arrive; the next run takes all of
them, MOST at most. Nobody is kept waiting for company: on a GPU the run before takes some tens of
milliseconds. The worker's children (``Shared``) keep what needs no GPU, each under its own time
limits, and a GPU holds each model once, however many children there are.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import queue
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.runtime import session
from ml.runtime.session import Answer, Floats, ModelMissing, Session, TamperedModel
from worker.errors import Transient
from worker.framing import receive, send

log = logging.getLogger(__name__)

# As many networks as one process may want (see worker.segment.model_cache), each with its gate.
MODELS = 6
# A child that takes its answer no more is left behind.
SEND_SECONDS = 10
# How long a child waits for the engine's process to be there, and between two tries.
START_SECONDS, PAUSE_SECONDS = 240.0, 0.1
PARTS = tuple(field.name for field in dataclasses.fields(Answer))
Model = tuple[str, str]  # its folder, and its card's files with their sums
Open = Callable[[Path], Session]


@dataclasses.dataclass(frozen=True, eq=False)
class _Asked:
    """One child's question: a model, and pictures for it (none: is it there?)."""

    model: Model
    inputs: Floats
    channel: socket.socket

    def reply(self, head: dict[str, Any], arrays: list[Floats] | None = None) -> None:
        """Answer; a child that has gone, or takes no answer, does not matter."""
        arrays = arrays or []
        head = {**head, "shapes": [array.shape for array in arrays]}
        try:
            send(self.channel, head, [array.tobytes() for array in arrays])
        except OSError:
            with suppress(OSError):
                self.channel.shutdown(socket.SHUT_RDWR)


class Engine:
    """The models and what waits for them. Threads ``hear``, one alone may ``run``."""

    def __init__(self, opens: Open, most: int) -> None:
        self._opens, self._most = opens, most
        self._asked: queue.Queue[_Asked] = queue.Queue()
        self._waiting: list[_Asked] = []
        self._models: OrderedDict[Model, Session] = OrderedDict()

    def listen(self, listener: socket.socket) -> None:
        """Take connections for ever, each in a thread of its own."""
        while True:
            channel, _ = listener.accept()
            threading.Thread(target=self.hear, args=(channel,), daemon=True).start()

    def hear(self, channel: socket.socket) -> None:
        """Take one child's questions until it goes."""
        # For sending alone: the next question may be long in coming.
        channel.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0)
        )
        with channel, suppress(OSError, EOFError):
            while True:
                head, parts = receive(channel)
                inputs: Floats = np.frombuffer(parts[0], dtype=np.float32).reshape(head["shape"])
                self._asked.put(_Asked((head["folder"], head["files"]), inputs, channel))

    def run(self) -> None:
        """Answer for ever."""
        while True:
            self.step()

    def step(self) -> None:
        """Wait for a question, then answer it and what waits for the same model."""
        if not self._waiting:
            self._waiting.append(self._asked.get())
        with suppress(queue.Empty):
            while True:
                self._waiting.append(self._asked.get_nowait())
        model, room = self._waiting[0].model, self._most
        now: list[_Asked] = []
        for asked in self._waiting:
            if asked.model == model and (not now or len(asked.inputs) <= room):
                now.append(asked)
                room -= len(asked.inputs)
        self._waiting = [asked for asked in self._waiting if asked not in now]
        self._answer(model, now)

    def _answer(self, model: Model, together: list[_Asked]) -> None:
        try:
            opened = self._opened(model)
        except (ModelMissing, TamperedModel) as error:
            log.error("model in %s: %s", model[0], error)
            code = "tampered" if isinstance(error, TamperedModel) else "missing"
            for asked in together:
                asked.reply({"error": code, "sentence": str(error)})
            return
        questions = [asked for asked in together if len(asked.inputs)]
        for asked in together:
            if not len(asked.inputs):
                asked.reply({"device": opened.device, "size": opened.size})
        if not questions:
            return
        try:
            answer = opened.answer(np.concatenate([asked.inputs for asked in questions]))
        except Exception as error:
            if len(questions) > 1:  # too many for the memory, or one of them is at fault
                for asked in questions:
                    self._answer(model, [asked])
                return
            log.error("a run failed: %s", type(error).__name__)
            short = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
            questions[0].reply({"error": "out_of_memory" if short else "engine_failed"})
            return
        if len(questions) > 1:
            log.info("%d pictures in one run", len(questions))
        start = 0
        for asked in questions:
            part = slice(start, start + len(asked.inputs))
            start += len(asked.inputs)
            said = {name: value for name in PARTS if (value := getattr(answer, name)) is not None}
            head = {"parts": list(said), "together": len(questions)}
            asked.reply(head, [value[part] for value in said.values()])

    def _opened(self, model: Model) -> Session:
        known = self._models.get(model)
        if known is None:
            folder, files = model
            known = self._opens(Path(folder))
            if _files(known.card) != files:
                raise TamperedModel(f"{folder} holds another model than a moment ago")
            self._models[model] = known
            while len(self._models) > MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(model)
        return known


def _files(card: dict[str, Any]) -> str:
    return json.dumps(card["files"], sort_keys=True)


class Shared(Session):
    """A model that the engine's process holds; what can't be asked is asked again by a new attempt.

    Raises ModelMissing and TamperedModel as session.open does, Transient where the engine is away.
    """

    def __init__(self, path: Path, weights: Path | None = None) -> None:
        folder = session.locate(weights)
        card = session.read_card(folder)
        self._path = path
        self._channel: socket.socket | None = None
        self._model = {"folder": str(folder.resolve()), "files": _files(card)}
        # Pictures that were answered in the same run as the last one.
        self.together = 0
        head, _ = self._ask(np.zeros((0, 1, 1, 1), dtype=np.float32))
        super().__init__(card, str(head["device"]), int(head["size"]))

    def answer(self, inputs: Floats) -> Answer:
        head, parts = self._ask(inputs)
        self.together = int(head["together"])
        arrays: dict[str, NDArray[np.float32]] = {
            name: np.frombuffer(part, dtype=np.float32).reshape(shape)
            for name, shape, part in zip(head["parts"], head["shapes"], parts, strict=True)
        }
        return Answer(**arrays)

    def _ask(self, inputs: Floats) -> tuple[dict[str, Any], list[bytes]]:
        inputs = np.ascontiguousarray(inputs, dtype=np.float32)
        try:
            if self._channel is None:
                self._channel = _connected(self._path)
            send(self._channel, {**self._model, "shape": inputs.shape}, [inputs.tobytes()])
            head, parts = receive(self._channel)
        except (OSError, EOFError):
            self.close()
            raise Transient("engine_lost") from None
        except BaseException:
            # Out of time in the middle of an answer: it must not be the next question's.
            self.close()
            raise
        if "error" not in head:
            return head, parts
        if head["error"] in ("tampered", "missing"):
            kind = TamperedModel if head["error"] == "tampered" else ModelMissing
            raise kind(head["sentence"])
        raise Transient(head["error"])

    def close(self) -> None:
        """Hang up; the next question dials again."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _connected(path: Path) -> socket.socket:
    until = time.monotonic() + START_SECONDS
    while True:
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            channel.connect(str(path))
        except OSError:
            channel.close()
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return channel


@contextmanager
def kept(path: Path, device: str, threads: int, most: int) -> Iterator[None]:
    """The engine's process while the body runs, begun anew whenever it dies."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "worker.segment.batch_engine",
        str(path),
        device,
        str(threads),
        str(most),
    ]
    over = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        while not over.is_set():
            # A group of its own, so that a signal for the worker lets its last jobs end; and a pipe
            # that ends with the worker, however that ends.
            process = subprocess.Popen(  # our own module, our interpreter  # noqa: S603  # nosec B603
                command, stdin=subprocess.PIPE, process_group=0
            )
            running[:] = [process]
            if over.is_set():
                process.terminate()
            status = process.wait()
            if not over.is_set():
                log.error("the engine's process ended (%d) and is begun anew", status)
                over.wait(1.0)

    thread = threading.Thread(target=keep, name="engine", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        for process in running:
            process.terminate()
        thread.join(timeout=5.0)
        path.unlink(missing_ok=True)


def main(arguments: list[str]) -> None:
    """Listen at a path and answer until killed."""
    place, device, threads, most = arguments
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stdout,
        format="%(asctime)s %(levelname)s engine: %(message)s",
    )

    def opens(folder: Path) -> Session:
        return session.open(folder, device, int(threads))  # type: ignore[arg-type]  # checked by worker.settings

    engine = Engine(opens, int(most))
    path = Path(place)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(64)
        threading.Thread(target=engine.listen, args=(listener,), daemon=True).start()
        threading.Thread(target=_end_with_the_worker, daemon=True).start()
        engine.run()


def _end_with_the_worker() -> None:
    """Wait for the end of the pipe whose other side the worker holds."""
    # Not by sys.stdin: its lock, held while it waits, would be held in every fork for ever.
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
