"""The sweep and notification: no job is lost when Redis is away, empty or loses messages."""

import json
import logging
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, insert, text

from portal.governance import clock
from portal.jobs import sweeper, workers
from portal.jobs.broker import Broker
from portal.jobs.files import read_input
from portal.models import Blob, BlobKind, Job, JobKind, JobState
from portal.services import redis_client
from tests.portal.vault.test_vault import files
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import hello_of, rendered

SILENT = Broker("")


def test_an_expired_attempt_goes_back_to_the_queue_and_a_spent_one_fails(clinic: Clinic) -> None:
    job_id = clinic.job(clinic.submit().study_id).id
    for hour in range(10):
        assert clinic.claim(job_id, after(hours=hour)) is not None
        with clinic.session as session:
            early = sweeper.sweep(session, SILENT, after(hours=hour, seconds=10))
        clinic.pass_time(after(hours=hour, minutes=30))
        with clinic.session as session:
            late = sweeper.sweep(session, SILENT, after(hours=hour, minutes=30))
        assert (early.requeued, early.gave_up) == (0, 0)
        assert (late.requeued, late.gave_up) == ((1, 0) if hour < 9 else (0, 1))
    with clinic.session as session:
        job = session.get_one(Job, job_id)
        assert (job.state, job.error_code) == (JobState.FAILED, "gave_up")


def test_without_redis_the_sweep_notifies_later(clinic: Clinic, redis_url: str) -> None:
    sent = clinic.submit()
    assert sent.job_id is not None
    gone = Broker("redis+socket:///nowhere/redis.sock")
    with clinic.session as session:
        assert not sweeper.notify(session, gone, sent.job_id)
        assert sweeper.sweep(session, gone, NOW) == sweeper.SweepResult(0, 0, 0, redis=False)
        assert session.get_one(Job, sent.job_id).rung_at is None
    redis = redis_client(redis_url)
    assert redis is not None
    redis.delete("render", "segment")
    broker = Broker(redis_url)
    with clinic.session as session:
        assert sweeper.sweep(session, broker, after(seconds=1)).notified == 1
        assert sweeper.sweep(session, broker, after(seconds=2)).notified == 0, (
            "its message was sent a second ago"
        )
        assert sweeper.sweep(session, broker, after(minutes=5)).notified == 0, (
            "no worker has nothing to do"
        )
    broker.close()


def test_a_job_that_waits_beside_an_idle_worker_is_announced_again(
    clinic: Clinic, redis_url: str
) -> None:
    """However many messages wait in Redis: the worker does not take them."""
    sent, busy = clinic.submit(), clinic.submit()
    redis = redis_client(redis_url)
    assert redis is not None
    redis.delete("render", "segment")
    broker = Broker(redis_url)
    with clinic.session as session:
        assert sweeper.sweep(session, broker, NOW).notified == 2
        workers.hello(session, hello_of("render", name="worker-1"))
        soon = sweeper.sweep(session, broker, after(seconds=5))
        assert (soon.notified, soon.stalled) == (0, frozenset())
    clinic.pass_time(after(seconds=31))
    with clinic.session as session:
        rung = session.get_one(Job, sent.job_id).rung_at
        later = sweeper.sweep(session, broker, after(seconds=31))
        assert (later.notified, later.stalled) == (2, {JobKind.RENDER})
        assert broker.waiting(JobKind.RENDER) == 4
    assert clinic.claim(clinic.job(busy.study_id).id, after(seconds=40)) is not None
    with clinic.session as session:
        workers.hello(session, hello_of("render", name="worker-1"))
        late = sweeper.sweep(session, broker, after(seconds=50))
        assert (late.notified, late.stalled) == (0, frozenset()), "its worker is busy"
        again = session.get_one(Job, sent.job_id, populate_existing=True).rung_at
        assert rung is not None
        assert again is not None
        # The claim has let nine more seconds pass since it was announced again.
        assert again >= rung + timedelta(seconds=31 - 9), "by the database's clock, once"
    broker.close()
    redis.delete("render", "segment")


def test_by_a_clock_that_has_jumped_no_job_seems_to_wait(clinic: Clinic) -> None:
    """The alarm pauses, as on pages and in readiness; the sweep's own work goes on."""
    sent, jumped = clinic.submit(), after(days=400)
    with clinic.session as session:
        workers.hello(session, hello_of("render", name="worker-1"))
        waiting = session.get_one(Job, sent.job_id)
        waiting.queued_at -= timedelta(seconds=31)
        session.commit()
        assert sweeper.sweep(session, SILENT, jumped).stalled == frozenset()
        clock.confirm(session, clinic.admin, jumped)
        assert sweeper.sweep(session, SILENT, jumped).stalled == {JobKind.RENDER}
    job_id = clinic.job(sent.study_id).id
    assert clinic.claim(job_id, jumped) is not None
    clinic.pass_time(after(days=900))
    with clinic.session as session:
        assert sweeper.sweep(session, SILENT, after(days=900)).requeued == 1


