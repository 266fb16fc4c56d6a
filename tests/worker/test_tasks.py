"""worker.tasks: what becomes of a message, and of its acknowledgement."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import ModuleType
from uuid import uuid4

import pytest
from kombu import Connection
from kombu.message import Message

from tests.worker.test_celery_app import GIVEN
from worker.client.portal_client import PortalClient
from worker.contract.job import TASKS, JobKind
from worker.job_source import JobSource
from worker.settings import Settings


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    from worker import tasks

    return tasks


@pytest.fixture
def source(tasks: ModuleType) -> Iterator[JobSource]:
    client = PortalClient(Settings.from_env(GIVEN), JobKind.RENDER)
    source = JobSource(JobKind.RENDER, client, threading.Event())
    tasks.hand_over_to(source)
    yield source
    client.close()


@pytest.mark.parametrize("text", ["../../etc/passwd", "", None, 7, ["x"]])
def test_a_message_without_a_job_id_is_dropped(
    tasks: ModuleType, source: JobSource, text: str
) -> None:
    tasks.announce(text, JobKind.RENDER)
    assert source._ids.empty()


def test_a_message_of_the_other_queue_is_dropped(tasks: ModuleType, source: JobSource) -> None:
    job_id = uuid4()
    tasks.announce(str(job_id), JobKind.SEGMENT)
    assert source._ids.empty()
    tasks.announce(str(job_id), JobKind.RENDER)
    assert source._ids.get_nowait() == job_id


def test_a_message_that_redis_did_not_take_back_is_noticed(tasks: ModuleType) -> None:
    with Connection("memory://") as connection:
        queue = connection.SimpleQueue("test")
        for number in range(2):
            queue.put(number)
        taken, lost = (queue.get(timeout=5) for _ in range(2))
        assert isinstance(lost, Message)
        began = time.monotonic()
        tasks._acknowledged[:] = [(began - 30.0, taken), (began - 20.0, lost)]
        taken.ack()
        assert 20.0 <= tasks.oldest_unacknowledged() < 30.0
        lost.ack()
        assert tasks.oldest_unacknowledged() == 0.0
        queue.close()


@pytest.mark.parametrize("kind", TASKS)
def test_whatever_is_acknowledged_is_looked_after(tasks: ModuleType, kind: JobKind) -> None:
    """Celery logs a connection that is gone and goes on, as the first `on_ack` here does."""
    task = tasks.app.tasks[TASKS[kind]]
    tasks._acknowledged.clear()
    with Connection("memory://") as connection:
        queue = connection.SimpleQueue(f"test-{kind}")
        queue.put([[], {}, {}], headers={"id": "1", "task": task.name})
        message = queue.get(timeout=5)
        lost = task.Request(message, app=tasks.app, task=task, on_ack=lambda *_: None)
        lost.acknowledge()
        assert tasks.oldest_unacknowledged() > 0
        task.Request(message, app=tasks.app, task=task, on_ack=message.ack_log_error).acknowledge()
        assert tasks.oldest_unacknowledged() == 0.0
        queue.close()
