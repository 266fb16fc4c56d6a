"""What a row of worklist or history holds, opened for the page that shows it.

A row that can't be read hides no other: it is shown as damaged.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import database
from portal.access import Actor
from portal.models import Blob, BlobKind, Instance, Review, Study, User, View
from portal.reading.lists import claims
from portal.reading.lists.claims import Claim
from portal.studies import exams, sealed_fields, status
from portal.studies.sealed_fields import Patient
from portal.studies.second_reads.blindness import Readings
from portal.studies.status import StudyState
from portal.teams import ai_visibility
from portal.vault import NotReadable, Vault, WantedFile

MOST_OTHERS: Final = 3


@dataclass(frozen=True, slots=True)
class OtherPicture:
    """A further picture of the exam. `is_frontal`: None where the header names no view."""

    view: View
    is_frontal: bool | None
    thumb: bytes | None = field(repr=False)
    media_type: str


@dataclass(frozen=True, slots=True)
class WorklistRow:
    """One line of the list, with the picture that stands for the study (`exams.leading`).

    The thumbnail comes along as bytes, for a `data:` address, as do those of the `others`: the
    frontal ones first, at most `MOST_OTHERS`; `more` is how many are not among them.
    """

    study_id: UUID
    case_number: str
    created: datetime | None  # None where the row is damaged
    patient: Patient
    view: str | None
    age_years: float | None
    sex: str | None
    uploaded_by: str
    thumb: bytes | None = field(repr=False)
    thumb_media_type: str | None
    state: StudyState
    reader: str | None
    is_old: bool = False  # from an archive, see `Study.is_old`
    damaged: bool = False  # its row, record or key: nothing of the patient can be shown
    read_at: datetime | None = None  # when the actor last read or sent it, in their history
    claim: Claim | None = None  # who reads it just now
    others: tuple[OtherPicture, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Changing:
    """What changes in rows while a list is open: states, who read last, who reads just now; and
    which of it a person may not see yet.
    """

    states: Mapping[UUID, StudyState]
    readers: Mapping[UUID, str]
    claims: Mapping[UUID, Claim]
    reads: Readings

    @classmethod
    def of(
        cls,
        session: Session,
        ids: Sequence[UUID],
        now: datetime,
        hidden: Collection[UUID] = (),
    ) -> "Changing":
        """That of these exams; the caller has checked that they may be seen. `hidden`: those of
        which the AI's part may not be.
        """
        return cls(
            status.of_studies(session, ids, hidden),
            readers(session, ids) if ids else {},
            claims.of_studies(session, ids, now) if ids else {},
            ai_visibility.readings(session, ids),
        )

    def seen(self, actor: Actor, study_id: UUID) -> tuple[StudyState, str | None, Claim | None]:
        """State, last reader and claim of an exam as the actor sees them."""
        claim = self.claims.get(study_id)
        if claim is not None and self.reads.hides(actor, study_id, claim.reader_id):
            claim = None
        is_blind = self.reads.is_blind(actor, study_id)
        reader = None if is_blind else self.readers.get(study_id)
        return self.reads.seen(actor, self.states[study_id]), reader, claim


def rows(
    session: Session, vault: Vault, actor: Actor, ids: Sequence[UUID], now: datetime
) -> list[WorklistRow]:
    """The rows of these studies in this order as the actor may see them; one that the database
    can't read is `damaged`.
    """
    if not ids:
        return []
    found, damaged = database.read_readable(
        session, ids, lambda some: _rows(session, vault, actor, some, now)
    )
    return [_unreadable(i) if i in damaged else found[i] for i in ids if i in damaged or i in found]


def _unreadable(study_id: UUID) -> WorklistRow:
    return WorklistRow(
        study_id=study_id,
        case_number=study_id.hex[:6].upper(),
        created=None,
        patient=Patient(),
        view=None,
        age_years=None,
        sex=None,
        uploaded_by="",
        thumb=None,
        thumb_media_type=None,
        state=status.unreadable(study_id),
        reader=None,
        damaged=True,
    )


def _rows(
    session: Session, vault: Vault, actor: Actor, ids: Sequence[UUID], now: datetime
) -> dict[UUID, WorklistRow]:
    parts = Changing.of(session, ids, now, ai_visibility.hidden(session, actor, ids))
    # None while another transaction joins the exam into another.
    pictures = {i: rows for i, rows in exams.pictures(session, ids).items() if rows}
    leading = {study_id: exams.leading(rows) for study_id, rows in pictures.items()}
    others = {
        study_id: sorted(
            (row for row in rows if row is not leading[study_id]),
            key=lambda row: not row.view.is_frontal,
        )
        for study_id, rows in pictures.items()
    }
    shown = [row for rows in others.values() for row in rows[:MOST_OTHERS]]
    shown += leading.values()
    thumbs = {
        blob.instance_id: blob
        for blob in session.scalars(
            select(Blob).where(
                Blob.instance_id.in_([row.id for row in shown]),
                Blob.kind == BlobKind.THUMB,
                Blob.current,
            )
        )
    }
    found = {
        study.id: (study, leading[study.id], uploader)
        for study, uploader in session.execute(
            select(Study, User.name)
            .join(User, User.id == Study.uploaded_by)
            .where(Study.id.in_(leading))
        )
    }
    keys = {row.id: _key(vault, row) for row in shown}
    data = _pictures(vault, keys, thumbs)
    return {
        study.id: _row(
            vault,
            study,
            instance,
            keys[instance.id],
            uploader,
            thumbs.get(instance.id),
            data.get(instance.id),
            *parts.seen(actor, study.id),
            _others(others[study.id][:MOST_OTHERS], thumbs, data),
            max(0, len(others[study.id]) - MOST_OTHERS),
        )
        for study, instance, uploader in found.values()
    }


def _others(
    rows: Sequence[Instance], thumbs: Mapping[UUID, Blob], data: Mapping[UUID, bytes | None]
) -> tuple[OtherPicture, ...]:
    return tuple(
        OtherPicture(
            view=row.view,
            is_frontal=None if row.view is View.UNKNOWN else row.view.is_frontal,
            thumb=data.get(row.id),
            media_type=thumbs[row.id].media_type if row.id in thumbs else "",
        )
        for row in rows
    )


def _key(vault: Vault, instance: Instance) -> bytes | None:
    """The picture's data key; None where it does not open: one damaged record hides no other."""
    try:
        return sealed_fields.instance_key_of(vault, instance)
    except NotReadable:
        return None


