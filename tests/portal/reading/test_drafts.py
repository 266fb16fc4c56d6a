"""Rulers of a reader: kept with their draft, sealed, seen by nobody else, gone with the case."""

import math
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from portal.access import Denied
from portal.errors import Invalid
from portal.governance import purge_proofs, purges
from portal.models import AuditEvent, Instance, PurgeReason, ReviewDraft, Study
from portal.reading import drafts
from portal.vault import NONCE_BYTES
from tests.support.clinic import Clinic, after
from tests.support.core import NOW

RULERS = [[1.5, 2.0, 30.25, 40.0], [0, 0, 5, 5]]


def picture_of(clinic: Clinic, study_id: UUID) -> UUID:
    with clinic.session as session:
        return session.scalars(select(Instance.id).where(Instance.study_id == study_id)).one()


def save(clinic: Clinic, study_id: UUID, sent: Any, actor: Any = None, **other: UUID) -> None:
    picture = other.get("picture") or picture_of(clinic, study_id)
    with clinic.session as session:
        drafts.save_rulers(
            session, clinic.vault, actor or clinic.mate, study_id, picture, sent, NOW
        )


def read(clinic: Clinic, study_id: UUID, actor: Any = None) -> list[drafts.Ruler]:
    picture = picture_of(clinic, study_id)
    with clinic.session as session:
        return drafts.rulers_of(session, clinic.vault, actor or clinic.mate, picture)


def test_rulers_come_back_to_their_reader_alone(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, RULERS)
    assert read(clinic, study_id) == [tuple(map(float, ruler)) for ruler in RULERS]
    assert read(clinic, study_id, clinic.owner) == []
    save(clinic, study_id, RULERS[:1])
    assert len(read(clinic, study_id)) == 1
    save(clinic, study_id, [])
    with clinic.session as session:
        assert session.scalar(select(func.count()).select_from(ReviewDraft)) == 0


def test_each_save_is_one_row_of_the_log(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, RULERS)
    with clinic.session as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.event == "rulers_saved")).all()
    assert [(row.study_id, row.subject_id) for row in rows] == [
        (study_id, picture_of(clinic, study_id))
    ]


def test_rulers_are_sealed_in_their_place(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, [[1234.5, 6, 7, 8]])
    with clinic.session as session:
        draft = session.scalars(select(ReviewDraft)).one()
        assert b"1234.5" not in draft.sealed_rulers
        session.execute(text("UPDATE review_drafts SET reader_id = :other"), _other(clinic))
        session.commit()
    # Another reader's row does not open as one's own.
    assert read(clinic, study_id, clinic.outsider) == []


def _other(clinic: Clinic) -> dict[str, str]:
    plain = clinic.outsider.user_id
    is_sqlite = clinic.core.engine.dialect.name == "sqlite"
    return {"other": plain.hex if is_sqlite else str(plain)}


@pytest.mark.parametrize(
    "sent",
    [
        *(None, {}, "x", [1], [[1, 2, 3]], [[1, 2, 3, "4"]], [[1, 2, 3, True]]),
        *([[0, 0, 0, math.nan]], [[0, 0, 0, 1e9]], [[0, 0, 1, 1]] * 51),
    ],
)
def test_what_are_no_rulers_is_refused(clinic: Clinic, sent: Any) -> None:
    study_id = clinic.done()
    with pytest.raises(Invalid):
        save(clinic, study_id, sent)


def test_only_who_may_review_the_case_draws_in_it(clinic: Clinic) -> None:
    study_id = clinic.done()
    for actor in (clinic.owner, clinic.outsider, clinic.admin):
        with pytest.raises(Denied):
            save(clinic, study_id, RULERS, actor)
    with pytest.raises(Invalid):
        save(clinic, study_id, RULERS, picture=uuid4())


def _marks(session: Session, study_id: UUID) -> list[str]:
    """What a purge looks for in old pages of the database."""
    return purge_proofs.ToDestroy.of(session, session.get_one(Study, study_id)).marks()


def test_a_purge_removes_the_rulers_and_counts_them(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, RULERS)
    with clinic.session as session:
        sealed = session.scalars(select(ReviewDraft.sealed_rulers)).one()
    with clinic.session as session:
        assert sealed[:NONCE_BYTES].hex() in _marks(session, study_id)
        session.commit()
        purges.purge(
            *(session, clinic.vault, clinic.admin, study_id, after(minutes=1)),
            reason=PurgeReason.TEST_DATA,
        )
        assert session.scalar(select(func.count()).select_from(ReviewDraft)) == 0
        assert purges.residual_data(session, clinic.vault, study_id).is_empty
    with pytest.raises(Denied):
        save(clinic, study_id, RULERS, picture=uuid4())
