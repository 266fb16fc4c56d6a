"""One case: opening it, its pictures, and its state for pages that wait."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission, openable_studies, visible_studies
from portal.models import Blob, BlobKind, Instance, Prediction, Reason, Review, Study, User, Verdict
from portal.reading.shown_results import Shown
from portal.studies import sealed_fields, status
from portal.studies.sealed_fields import Patient
from portal.studies.status import StudyState
from portal.vault import NotReadable, Vault

# What a page may ask for. The source file stays inside: it is the patient's header and all.
SERVED: Final = frozenset(BlobKind) - {BlobKind.SOURCE}
_PRIORS: Final = 20


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A picture that can be read."""

    kind: BlobKind
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class PredictionView:
    """The model's word in full."""

    model_id: UUID
    model_name: str
    model_version: str
    model_sha256: str
    result: status.Result
    threshold: float | None
    operating_point: str | None
    map_rows: int | None
    map_columns: int | None
    measurements: dict[str, Any] | None
    uncertainty: dict[str, Any] | None
    region: dict[str, Any] | None
    quality: dict[str, Any]
    statistics: dict[str, Any]
    seconds: float | None
    created: datetime


@dataclass(frozen=True, slots=True)
class ReviewView:
    """One reader's word."""

    reader: str
    reader_id: UUID
    verdict: Verdict
    reason: Reason | None
    comment: str = field(repr=False)
    created: datetime


@dataclass(frozen=True, slots=True)
class Prior:
    """An earlier or later picture of the same patient, or one under the same UID."""

    study_id: UUID
    case_number: str
    created: datetime
    state: StudyState


@dataclass(frozen=True, slots=True)
class StudyView:
    """Everything that the case page shows."""

    study_id: UUID
    case_number: str
    created: datetime
    uploaded_by: str
    patient: Patient
    media_type: str
    rows: int | None
    columns: int | None
    facts: dict[str, Any] | None
    state: StudyState
    prediction: PredictionView | None
    reviews: list[ReviewView]
    blobs: dict[BlobKind, BlobInfo]
    priors: list[Prior]
    shares_uid: bool  # with another picture, see `Instance.same_uid_as`
    same_uid: list[Prior]  # whose these are, as far as the actor may see them


@dataclass(frozen=True, slots=True)
class BlobData:
    """A picture's bytes."""

    data: bytes = field(repr=False)
    media_type: str


def load(session: Session, actor: Actor, study_id: UUID) -> Study:
    """The one way to a single study: Denied unless the actor's list has it."""
    return _first(session, visible_studies(actor), study_id)


def look(session: Session, actor: Actor, study_id: UUID) -> Study:
    """The one way to look at a single study: `load`, or the case that a grant opens."""
    return _first(session, openable_studies(actor), study_id)


def _first(session: Session, allowed: Select[Study], study_id: UUID) -> Study:
    study = session.scalars(allowed.where(Study.id == study_id)).first()
    if study is None:
        raise Denied("study")
    return study


def open_study(
    session: Session, vault: Vault, actor: Actor, study_id: UUID, now: datetime
) -> StudyView:
    """The whole case, with one audit row. Denied where it is not the actor's to see."""
    actor.require(Permission.STUDY_READ)
    study = look(session, actor, study_id)
    data_key = sealed_fields.key_of(vault, study)
    instance = session.scalars(select(Instance).where(Instance.study_id == study.id)).one()
    uploader = session.get_one(User, study.uploaded_by)
    blobs = session.scalars(
        select(Blob).where(Blob.instance_id == instance.id, Blob.current, Blob.kind.in_(SERVED))
    )
    namesakes = _namesakes(session, instance)
    view = StudyView(
        study_id=study.id,
        case_number=study.case_number,
        created=study.created,
        uploaded_by=uploader.name,
        patient=sealed_fields.open_patient(vault, data_key, study),
        media_type=instance.media_type,
        rows=instance.rows,
        columns=instance.columns,
        facts=sealed_fields.open_facts(vault, data_key, instance),
        state=status.of_studies(session, [study.id], now)[study.id],
        prediction=_prediction(session, study.id),
        reviews=_reviews(session, vault, data_key, study.id),
        blobs={row.kind: BlobInfo(row.kind, row.size, row.media_type) for row in blobs},
        priors=_priors(session, actor, study, now),
        shares_uid=bool(namesakes),
        same_uid=_seen(session, visible_studies(actor).where(Study.id.in_(namesakes)), now)
        if namesakes
        else [],
    )
    audit.append(session, "study_opened", actor=actor, now=now, study_id=study.id)
    session.commit()
    return view


