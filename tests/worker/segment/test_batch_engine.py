"""worker.segment.batch_engine, batch_client and batch_process: one engine for several processes."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="openvino is not installed")
from ml.runtime import session
from ml.runtime.session import Answer, Floats, ModelMissing, TamperedModel
from tests.ml.conftest import write_tiny_model
from tests.support.wait import until
from worker import child_process
from worker.errors import Transient
from worker.segment.batch_client import BatchSession
from worker.segment.batch_engine import BatchEngine
from worker.segment.batch_process import running
from worker.settings import Settings

SIZE = 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny")


def picture(seed: int, count: int = 1) -> Floats:
    drawn: Floats = np.random.default_rng(seed).uniform(-1, 1, (count, 1, SIZE, SIZE))
    return drawn.astype(np.float32)


class EngineInThisProcess:
    """An engine whose steps the test takes, and clients of it."""

    def __init__(self, path: Path, most: int) -> None:
        self.path = path
        self.engine = BatchEngine(lambda folder: session.open(folder, "cpu", 1), most)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.engine.listen, args=(self.listener,), daemon=True).start()
        self.pool = ThreadPoolExecutor(8)

    def child(self, folder: Path) -> BatchSession:
        started = self.pool.submit(BatchSession, self.path, folder)
        self.wait_for(1)
        self.engine.step()
        return started.result(60)

    def wait_for(self, requests: int) -> None:
        assert until(lambda: self.engine._received.qsize() >= requests), "no request came"


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Callable[[int], EngineInThisProcess]]:
    rooms: list[EngineInThisProcess] = []

    def make(most: int) -> EngineInThisProcess:
        rooms.append(EngineInThisProcess(tmp_path / f"engine-{len(rooms)}", most))
        return rooms[-1]

    yield make
    for one in rooms:
        one.listener.close()
        one.pool.shutdown(wait=False, cancel_futures=True)


def same(answer: Answer, other: Answer) -> None:
    np.testing.assert_allclose(answer.masks, other.masks, atol=1e-6)
    np.testing.assert_allclose(answer.images, other.images, atol=1e-6)


def test_waiting_requests_are_answered_in_one_run_each_with_its_own_answer(
    room: Callable[[int], EngineInThisProcess], folder: Path
) -> None:
    here, alone = room(8), session.open(folder, "cpu", 1)
    children = [here.child(folder) for _ in range(3)]
    asked = [here.pool.submit(c.answer, picture(n)) for n, c in enumerate(children)]
    here.wait_for(3)
    here.engine.step()
    for number, answer in enumerate(asked):
        same(answer.result(10), alone.answer(picture(number)))
    assert [child.together for child in children] == [3, 3, 3]
    assert children[0].size == SIZE
    assert children[0].device == alone.device


def test_no_run_takes_more_pictures_than_it_may(
    room: Callable[[int], EngineInThisProcess], folder: Path
) -> None:
    here = room(2)
    children = [here.child(folder) for _ in range(5)]
    asked = [here.pool.submit(c.answer, picture(n)) for n, c in enumerate(children)]
    here.wait_for(5)
    for _ in range(3):
        here.engine.step()
    for answer in asked:
        answer.result(10)
    assert sorted(child.together for child in children) == [1, 2, 2, 2, 2]


def test_a_request_larger_than_a_run_is_answered_alone(
    room: Callable[[int], EngineInThisProcess], folder: Path
) -> None:
    here, alone = room(2), session.open(folder, "cpu", 1)
    asked = here.pool.submit(here.child(folder).answer, picture(0, count=5))
    here.wait_for(1)
    here.engine.step()
    same(asked.result(10), alone.answer(picture(0, count=5)))


def test_two_models_are_not_run_together(
    room: Callable[[int], EngineInThisProcess], folder: Path, tmp_path: Path
) -> None:
    here = room(8)
    other = write_tiny_model(tmp_path / "other")
    children = [here.child(folder), here.child(other)]
    asked = [here.pool.submit(c.answer, picture(0)) for c in children]
    here.wait_for(2)
    here.engine.step()
    here.engine.step()
    for answer in asked:
        answer.result(10)
    assert [child.together for child in children] == [1, 1]


def test_a_picture_that_does_not_fit_fails_alone(
    room: Callable[[int], EngineInThisProcess], folder: Path
) -> None:
    here = room(8)
    good, bad = here.child(folder), here.child(folder)
    fits = here.pool.submit(good.answer, picture(0))
    does_not = here.pool.submit(bad.answer, np.zeros((1, 1, 8, 8), dtype=np.float32))
    here.wait_for(2)
    here.engine.step()
    fits.result(10)
    with pytest.raises(Transient, match="engine_failed"):
        does_not.result(10)


def test_a_client_that_leaves_before_its_answer_harms_no_other(
    room: Callable[[int], EngineInThisProcess], folder: Path
) -> None:
    here = room(8)
    stays, goes = here.child(folder), here.child(folder)
    gone = here.pool.submit(goes.answer, picture(0))
    asked = here.pool.submit(stays.answer, picture(1))
    here.wait_for(2)
    assert goes._channel is not None
    goes._channel.shutdown(socket.SHUT_RDWR)
    here.engine.step()
    asked.result(10)
    with pytest.raises(Transient, match="engine_lost"):
        gone.result(10)


def test_a_changed_model_is_refused(
    room: Callable[[int], EngineInThisProcess], folder: Path
) -> None:
    here = room(8)
    (folder / "model.bin").write_bytes(b"other")
    started = here.pool.submit(BatchSession, here.path, folder)
    here.wait_for(1)
    here.engine.step()
    with pytest.raises(TamperedModel, match="not the file of its card"):
        started.result(60)


def test_a_worker_starts_although_its_engine_ends_meanwhile(folder: Path, tmp_path: Path) -> None:
    given = {
        "REDIS_URL": "redis://127.0.0.1/0",
        "PLEURA_PORTAL_URL": "http://127.0.0.1:9",
        "PLEURA_WORKER_TOKEN": "token-of-a-worker",
        "PLEURA_WORKER_NAME": "test",
        "PLEURA_WORKER_STATE": str(tmp_path),
        "PLEURA_WEIGHTS": str(folder),
        "PLEURA_BATCH": "2",
    }
    settings = Settings.from_env(given)
    path = settings.engine_socket
    assert path is not None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dying, ThreadPoolExecutor(1) as pool:
        dying.bind(str(path))
        dying.listen()
        started = pool.submit(child_process._load_segmenter, settings)
        dying.accept()[0].close()
        path.unlink()
        with running(path, "cpu", 1, 2):
            assert "openvino" in started.result(60).device


def test_a_folder_without_a_model_is_refused_without_an_engine(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="there is no model"):
        BatchSession(tmp_path / "no-engine", tmp_path)


@pytest.mark.timeout(120)
def test_an_engine_that_is_killed_is_started_again(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "life" / "test.engine"
    with running(path, "cpu", 1, 4):
        child = BatchSession(path, folder)
        first_answer = child.answer(picture(1))
        first = _listener(path)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(Transient, match="engine_lost"):
            child.answer(picture(1))
        assert until(lambda: _listener(path) not in (0, first)), "no engine was started"
        same(child.answer(picture(1)), first_answer)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()


def _listener(path: Path) -> int:
    """The process that listens at this path; 0 where there is none."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = command.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"worker.segment.batch_process" in arguments and str(path).encode() in arguments:
            return int(command.parent.name)
    return 0
