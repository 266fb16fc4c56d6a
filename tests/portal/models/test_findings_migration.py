"""Revision 0017: reviews of the version before stay as they are, and every study has its place."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from portal import audit, database
from portal.audit import verification
from portal.models import (
    Finding,
    Instance,
    Prediction,
    Review,
    ReviewSeen,
    SizeClass,
    Study,
    Verdict,
)
from portal.reading import reviews
from portal.studies import worklist_order
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.jobs import REFUSED

LOW = {"band": "none_found", "probability": 0.04}


def add_old_review(clinic: Clinic, study_id: UUID) -> UUID:
    """A review as the version before wrote it: a verdict, and no finding."""
    with clinic.session as session:
        row = Review(
            id=uuid4(),
            study_id=study_id,
            reader_id=clinic.mate.user_id,
            verdict=Verdict.DISAGREE,
            created=NOW,
        )
        session.add(row)
        session.flush()
        picture = session.scalars(select(Instance.id).where(Instance.study_id == study_id)).one()
        result = select(Prediction.id).where(Prediction.instance_id == picture)
        seen = ReviewSeen(
            review_id=row.id, instance_id=picture, prediction_id=session.scalars(result).one()
        )
        session.add(seen)
        worklist_order.place(session, study_id)
        audit.append(session, "review_added", now=NOW, study_id=study_id, bound=[row, seen])
        session.commit()
        return row.id


@pytest.fixture
def old(clinic: Clinic) -> Clinic:
    """A clinic with a study of every group, none with a finding."""
    for minute, changes in enumerate(({}, {"probability": 0.97}, LOW, REFUSED, LOW, {})):
        study_id = clinic.done(after(minutes=minute), **changes)
    clinic.done(after(minutes=7), band="possible", probability=0.6)
    add_old_review(clinic, study_id)
    return clinic


def places(clinic: Clinic) -> dict[UUID, tuple[int, float]]:
    with clinic.session as session:
        return {row.id: (row.rank, row.weight) for row in session.scalars(select(Study))}


def in_order(clinic: Clinic) -> list[tuple[Any, ...]]:
    query = "SELECT rank, band, is_read FROM studies ORDER BY rank, weight, id"
    with clinic.session as session:
        return [(rank, band, bool(read)) for rank, band, read in session.execute(text(query))]


def test_up_and_down_every_study_has_its_place(old: Clinic) -> None:
    placed = places(old)
    database.downgrade(old.core.engine, "0016")
    assert in_order(old) == [
        *[(0, "likely", False)] * 2,
        (0, "possible", False),
        (1, None, False),
        (2, "likely", True),
        *[(2, "none_found", False)] * 2,
    ]
    with old.session as session:  # the likeliest came first, then the newest
        first = "SELECT weight FROM studies ORDER BY rank, weight LIMIT 1"
        assert session.scalar(text(first)) == pytest.approx(-1.97)
    database.upgrade(old.core.engine)
    assert places(old) == placed
    assert [rank for rank, _, _ in in_order(old)] == [0, 0, 0, 1, 2, 2, 3]


def test_old_reviews_are_as_they_were_and_can_only_grow(old: Clinic) -> None:
    database.downgrade(old.core.engine, "0016")
    database.upgrade(old.core.engine)
    with old.session as session:
        row = session.scalars(select(Review)).one()
        assert (row.verdict, row.finding, row.size) == (Verdict.DISAGREE, None, None)
        # Of other tables a later revision may have left out values on the way down.
        bad = verification.verify(session).bad_records
        assert [record for record in bad if record.startswith("review")] == []
    again = (
        "INSERT INTO reviews SELECT * FROM reviews"
        if old.core.engine.dialect.name == "postgresql"
        else "INSERT OR REPLACE INTO reviews SELECT * FROM reviews"
    )
    for statement in ("UPDATE reviews SET verdict = 'agree'", "DELETE FROM reviews", again):
        with old.session as session, pytest.raises(DBAPIError, match=r"append-only|duplicate key"):
            session.execute(text(statement))


def test_the_database_itself_refuses_a_size_without_a_side(clinic: Clinic) -> None:
    study_id = clinic.done()
    for finding in (Finding.NONE, Finding.UNSURE):
        row = Review(
            study_id=study_id,
            reader_id=clinic.mate.user_id,
            verdict=Verdict.UNAIDED,
            finding=finding,
            size=SizeClass.BELOW_10,
            created=NOW,
        )
        with clinic.session as session:
            session.add(row)
            with pytest.raises(IntegrityError):
                session.flush()


def test_findings_are_not_taken_back_to_a_version_that_cannot_store_them(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, study_id, finding="none", now=NOW)
    with pytest.raises(RuntimeError, match="reviews state findings"):
        database.downgrade(clinic.core.engine, "0016")
    assert database.schema_is_current(clinic.core.engine)
