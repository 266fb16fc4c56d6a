"""What a reader draws: a draft that nobody else sees, kept by each review, sealed, gone with the
case.
"""

import json
import math
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from portal.access import Denied
from portal.errors import Invalid
from portal.governance import purge_proofs, purges
from portal.models import (
    AuditEvent,
    Instance,
    PurgeReason,
    ReviewAnnotations,
    ReviewDraft,
    Study,
)
from portal.reading import reviews
from portal.reading.case import open_study
from portal.reading.viewing import drafts
from portal.studies import sealed_fields
from portal.studies.sealed_fields import Annotation
from portal.vault import NONCE_BYTES, NotReadable
from tests.support.clinic import Clinic, after
from tests.support.core import NOW

RULER = {"kind": "ruler", "line": [1.5, 2.0, 30.25, 40.0], "text": ""}
ARROW = {"kind": "arrow", "line": [0, 0, 5, 5], "text": "  border of ZEBRA’s \u202e lung "}
DRAWN = [RULER, ARROW]
READ = [
    Annotation("ruler", (1.5, 2.0, 30.25, 40.0)),
    Annotation("arrow", (0.0, 0.0, 5.0, 5.0), "border of ZEBRA’s lung"),
]


def picture_of(clinic: Clinic, study_id: UUID) -> UUID:
    with clinic.session as session:
        return session.scalars(select(Instance.id).where(Instance.study_id == study_id)).one()


def save(clinic: Clinic, study_id: UUID, sent: Any, actor: Any = None, **other: UUID) -> None:
    picture = other.get("picture") or picture_of(clinic, study_id)
    actor = actor or clinic.mate
    with clinic.session as session:
        after = drafts.draft_of(session, clinic.vault, actor, picture).version
    versions = (after, uuid4().hex if sent else "")
    with clinic.session as session:
        drafts.save(session, clinic.vault, actor, study_id, picture, sent, versions, NOW)


def read(clinic: Clinic, study_id: UUID, actor: Any = None) -> list[Annotation]:
    return list(draft_of(clinic, study_id, actor).annotations)


def draft_of(clinic: Clinic, study_id: UUID, actor: Any = None) -> drafts.Draft:
    picture = picture_of(clinic, study_id)
    with clinic.session as session:
        return drafts.draft_of(session, clinic.vault, actor or clinic.mate, picture)


def save_after(clinic: Clinic, study_id: UUID, sent: Any, after: Any, version: Any) -> None:
    """As a page saves that had the draft of `after`."""
    with clinic.session as session:
        picture = session.scalars(select(Instance.id).where(Instance.study_id == study_id)).one()
        drafts.save(
            *(session, clinic.vault, clinic.mate, study_id, picture, sent, (after, version), NOW)
        )


FIRST, SECOND, THIRD = ("a" * 32, "b" * 32, "c" * 32)


def test_what_another_window_has_stored_is_not_overwritten(clinic: Clinic) -> None:
    study_id = clinic.done()
    save_after(clinic, study_id, [RULER], "", FIRST)
    # A second window, which was opened before that, and one that has not seen the next one.
    for known in ("", SECOND):
        with pytest.raises(drafts.Changed, match="another window") as refused:
            save_after(clinic, study_id, [ARROW], known, THIRD)
        assert refused.value.draft == drafts.Draft(READ[:1], FIRST)
    with pytest.raises(drafts.Changed):
        save_after(clinic, study_id, [], "", "")
    assert draft_of(clinic, study_id) == drafts.Draft(READ[:1], FIRST)
    save_after(clinic, study_id, [RULER, ARROW], FIRST, SECOND)
    save_after(clinic, study_id, [RULER, ARROW], FIRST, SECOND)  # sent again
    assert draft_of(clinic, study_id) == drafts.Draft(READ, SECOND)
    save_after(clinic, study_id, [], SECOND, "")
    with pytest.raises(drafts.Changed) as refused:
        save_after(clinic, study_id, [RULER], SECOND, THIRD)
    assert refused.value.draft == drafts.NO_DRAFT
    save_after(clinic, study_id, [RULER], "", THIRD)
    assert draft_of(clinic, study_id) == drafts.Draft(READ[:1], THIRD)


@pytest.mark.parametrize("wrong", [None, 1, "x", "A" * 32, "a" * 31, "a" * 33, ["a"], "٣" * 32])
def test_a_save_without_versions_is_refused(clinic: Clinic, wrong: Any) -> None:
    study_id = clinic.done()
    for known, version in ((wrong, FIRST), ("", wrong), ("", "")):
        with pytest.raises(Invalid, match="Reload the page"):
            save_after(clinic, study_id, [RULER], known, version)
    assert draft_of(clinic, study_id) == drafts.NO_DRAFT


def test_a_draft_comes_back_to_its_reader_alone(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, DRAWN)
    assert read(clinic, study_id) == READ
    assert read(clinic, study_id, clinic.owner) == []
    save(clinic, study_id, DRAWN[:1])
    assert len(read(clinic, study_id)) == 1
    save(clinic, study_id, [])
    with clinic.session as session:
        assert session.scalar(select(func.count()).select_from(ReviewDraft)) == 0