def _pictures(
    vault: Vault, keys: Mapping[UUID, bytes | None], thumbs: Mapping[UUID, Blob]
) -> dict[UUID, bytes | None]:
    """The thumbnails by picture, read together. One that can't be read leaves a gap in the list;
    the case page states the reason.
    """
    wanted = {
        i: WantedFile(key, thumbs[i].id, thumbs[i].kind, thumbs[i].name)
        for i, key in keys.items()
        if key is not None and i in thumbs
    }
    return dict(zip(wanted, vault.get_many(list(wanted.values())), strict=True))


def _row(
    vault: Vault,
    study: Study,
    instance: Instance,
    instance_key: bytes | None,
    uploader: str,
    thumb: Blob | None,
    picture: bytes | None,
    state: StudyState,
    reader: str | None,
    claim: Claim | None,
    others: tuple[OtherPicture, ...],
    more: int,
) -> WorklistRow:
    patient, facts, damaged = Patient(), dict[str, Any](), instance_key is None
    if instance_key is not None:
        try:
            data_key = sealed_fields.key_of(vault, study)
            patient = sealed_fields.open_patient(vault, data_key, study)
            facts = sealed_fields.open_facts(vault, instance_key, instance) or {}
        except NotReadable:
            damaged = True
    return WorklistRow(
        study_id=study.id,
        case_number=study.case_number,
        created=study.created,
        patient=patient,
        view=facts.get("view"),
        age_years=facts.get("patient_age_years"),
        sex=facts.get("patient_sex"),
        uploaded_by=uploader,
        thumb=picture,
        thumb_media_type=thumb.media_type if thumb else None,
        state=state,
        reader=reader,
        is_old=study.is_old,
        damaged=damaged,
        claim=claim,
        others=others,
        more=more,
    )


def readers(session: Session, ids: Sequence[UUID]) -> dict[UUID, str]:
    """The name of who reviewed each of these exams last; without those that nobody has."""
    rows = session.execute(
        select(exams.exam_id(), User.name)
        .join(Review, Review.study_id == Study.id)
        .join(User, User.id == Review.reader_id)
        .where(exams.is_of(ids))
        .order_by(Review.created)
    )
    return dict(rows.all())  # a Result has keys(), which dict() would call
