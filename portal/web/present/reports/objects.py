"""What the DICOM objects of a picture state, ready for the worker that makes them.

The wording of results and verdicts is that of the pages and the report.
"""

from functools import cache
from importlib import metadata
from typing import Any, Final
from uuid import UUID

from portal.languages import DEFAULT, speaking
from portal.models import Reason, Verdict
from portal.reading.case_records import PictureView, PredictionView, ReviewView, StudyView
from portal.reports.objects import About
from portal.studies.reader_outlines import newest_counting
from portal.web.present import wording
from portal.web.present.reports import text as report_text
from worker.contract.contents.object_content import (
    AiPart,
    Assessment,
    Identity,
    ModelUsed,
    ObjectContent,
    ObjectKind,
    Outcome,
    ReaderFinding,
    ReaderPart,
    SignedBy,
    Tracked,
    TrackedOutline,
)
from worker.contract.contents.report_content import OutlineBy
from worker.contract.measurements import Measurements
from worker.contract.message import InvalidMessage
from worker.contract.prediction import Band

_WHAT_IS_WRONG_WITH_IT: Final = (Reason.OUTLINE_TOO_LARGE, Reason.OUTLINE_TOO_SMALL)
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_NOT_ANALYSED: Final = "AI: not analysed, read unaided"
_NONE_FOUND: Final = "AI: no pneumothorax found above the threshold"


def compose(about: About) -> tuple[ObjectContent, list[bytes]]:
    """What the objects of one picture state, and the bytes of the outlines that it lists: in
    English, as their codes. The caller has seen that the AI may be shown.
    """
    with speaking(DEFAULT):
        return _composed(about)


def _composed(about: About) -> tuple[ObjectContent, list[bytes]]:
    view = about.view
    ai = _ai(about)
    standing = view.state.standing
    outlines, data = _outlines(about, ai)
    content = ObjectContent(
        created=about.created.strftime(_TIME),
        software=software(),
        device_uid=about.uid("device"),
        research=str(report_text.RESEARCH),
        title=str(report_text.TITLE),
        identities={
            kind: Identity(
                series=_uid(about, about.report_id, f"{kind.value}:series"),
                instance=_uid(about, about.report_id, kind.value),
            )
            for kind in ObjectKind
        },
        before=about.before,
        signed=SignedBy(
            name=standing.author, organization=about.team, at=standing.at.strftime(_TIME)
        )
        if standing.is_signed and standing.at is not None
        else None,
        ai=ai,
        reader=_reader(about, ai),
        jpeg_bytes=len(about.file.jpeg) if about.file else 0,
        outlines=outlines,
        pdf_bytes=about.pdf_bytes,
        case=view.case_number,
    )
    return content, data


@cache
def software() -> str:
    """The name and version of this program."""
    try:
        return f"Pleura {metadata.version('pleura')}"[:64]
    except metadata.PackageNotFoundError:  # it runs from a folder that was not installed
        return "Pleura"


def _uid(about: About, *parts: object) -> str:
    return about.uid(":".join([about.picture.instance_id.hex, *map(str, parts)]))


def _tracked(about: About, kind: str, *parts: object) -> Tracked:
    """What stays the same in every version of the objects."""
    uid = _uid(about, kind, *parts)
    return Tracked(uid=uid, identifier=f"pneumothorax-{kind}-{uid[-8:]}")


def _ai(about: About) -> AiPart:
    picture, prediction = about.picture, about.picture.prediction
    reasons = _reasons(picture)
    result = prediction.result if prediction else None
    if prediction is None or result is None or result.band is None or prediction.retraction:
        outcome, headline = Outcome.NOT_ANALYSED, _NOT_ANALYSED
    elif result.band is Band.NONE_FOUND:
        outcome, headline = Outcome.NONE_FOUND, _NONE_FOUND
    else:
        label = wording.status_label("done", result.band.value)
        outcome, headline = Outcome.FOUND, f"AI: {label.title}"
    is_found = outcome is Outcome.FOUND
    measured = measurements_of(prediction.measurements if prediction else None)
    return AiPart(
        outcome=outcome,
        headline=headline,
        notes=_notes(prediction, outcome),
        reasons=reasons if outcome is Outcome.NOT_ANALYSED else [],
        model=_model(prediction) if prediction else None,
        probability=result.probability if result and outcome is not Outcome.NOT_ANALYSED else None,
        measurements=measured if is_found else None,
        tracked=_tracked(about, "ai", prediction.prediction_id.hex if prediction else "none"),
    )


