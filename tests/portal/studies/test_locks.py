"""Joins, purges, uploads and the upgrade at the same time: no deadlock, and one exam for a UID.

The interleaving is held still: one transaction stops at a statement until the other waits for it.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from pydicom.uid import generate_uid
from sqlalchemy import select, text

from portal.governance import joins, purges
from portal.models import Instance, PurgeReason, Study
from portal.operations import upgrade
from portal.studies import locks
from tests.support.clinic import Clinic, after
from tests.support.pictures import dicom
from tests.support.wait import only_on_postgresql, stopped_once, until_it_waits


def join(clinic: Clinic, survivor: UUID, absorbed: UUID) -> None:
    with clinic.session as session:
        joins.join(session, clinic.vault, None, survivor, absorbed, after(hours=1))


@pytest.fixture
def pair(clinic: Clinic) -> tuple[UUID, UUID]:
    """Two exams, the one with the smaller id first."""
    one, two = sorted(clinic.done(after(minutes=n)) for n in range(2))
    return one, two


def test_an_upgrade_and_a_join_of_the_same_exams_do_not_wait_for_each_other(
    clinic: Clinic, pair: tuple[UUID, UUID]
) -> None:
    only_on_postgresql(clinic.core.engine)
    first, marked = pair
    with clinic.session as session:
        for study_id in pair:
            row = session.get_one(Study, study_id)
            row.study_uid_key, row.needs_upgrade = "ab" * 32, study_id == marked
            session.flush()
        session.commit()
    with ThreadPoolExecutor(1) as pool, clinic.session as session:

        def join_too() -> None:
            running.append(pool.submit(join, clinic, first, marked))
            until_it_waits(clinic.core.engine, running[0])

        running: list[Future[None]] = []
        with stopped_once(clinic.core.engine, "FOR NO KEY UPDATE", join_too):
            upgrade.upgrade(
                session, clinic.vault, after(hours=1), progress=lambda _done, _all: None
            )
        running[0].result(60)
    with clinic.session as session:
        row = session.get_one(Study, marked)
        assert (row.joined_into, row.needs_upgrade) == (first, False)


def test_a_purge_locks_all_rows_of_the_exam_in_their_order(
    clinic: Clinic, pair: tuple[UUID, UUID]
) -> None:
    """As the rotation of keys does, which holds many rows: here the smaller id, then the larger."""
    only_on_postgresql(clinic.core.engine)
    absorbed, survivor = pair
    join(clinic, survivor, absorbed)

    def purge() -> None:
        with clinic.session as session:
            purges.purge(
                *(session, clinic.vault, clinic.admin, survivor, after(hours=2)),
                reason=PurgeReason.TEST_DATA,
            )

    with ThreadPoolExecutor(1) as pool, clinic.session as rotating:
        row = rotating.get_one(Study, absorbed, with_for_update=True)
        purging = pool.submit(purge)
        until_it_waits(clinic.core.engine, purging)
        rotating.get_one(Study, survivor, with_for_update=True)
        assert row.purged_at is None
        rotating.commit()
        purging.result(60)
    with clinic.session as session:
        assert purges.residual_data(session, clinic.vault, survivor).is_empty


def test_a_lock_of_an_exam_finds_a_job_that_came_in_while_it_waited(
    clinic: Clinic, pair: tuple[UUID, UUID]
) -> None:
    only_on_postgresql(clinic.core.engine)
    uid = str(generate_uid())
    study_id = clinic.submit(dicom(StudyInstanceUID=uid)).study_id

    def lock() -> int:
        with clinic.session as session:
            locks.lock_exams(session, [study_id])
            jobs = session.scalar(
                text("SELECT count(*) FROM jobs WHERE study_id = :id"), {"id": study_id}
            )
            return int(jobs)

    with ThreadPoolExecutor(1) as pool, clinic.session as holding:
        holding.get_one(Study, study_id, with_for_update={"key_share": True})
        waiting = pool.submit(lock)
        until_it_waits(clinic.core.engine, waiting)
        holding.execute(
            text(
                "INSERT INTO jobs (id, kind, state, study_id, idempotency_key, attempts, "
                "failures, losses, priority, created, queued_at) SELECT gen_random_uuid(), "
                "'export', 'queued', study_id, 'export:1', 0, 0, 0, 0, created, created "
                "FROM jobs WHERE study_id = :id"
            ),
            {"id": study_id},
        )
        holding.commit()
        assert waiting.result(60) == 2


@pytest.mark.parametrize("joined_first", [True, False])
def test_a_join_while_pictures_of_one_uid_come_in_leaves_one_exam(
    clinic: Clinic, joined_first: bool
) -> None:
    """Two uploads of one new UID; the exam of the first is joined before the second is stored."""
    uid, host = str(generate_uid()), clinic.done()
    first = list[UUID]()

    def another() -> None:
        study_id = clinic.submit(dicom(StudyInstanceUID=uid), now=after(minutes=1)).study_id
        first.append(study_id)
        if joined_first:
            join(clinic, host, study_id)

    put, stored = clinic.vault.put, list[Any]()

    def put_late(*place: Any, **more: Any) -> Any:
        """The file is written while nothing is locked: in between comes the other upload."""
        if not stored:
            stored.append(True)
            another()
        return put(*place, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clinic.vault, "put", put_late)
        clinic.submit(dicom(StudyInstanceUID=uid), now=after(minutes=2))
    if not joined_first:
        join(clinic, host, first[0])
    last = clinic.submit(dicom(StudyInstanceUID=uid), now=after(minutes=3))
    assert last.study_id == host
    with clinic.session as session:
        pictures = session.scalars(select(Instance.study_id)).all()
    assert pictures == [host] * 4
