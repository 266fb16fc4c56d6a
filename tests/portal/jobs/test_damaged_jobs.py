"""A damaged page of the ledger: its own jobs wait, every other one goes on."""

from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text, update

from portal import audit
from portal.governance import integrity_state
from portal.jobs import claims, overview, sweeper, workers
from portal.jobs.broker import Broker
from portal.models import Job, JobKind, JobState
from portal.operations import background_check
from portal.studies import status
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.jobs import hello_of
from tests.support.queries.damaged_pages import overwrite_page_of

SILENT = Broker("")
MARK = "mark-of-the-damaged-page"


@dataclass
class Damaged:
    """The job whose row is on the damaged page, and two studies whose jobs are elsewhere."""

    job_id: UUID
    study_id: UUID
    others: list[UUID]


@pytest.fixture
def damaged(clinic: Clinic) -> Damaged:
    return damage(clinic, "queued")


def damage(clinic: Clinic, state: str) -> Damaged:
    """A damaged page in front of many jobs: one on it is in this state, by its index as well."""
    first = clinic.submit()
    assert first.job_id is not None
    done = {"kind": JobKind.DRIFT, "state": JobState.DONE, "created": NOW}
    rows = [done | {"id": uuid4(), "idempotency_key": f"drift:{n}"} for n in range(600)]
    with clinic.session as session:
        session.execute(
            update(Job).where(Job.id == first.job_id).values(error_code=MARK, state=state)
        )
        if state == "running":
            session.execute(
                text("UPDATE jobs SET lease_until = queued_at WHERE error_code = :mark"),
                {"mark": MARK},
            )
        session.execute(insert(Job), rows)  # behind it, on many pages
        session.commit()
    others = [clinic.submit().study_id for _ in range(2)]
    with clinic.session as session:
        session.execute(text("ANALYZE"))
        session.commit()
    overwrite_page_of(clinic.core.engine, "jobs", f"error_code = '{MARK}'", MARK)
    return Damaged(first.job_id, first.study_id, others)


def next_job(clinic: Clinic, queue: JobKind = JobKind.RENDER) -> UUID | None:
    with clinic.session as session:
        found = claims.claim_next(session, clinic.core.settings, clinic.vault, queue, "w", NOW)
    return found.claim.job if found is not None else None


def test_workers_get_every_other_job_and_do_it(clinic: Clinic, damaged: Damaged) -> None:
    wanted = {clinic.job(study).id for study in damaged.others}
    assert clinic.claim(damaged.job_id) is None, "it can't be read, and nothing is raised"
    assert {next_job(clinic), next_job(clinic)} == wanted
    assert next_job(clinic) is None
    with clinic.session as session:
        session.execute(
            update(Job).where(Job.id.in_(wanted)).values(state=JobState.QUEUED, lease_until=None)
        )
        session.commit()
    for study in damaged.others:
        assert next_job(clinic, JobKind.SEGMENT) is None
        segment = clinic.render(study)
        assert next_job(clinic, JobKind.SEGMENT) == segment


@pytest.mark.parametrize("state", ["queued", "running"])
def test_the_sweep_goes_on_and_raises_the_alarm(clinic: Clinic, state: str) -> None:
    damaged = damage(clinic, state)
    job_id = next_job(clinic)
    assert job_id is not None
    with clinic.session as session:
        lost = update(Job).where(Job.id == job_id).values(lease_until=Job.queued_at)
        session.execute(lost, execution_options={"synchronize_session": False})
        session.commit()
        assert sweeper.sweep(session, SILENT, NOW).requeued == 1
    with clinic.session as session:
        workers.hello(session, hello_of("render", name="worker-1"))
        late = {"queued_at": NOW}  # by the database's clock, which is that of today
        session.execute(update(Job).where(Job.id == job_id).values(**late))
        session.commit()
        found = sweeper.sweep(session, SILENT, NOW)
        assert found.stalled == {JobKind.RENDER}
        checked = integrity_state.last(session)
        assert checked is not None
        assert checked.state(NOW) == "damaged"
        assert checked.rows_are_damaged, "so no file is removed"
        assert any("jobs" in one for one in checked.problems)
        assert overview.trouble(session) == "stalled"
        board = overview.board(session)
        (queue,) = (one for one in board.queues if one.kind is JobKind.RENDER)
        assert (queue.queued, queue.running) == (2, 0)
    assert any("jobs" in one for one in background_check.structure(clinic.core.engine)) or (
        clinic.core.engine.dialect.name == "sqlite"
    )
    assert background_check.structure(clinic.core.engine)
    assert clinic.claim(damaged.job_id) is None


def test_cases_whose_jobs_are_elsewhere_are_shown(clinic: Clinic, damaged: Damaged) -> None:
    with clinic.session as session:
        states = status.of_studies(session, damaged.others)
        assert [states[one].state for one in damaged.others] == [status.State.RECEIVED] * 2
        audit.append(session, "tested", now=NOW)
        session.commit()  # the transaction goes on
