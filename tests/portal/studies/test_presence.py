"""Who is there, who has nothing to do and who lacks the model, by the database's clock."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from portal.database import DatabaseTime
from portal.jobs import claims, overview, workers
from portal.models import Instance, Job, JobKind, Worker
from portal.studies import presence
from portal.studies.presence import Presence
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import hello_of

SEGMENT = JobKind.SEGMENT


def hello(clinic: Clinic, name: str, slots: int = 1) -> None:
    with clinic.session as session:
        workers.hello(session, hello_of("segment", name=name, slots=slots))


def idle(clinic: Clinic) -> bool:
    with clinic.session as session:
        return presence.has_idle_worker(session, SEGMENT)


def found(clinic: Clinic) -> Presence:
    with clinic.session as session:
        return presence.present(session)


@pytest.mark.parametrize(
    ("seconds", "is_there"), [(0, True), (-60, True), (-80, False), (80, False)]
)
def test_a_worker_is_there_by_the_databases_clock(
    clinic: Clinic, seconds: float, is_there: bool
) -> None:
    hello(clinic, "w")
    with clinic.session as session:
        seen = session.scalars(select(Worker.last_seen)).one()
        assert abs(seen - datetime.now(UTC)) < timedelta(seconds=30)
        session.execute(update(Worker).values(last_seen=DatabaseTime(seconds)))
        session.commit()
    assert (SEGMENT in found(clinic).queues, idle(clinic)) == (is_there, is_there)


def test_a_worker_for_several_jobs_is_idle_as_long_as_one_place_is_free(clinic: Clinic) -> None:
    """One of the version before reports no places: it is idle where it has no job."""
    jobs = [clinic.render(clinic.submit().study_id) for _ in range(3)]
    hello(clinic, "worker-1", slots=2)  # the name that claims here
    assert clinic.claim(jobs[0]) is not None
    assert idle(clinic)
    clinic.pass_time(after(seconds=31))
    with clinic.session as session:
        assert presence.stalled_queues(session) == {SEGMENT}
    assert clinic.claim(jobs[1]) is not None
    assert not idle(clinic)
    with clinic.session as session:
        assert presence.stalled_queues(session) == frozenset()
        workers.hello(session, hello_of("segment", name="worker-1"))
        assert session.scalars(select(Worker.slots)).one() == 1


def test_jobs_whose_model_no_worker_has_are_no_queue_that_stands_still(clinic: Clinic) -> None:
    clinic.render(clinic.submit().study_id)
    job_id = clinic.render(clinic.submit().study_id)
    hello(clinic, "worker-1")
    ticket = clinic.claim(job_id)
    assert ticket is not None
    clinic.fail(ticket, "model_missing", "permanent")
    clinic.pass_time(after(seconds=50))
    with clinic.session as session:
        assert presence.stalled_queues(session) == frozenset()
    assert (found(clinic), idle(clinic)) == (Presence(frozenset({SEGMENT}), True), False)
    hello(clinic, "another")  # which may have it
    assert (found(clinic).lacks_model, idle(clinic)) == (False, True)
    with clinic.session as session:
        assert presence.stalled_queues(session) == {SEGMENT}


def test_a_worker_that_does_not_even_try_again_stands_still(clinic: Clinic) -> None:
    """A minute later it asks again, and has or lacks the model: what hangs does neither."""
    job_id = clinic.render(clinic.submit().study_id)
    ticket = clinic.claim(job_id)
    assert ticket is not None
    clinic.fail(ticket, "model_missing", "permanent")
    clinic.pass_time(NOW + timedelta(seconds=presence.LACKS_FOR + 1))
    hello(clinic, "worker-1")
    with clinic.session as session:
        assert presence.stalled_queues(session) == {SEGMENT}
    assert not found(clinic).lacks_model


def test_another_model_that_is_promoted_may_be_there(clinic: Clinic) -> None:
    job_id = clinic.render(clinic.submit().study_id)
    hello(clinic, "worker-1")
    ticket = clinic.claim(job_id)
    assert ticket is not None
    with clinic.session as session:
        session.execute(update(Job).values(model_sha256="cd" * 32))  # it was asked for that one
        session.commit()
    clinic.fail(ticket, "model_missing", "permanent")
    assert (found(clinic).lacks_model, idle(clinic)) == (False, True)
    assert clinic.claim(job_id) is not None


def test_an_outline_that_waits_to_be_measured_beside_an_idle_worker_stands_still(
    clinic: Clinic,
) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        instance = session.scalars(select(Instance).where(Instance.study_id == study_id)).one()
        claims.enqueue(session, JobKind.MEASURE, NOW, instance=instance, target=str(uuid4()))
        session.commit()
    clinic.pass_time(after(seconds=31))
    with clinic.session as session:
        assert presence.stalled_queues(session) == frozenset(), "no worker is there"
        assert overview.trouble(session) == ""
    hello(clinic, "w")
    with clinic.session as session:
        assert presence.stalled_queues(session) == {JobKind.MEASURE}
        assert overview.board(session).stalled == {JobKind.MEASURE}
        assert overview.trouble(session) == "stalled"