def test_each_save_is_one_row_of_the_log(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, DRAWN)
    with clinic.session as session:
        rows = session.scalars(
            select(AuditEvent).where(AuditEvent.event == "annotations_saved")
        ).all()
    assert [(row.study_id, row.subject_id) for row in rows] == [
        (study_id, picture_of(clinic, study_id))
    ]


def test_a_draft_is_sealed_in_its_place(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, [RULER | {"line": [1234.5, 6, 7, 8]}, ARROW])
    with clinic.session as session:
        draft = session.scalars(select(ReviewDraft)).one()
        assert b"1234.5" not in draft.sealed_rulers
        assert b"ZEBRA" not in draft.sealed_rulers
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
        *(None, {}, "x", [1], [[1, 2, 3, 4]], [RULER] * 51, [{"kind": "ruler"}]),
        *([RULER | {"line": line}] for line in ([1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, True], 1)),
        *([RULER | {"line": [0, 0, 0, far]}] for far in (math.nan, math.inf, 1e9, 10**400)),
        *([RULER | {"text": "x"}], [ARROW | {"text": 1}], [ARROW | {"kind": "circle"}]),
        [ARROW | {"text": "x" * 81}],
    ],
)
def test_what_is_no_annotation_is_refused(clinic: Clinic, sent: Any) -> None:
    study_id = clinic.done()
    with pytest.raises(Invalid):
        save(clinic, study_id, sent)
    assert read(clinic, study_id) == []


def test_only_who_may_review_the_case_draws_in_it(clinic: Clinic) -> None:
    study_id = clinic.done()
    for actor in (clinic.owner, clinic.outsider, clinic.admin):
        with pytest.raises(Denied):
            save(clinic, study_id, DRAWN, actor)
    with pytest.raises(Invalid):
        save(clinic, study_id, DRAWN, picture=uuid4())


def _marks(session: Session, study_id: UUID) -> list[str]:
    """What a purge looks for in old pages of the database."""
    return purge_proofs.ToDestroy.of(session, session.get_one(Study, study_id)).marks()


def test_a_purge_removes_the_draft_and_counts_it(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, DRAWN)
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
        save(clinic, study_id, DRAWN, picture=uuid4())


def review(clinic: Clinic, study_id: UUID, finding: str = "none", minutes: int = 1) -> UUID | None:
    """The id of the new review; None where nothing was added."""
    with clinic.session as session:
        saved = reviews.add_review(
            *(session, clinic.vault, clinic.mate, study_id),
            finding=finding,
            now=after(minutes=minutes),
        )
        return saved.review.id if saved.is_new else None


def kept(clinic: Clinic, study_id: UUID, actor: Any = None) -> dict[UUID, list[Annotation]]:
    """What each review keeps of the exam's picture."""
    picture = picture_of(clinic, study_id)
    with clinic.session as session:
        view = open_study(session, clinic.vault, actor or clinic.mate, study_id, NOW)
    return {one.review_id: one.annotations.get(picture, []) for one in view.reviews}


def test_each_review_keeps_what_was_drawn_then(clinic: Clinic) -> None:
    study_id = clinic.done()
    first = review(clinic, study_id)
    save(clinic, study_id, DRAWN)
    second = review(clinic, study_id, minutes=2)  # the same finding, but more is drawn
    assert second is not None
    assert review(clinic, study_id, minutes=3) is None
    save(clinic, study_id, DRAWN[:1])
    third = review(clinic, study_id, "right", minutes=4)
    save(clinic, study_id, [])
    assert kept(clinic, study_id) == {first: [], second: READ, third: READ[:1]}
    assert kept(clinic, study_id, clinic.owner) == kept(clinic, study_id)


def test_what_a_review_keeps_is_sealed_and_bound_and_gone_with_the_case(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, DRAWN)
    review(clinic, study_id)
    with clinic.session as session:
        row = session.scalars(select(ReviewAnnotations)).one()
        assert b"ZEBRA" not in row.sealed_annotations
        event = session.scalars(select(AuditEvent).where(AuditEvent.event == "review_added")).one()
        assert any(
            name.startswith("review_annotations") for name in json.loads(event.detail)["bound"]
        )
        purges.purge(
            *(session, clinic.vault, clinic.admin, study_id, after(minutes=1)),
            reason=PurgeReason.TEST_DATA,
        )
        instance = session.get_one(Instance, row.instance_id, populate_existing=True)
        with pytest.raises(NotReadable):
            sealed_fields.instance_key_of(clinic.vault, instance)


def test_a_review_goes_on_where_a_draft_is_damaged(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, DRAWN)
    with clinic.session as session:
        session.scalars(select(ReviewDraft)).one().sealed_rulers = b"\1" * 60
        session.commit()
    found = review(clinic, study_id)
    assert kept(clinic, study_id) == {found: []}


def test_a_draft_of_a_version_before_opens(clinic: Clinic) -> None:
    study_id = clinic.done()
    save(clinic, study_id, DRAWN)
    with clinic.session as session:
        draft = session.scalars(select(ReviewDraft)).one()
        instance = session.get_one(Instance, draft.instance_id)
        aad = f"review_drafts:{instance.id}:{draft.reader_id}:rulers"
        key = sealed_fields.instance_key_of(clinic.vault, instance)
        draft.sealed_rulers = clinic.vault.seal(key, aad, b"[[1.5, 2.0, 30.25, 40.0]]")
        session.commit()
    assert read(clinic, study_id) == READ[:1]