def study_state(session: Session, actor: Actor, study_id: UUID, now: datetime) -> StudyState:
    """Where a study stands. Who shows no more of it than its state writes no audit row."""
    actor.require(Permission.STUDY_READ)
    study = look(session, actor, study_id)
    state = status.of_studies(session, [study.id], now)[study.id]
    session.commit()
    return state


def states(
    session: Session, actor: Actor, ids: Sequence[UUID], now: datetime, shown: Shown
) -> dict[UUID, StudyState]:
    """Where these studies stand, for live pages; those that the actor may not see are left out.

    One audit row lists those whose result or verdict the session was not `shown` before.
    """
    actor.require(Permission.STUDY_LIST)
    visible = session.scalars(
        visible_studies(actor).where(Study.id.in_(ids[:500])).with_only_columns(Study.id)
    ).all()
    found = status.of_studies(session, visible, now)
    telling = [i for i, state in found.items() if state.result or state.reviewed]
    fresh = shown.unseen(actor.session_id, telling)
    if fresh:
        detail = {"studies": [study_id.hex for study_id in fresh]}
        audit.append(session, "results_read", actor=actor, now=now, detail=detail)
    session.commit()
    shown.add(actor.session_id, fresh)
    return found


def read_blob(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    kind: BlobKind | str,
    now: datetime,
) -> BlobData:
    """One of the study's pictures, with one audit row.

    Denied where the study is not the actor's to see, is not there yet or has no such picture:
    all look like not found. NotReadable if the file was damaged.
    """
    actor.require(Permission.STUDY_READ)
    study = look(session, actor, study_id)
    if kind not in {served.value for served in SERVED}:
        raise Denied("blob")
    blob = session.scalars(
        select(Blob)
        .where(Blob.study_id == study.id, Blob.kind == BlobKind(kind), Blob.current)
        .order_by(Blob.created.desc())
    ).first()
    if blob is None:
        raise Denied("blob")
    audit.append(
        session,
        "picture_read",
        actor=actor,
        now=now,
        study_id=study.id,
        detail={"kind": blob.kind.value},
    )
    session.commit()
    data_key = sealed_fields.key_of(vault, study)
    data = vault.get(data_key, blob_id=blob.id, kind=blob.kind, name=blob.name)
    if len(data) != blob.size:
        raise NotReadable("a file has another length than was written")
    return BlobData(data, blob.media_type)


def _prediction(session: Session, study_id: UUID) -> PredictionView | None:
    row = session.scalars(
        select(Prediction)
        .where(Prediction.study_id == study_id)
        .order_by(Prediction.created.desc())
        .limit(1)
    ).first()
    if row is None:
        return None
    return PredictionView(
        model_id=row.model_id,
        model_name=row.model.name,
        model_version=row.model.version,
        model_sha256=row.model.sha256,
        result=status.result_of(row),
        threshold=row.threshold,
        operating_point=row.operating_point,
        map_rows=row.map_rows,
        map_columns=row.map_columns,
        measurements=row.measurements,
        uncertainty=row.uncertainty,
        region=row.region,
        quality=row.quality,
        statistics=row.statistics,
        seconds=row.seconds,
        created=row.created,
    )


def _reviews(session: Session, vault: Vault, data_key: bytes, study_id: UUID) -> list[ReviewView]:
    rows = session.execute(
        select(Review, User.name)
        .join(User, User.id == Review.reader_id)
        .where(Review.study_id == study_id)
        .order_by(Review.created)
    )
    return [
        ReviewView(
            reader=reader,
            reader_id=review.reader_id,
            verdict=review.verdict,
            reason=review.reason,
            comment=sealed_fields.open_comment(vault, data_key, review),
            created=review.created,
        )
        for review, reader in rows
    ]


def _priors(session: Session, actor: Actor, study: Study, now: datetime) -> list[Prior]:
    if study.patient_key is None:
        return []
    same_patient = visible_studies(actor).where(
        Study.team_id == study.team_id,
        Study.patient_key == study.patient_key,
        Study.id != study.id,
    )
    return _seen(session, same_patient, now)


def _namesakes(session: Session, instance: Instance) -> list[UUID]:
    """The studies whose pictures share this one's SOPInstanceUID and are not this picture."""
    first = instance.same_uid_as or instance.study_id
    others = session.scalars(select(Instance.study_id).where(Instance.same_uid_as == first)).all()
    if not others:
        return []
    return [one for one in (first, *others) if one != instance.study_id]


def _seen(session: Session, studies: Select[Study], now: datetime) -> list[Prior]:
    rows = session.scalars(studies.order_by(Study.created.desc()).limit(_PRIORS)).all()
    found = status.of_studies(session, [row.id for row in rows], now)
    return [Prior(row.id, row.case_number, row.created, found[row.id]) for row in rows]