def test_by_a_clock_that_has_jumped_no_job_is_announced_again(
    clinic: Clinic, redis_url: str
) -> None:
    """What was announced when goes by the database's clock, as leases do."""
    sent = clinic.submit()
    redis = redis_client(redis_url)
    assert redis is not None
    redis.delete("render", "segment")
    broker = Broker(redis_url)
    with clinic.session as session:
        assert sent.job_id is not None
        assert sweeper.notify(session, broker, sent.job_id)
        workers.hello(session, hello_of("render", name="worker-1"))
        for wrong in (after(days=400), after(days=-400)):
            assert sweeper.sweep(session, broker, wrong).notified == 0
        assert broker.waiting(JobKind.RENDER) == 1
    clinic.pass_time(after(seconds=11))
    with clinic.session as session:
        assert sweeper.sweep(session, broker, after(days=-400)).notified == 1
    broker.close()
    redis.delete("render", "segment")


def test_a_message_holds_the_jobs_id_and_nothing_else(clinic: Clinic, redis_url: str) -> None:
    redis = redis_client(redis_url)
    assert redis is not None
    redis.delete("render", "segment")
    sent = clinic.submit()
    assert sent.job_id is not None
    broker = Broker(redis_url)
    with clinic.session as session:
        assert sweeper.notify(session, broker, sent.job_id)
        assert session.get_one(Job, sent.job_id).rung_at is not None
    assert broker.waiting(JobKind.RENDER) == 1
    message = json.loads(redis.lindex("render", 0))
    assert message["headers"]["task"] == "pleura.render"
    assert message["content-type"] == "application/json"
    import base64

    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs) == ([str(sent.job_id)], {})
    assert "eta" not in str(message["headers"]) or message["headers"]["eta"] is None
    assert str(sent.study_id) not in str(message)
    broker.close()
    redis.delete("render", "segment")


def test_a_job_that_is_not_there_is_not_notified(clinic: Clinic, redis_url: str) -> None:
    broker = Broker(redis_url)
    with clinic.session as session:
        assert not sweeper.notify(session, broker, uuid4())
    assert not broker.notify(JobKind.EXPORT, uuid4())
    broker.close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis+socket://:pw@/nowhere/x.sock", ""])
def test_without_redis_notifying_fails_at_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker(url)
    began = time.monotonic()
    with caplog.at_level(logging.DEBUG):
        assert not broker.notify(JobKind.RENDER, uuid4())
        assert broker.waiting(JobKind.RENDER) is None
    assert time.monotonic() - began < 30
    assert "pw" not in caplog.text
    broker.close()


def old(path: Path) -> None:
    """Make a file as old as yesterday."""
    moment = (datetime.now(UTC) - timedelta(days=1)).timestamp()
    os.utime(path, (moment, moment))


def test_files_that_belong_to_nothing_are_removed_and_others_stay(clinic: Clinic) -> None:
    ticket = clinic.claim(clinic.job(clinic.submit().study_id).id)
    assert ticket is not None
    clinic.store(ticket, **rendered(8, 6))
    assert clinic.claim(ticket.job_id, after(hours=1)) is not None  # the first attempt is lost
    folder = clinic.core.data_dir / "blobs"
    half = folder / "incoming" / "half.1"
    orphan = folder / "07" / ("07" + "a" * 30 + "-1")
    orphan.parent.mkdir(exist_ok=True)
    foreign = orphan.with_name("notes.txt")  # not the vault's: left alone, and no stumbling block
    for path in (half, orphan, foreign):
        path.write_bytes(b"x")
    now = datetime.now(UTC)
    now = (
        now.replace(second=0)
        - timedelta(minutes=int(now.timestamp()) // 60 % 256)
        + (timedelta(minutes=7 + 256))
    )
    with clinic.session as session:
        assert sweeper.tidy(session, clinic.vault, datetime.now(UTC)) == 3, (
            "the lost attempt's outputs"
        )
    for path in files(clinic.core.data_dir):
        old(path)
    with clinic.session as session:
        assert sweeper.tidy(session, clinic.vault, now) == 2
    left = files(clinic.core.data_dir)
    assert len(left) == 2
    assert foreign in left
    with clinic.session as session:
        again = clinic.claim(ticket.job_id, after(hours=3))
        assert again is not None
        assert read_input(session, clinic.vault, again, "source")[0]


def test_files_that_are_not_current_are_found_by_their_index(clinic: Clinic) -> None:
    """However many files there are: the sweep asks each minute, and nearly all are current."""
    job = clinic.job(clinic.submit().study_id)
    asked = list[tuple[str, Any]]()
    with clinic.session as session:
        many = {
            "study_id": job.study_id,
            "instance_id": job.instance_id,
            "kind": BlobKind.REVIEW_MASK,
            "size": 1,
            "media_type": "image/png",
            "current": True,
            "created": NOW,
        }
        rows = [many | {"id": uuid4(), "name": f"{uuid4().hex}-1"} for _ in range(5000)]
        session.execute(insert(Blob), rows)
        session.execute(text("ANALYZE"))
        session.commit()
        engine = clinic.core.engine

        def note(_c: Any, _k: Any, statement: str, parameters: Any, *_more: Any) -> None:
            asked.append((statement, parameters))

        event.listen(engine, "before_cursor_execute", note)
        sweeper.tidy(session, clinic.vault, NOW)
        event.remove(engine, "before_cursor_execute", note)
        statement, parameters = next(one for one in asked if "FROM blobs JOIN jobs" in one[0])
        sqlite = engine.dialect.name == "sqlite"
        explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
        plan = session.connection().exec_driver_sql(explain + statement, parameters).all()
        assert "ix_blobs_not_current" in "\n".join(str(row[-1]) for row in plan)
