"""What a cohort is made of: exams that were read, their pictures, and what was found on each.

Nothing here names a patient, a person or a time: patients, pictures and readers are keyed digests,
which are the same in every cohort of this installation.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from portal.models import (
    Blob,
    BlobKind,
    Finding,
    Instance,
    Outline,
    Prediction,
    Review,
    ReviewSeen,
    Signature,
    Study,
    Verdict,
    View,
)
from portal.studies import (
    exams,
    patients,
    reader_outlines,
    sealed_fields,
    stored_files,
    stored_results,
    verdicts,
)
from portal.studies.second_reads import blindness
from portal.vault import Vault

# Patients are dealt to so many parts; part 0 is the one that recipes hold out.
FOLDS: Final = 5
_LATERAL: Final = frozenset({View.LL, View.RL, View.LLD, View.RLD, View.LLO, View.RLO})

LabelFrom = Literal["none_found", "reader_outline", "ai_outline", "not_labelled"]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which exams: of a team, by their arrival (`since` ≤ arrival < `until`), signed ones alone."""

    team_id: UUID
    since: datetime | None = None
    until: datetime | None = None
    signed: bool = False


@dataclass(frozen=True, slots=True)
class DrawnBy:
    """A reader's newest outline of a picture, where its file is."""

    reader: str
    outline: Outline
    blob: Blob


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of an exam: its new name, where its files are, and what is known of it."""

    name: str
    instance: Instance
    data_key: bytes = field(repr=False)
    source: Blob | None
    mask: Blob | None
    drawn: list[DrawnBy]
    prediction: dict[str, Any] | None
    spacing_is_wrong: bool
    source_size: tuple[int, int] | None
    label_from: LabelFrom
    label: DrawnBy | None


@dataclass(frozen=True, slots=True)
class Exam:
    """An exam: `reviews` as they were stated, the oldest first, by reader. `is_waiting`: for a
    second or third reader, to whom a data set would reveal the first finding.
    """

    name: str
    patient: str
    fold: int
    sex: str
    age_band: int | None
    reviews: list[dict[str, Any]]
    pictures: list[Picture]
    is_waiting: bool


def ids(session: Session, filters: Filters) -> list[UUID]:
    """The exams that were read, in the order of their arrival."""
    was_read = exists().where(*exams.within_outer(Review.study_id))
    query = select(Study.id).where(
        Study.team_id == filters.team_id,
        Study.purged_at.is_(None),
        Study.joined_into.is_(None),
        was_read,
    )
    if filters.signed:
        query = query.where(exists().where(*exams.within_outer(Signature.study_id)))
    if filters.since is not None:
        query = query.where(Study.created >= filters.since)
    if filters.until is not None:
        query = query.where(Study.created < filters.until)
    return list(session.scalars(query.order_by(Study.created, Study.id)))


def read(
    session: Session, vault: Vault, study_id: UUID, folds: Mapping[str, int] | None = None
) -> Exam | None:
    """What the database holds of an exam; None where it was purged meanwhile. The caller ends the
    transaction. `folds`: of patients in an earlier cohort, which go before the patient's own.
    """
    study = session.get(Study, study_id, populate_existing=True)
    if study is None or study.purged_at is not None or study.joined_into is not None:
        return None
    reviews = session.scalars(
        select(Review)
        .join(Study, Study.id == Review.study_id)
        .where(exams.is_of([study.id]))
        .order_by(Review.created, Review.id)
    ).all()
    patient, fold = patient_of(session, vault, study, folds or {})
    rows = exams.pictures(session, [study.id])[study.id]
    predictions = exams.last_predictions(session, [study.id])
    # The verdict that stands: the signed one, else the newest.
    standing = verdicts.standings(session, [study.id]).get(study.id, verdicts.NOT_READ)
    stated = next((one for one in reviews if one.id == standing.review_id), None)
    signed = set(
        session.scalars(
            select(Signature.review_id).where(
                Signature.review_id.in_([review.id for review in reviews])
            )
        )
    )
    seen = _seen(session, stated)
    return Exam(
        name=vault.lookup("cohort:exam", study.id.bytes)[:16],
        patient=patient,
        fold=fold,
        sex=study.sex.value,
        age_band=study.age_band,
        reviews=[
            _review(session, vault, one) | {"is_signed": one.id in signed, "stands": one is stated}
            for one in reviews
        ],
        pictures=[
            _picture(session, vault, row, predictions.get(row.id), stated, seen) for row in rows
        ],
        is_waiting=bool(blindness.not_ended(session, [study.id])),
    )


def picture_name(vault: Vault, instance_id: UUID) -> str:
    """What a picture is called in every cohort."""
    return vault.lookup("cohort:picture", instance_id.bytes)[:16]


def reader_name(vault: Vault, user_id: UUID) -> str:
    """What a reader is called in every cohort."""
    return f"reader-{vault.lookup('cohort:reader', user_id.bytes)[:8]}"


def patient_of(
    session: Session, vault: Vault, study: Study, folds: Mapping[str, int]
) -> tuple[str, int]:
    """The patient's name in cohorts and the fold: both follow from a keyed digest of the patient's
    ID, of the team's own. An exam without patient ID stands alone.

    Of IDs that were merged it is the least one, unless `folds` have another of them.
    """
    known = study.patient_key
    keys = sorted(patients.keys_of(session, study.team_id, known)) if known else [study.id.hex]
    digests = [vault.lookup("cohort:patient", f"{study.team_id}:{key}") for key in keys]
    names = {f"PLR{digest[:12].upper()}": int(digest[12:28], 16) % FOLDS for digest in digests}
    name = next((name for name in names if name in folds), next(iter(names)))
    return name, folds.get(name, names[name])


def is_frontal(picture: Picture) -> bool:
    """Whether it is none of the views that the model is not made for."""
    return picture.instance.view not in _LATERAL


def _review(session: Session, vault: Vault, review: Review) -> dict[str, Any]:
    """Codes alone: no comment, no time. `models_seen`: of the predictions that stood beside it, if
    the reader was shown them.
    """
    seen = session.scalars(select(Prediction).where(Prediction.id.in_(_seen(session, review))))
    models = {
        one.model.sha256: {
            "name": one.model.name,
            "version": one.model.version,
            "sha256": one.model.sha256,
            "operating_point": one.operating_point,
        }
        for one in seen
    }
    return {
        "reader": reader_name(vault, review.reader_id),
        "finding": review.finding.value if review.finding else None,
        "size": review.size.value if review.size else None,
        "verdict": review.verdict.value,
        "reason": review.reason.value if review.reason else None,
        "reasons": [one.value for one in review.reasons],
        "models_seen": list(models.values()),
    }


def _seen(session: Session, review: Review | None) -> set[UUID]:
    """The predictions that a review's reader saw beside the pictures."""
    if review is None or review.ai_visible is False:
        return set()
    of_review = ReviewSeen.review_id == review.id
    found = session.scalars(select(ReviewSeen.prediction_id).where(of_review))
    return {one for one in found if one is not None}