def _reasons(picture: PictureView) -> list[str]:
    """Why there is no result that stands, in sentences; never empty."""
    prediction = picture.prediction
    if prediction is None:
        return report_text.why(picture)
    if prediction.retraction:
        return [f"Retracted: {wording.RETRACTIONS[prediction.retraction]}."]
    named = [str(one["message"]) for one in prediction.result.reasons if one.get("message")]
    return named or ["The picture is not one that the model was made for."]


def _notes(prediction: PredictionView | None, outcome: Outcome) -> list[str]:
    if prediction is None or outcome is Outcome.NOT_ANALYSED:
        return []
    notes = [wording.NONE_FOUND] if outcome is Outcome.NONE_FOUND else []
    if prediction.result.under_18:
        notes.append(wording.UNDER_18)
    return [*notes, wording.LIMITS]


def _model(prediction: PredictionView) -> ModelUsed:
    measured = prediction.measurements or {}
    floor = measured.get("island_px_min")
    return ModelUsed(
        name=prediction.model_name,
        version=prediction.model_version,
        sha256=prediction.model_sha256,
        operating_point=prediction.operating_point or "",
        image_threshold=prediction.image_threshold,
        pixel_threshold=prediction.threshold,
        floor=f"regions below {floor} pixels of the probability map are left out" if floor else "",
    )


def measurements_of(stored: dict[str, Any] | None) -> Measurements | None:
    """Stored measurements by the contract; None where a version before stored what it refuses."""
    if not stored:
        return None
    known = {name: value for name, value in stored.items() if name in Measurements.model_fields}
    try:
        return Measurements.parse(known)
    except InvalidMessage:
        return None


def _reader(about: About, ai: AiPart) -> ReaderPart | None:
    review = report_text.standing_review(about.view)
    if review is None:
        return None
    lines = [
        f"Size by eye: {wording.SIZES[review.size.value]}" if review.size else "",
        f"Reason: {wording.reasons_text(review.reasons)}" if review.reasons else "",
        f"Comment: {review.comment}" if review.comment else "",
        f"Reader: {review.reader}, {review.created:%Y-%m-%d %H:%M} UTC",
    ]
    finding = ReaderFinding(review.finding.value) if review.finding else None
    return ReaderPart(
        finding=finding,
        assessment=None
        if ai.outcome is Outcome.NOT_ANALYSED
        else _assessment(about.view, about.picture.instance_id, review),
        texts=[line for line in lines if line],
        tracked=_tracked(about, "reader"),
    )


def _assessment(view: StudyView, instance_id: UUID, review: ReviewView) -> Assessment | None:
    """What the reader made of the result: a finding that agrees, with another outline, is one that
    was accepted with changes.
    """
    if review.verdict is Verdict.DISAGREE:
        return Assessment.REJECTED
    if review.verdict is Verdict.UNSURE:
        return Assessment.UNDECIDED
    if review.verdict is not Verdict.AGREE:
        return None
    is_drawn = instance_id in newest_counting(view.outlines)
    is_changed = is_drawn or any(one in _WHAT_IS_WRONG_WITH_IT for one in review.reasons)
    return Assessment.CHANGED if is_changed else Assessment.ACCEPTED


def _outlines(about: About, ai: AiPart) -> tuple[list[TrackedOutline], list[bytes]]:
    """The AI's outline, where its result stands and is one of something, and the reader's."""
    drawn = newest_counting(about.view.outlines).get(about.picture.instance_id)
    found, data = list[TrackedOutline](), list[bytes]()
    for one in about.file.outlines if about.file else ():
        is_ai = one.by is OutlineBy.AI
        if is_ai and ai.outcome is not Outcome.FOUND:
            continue
        measured = (
            ai.measurements if is_ai else measurements_of(drawn.measurements if drawn else None)
        )
        tracked = (
            ai.tracked
            if is_ai
            else _tracked(about, "outline", drawn.author_id.hex if drawn else "")
        )
        found.append(
            TrackedOutline(
                by=one.by,
                form=one.form,
                label=str(report_text.LABELS[one.by]),
                rows=one.rows,
                columns=one.columns,
                bytes=len(one.data),
                tracked=tracked,
                measurements=measured,
            )
        )
        data.append(one.data)
    return found, data