def _picture(
    session: Session,
    vault: Vault,
    row: Instance,
    prediction: Prediction | None,
    stated: Review | None,
    seen: Collection[UUID],
) -> Picture:
    data_key = sealed_fields.instance_key_of(vault, row)
    facts = sealed_fields.open_facts(vault, data_key, row) or {}
    size = facts.get("source_size")
    measured = stored_results.measurements(prediction, row) if prediction else None
    drawn = _drawn(session, vault, row)
    mask = stored_files.current(session, row.id, BlobKind.MASK)
    accepted = prediction if prediction is not None and prediction.id in seen else None
    label_from, label = _label(stated, drawn, accepted, mask)
    return Picture(
        name=picture_name(vault, row.id),
        instance=row,
        data_key=data_key,
        source=stored_files.current(session, row.id, BlobKind.SOURCE),
        mask=mask,
        drawn=drawn,
        prediction=_numbers(prediction),
        spacing_is_wrong=(measured or {}).get("spacing_problem") == "not_plausible",
        source_size=(int(size[0]), int(size[1])) if size else None,
        label_from=label_from,
        label=label,
    )


def _drawn(session: Session, vault: Vault, row: Instance) -> list[DrawnBy]:
    """The newest outline of each reader that counts (`reader_outlines`), the newest last."""
    found = session.execute(
        select(Outline, Blob)
        .join(Blob, Blob.id == Outline.blob_id)
        .where(Outline.instance_id == row.id, reader_outlines.that_count())
        .order_by(Outline.created, Outline.id)
    ).all()
    newest = {outline.author_id: (outline, blob) for outline, blob in found}
    ordered = sorted(newest.values(), key=lambda one: (one[0].created, one[0].id.hex))
    return [
        DrawnBy(reader_name(vault, outline.author_id), outline, blob) for outline, blob in ordered
    ]


def _label(
    stated: Review | None,
    drawn: Sequence[DrawnBy],
    accepted: Prediction | None,
    mask: Blob | None,
) -> tuple[LabelFrom, DrawnBy | None]:
    """Where the mask to learn from comes: the reader's word decides whether there is one.

    A reader who agrees with a finding of the AI and has drawn nothing has accepted its outline, if
    it was shown to them (`accepted`: the result that stands, and that they saw) and is not
    retracted since. An outline that was erased is none to learn from, nor is the one before it.
    """
    if stated is None or stated.finding in (None, Finding.UNSURE):
        return "not_labelled", None
    if stated.finding is Finding.NONE:
        return "none_found", None
    if drawn:
        newest = drawn[-1]
        return ("reader_outline", newest) if newest.outline.pixels else ("not_labelled", None)
    found = (
        accepted is not None
        and accepted.model.retracted_at is None
        and bool((accepted.measurements or {}).get("area_px"))
    )
    if found and mask is not None and stated.verdict is Verdict.AGREE:
        return "ai_outline", None
    return "not_labelled", None


def _numbers(prediction: Prediction | None) -> dict[str, Any] | None:
    if prediction is None:
        return None
    return {
        "model": {
            "name": prediction.model.name,
            "version": prediction.model.version,
            "sha256": prediction.model.sha256,
            "retracted": reason.value if (reason := prediction.model.retraction_reason) else None,
        },
        "probability": prediction.probability,
        "band": prediction.band.value if prediction.band else None,
        "operating_point": prediction.operating_point,
        "pixel_threshold": prediction.threshold,
        "image_threshold": prediction.image_threshold,
        "quality": prediction.quality_verdict.value,
    }
