"""The text of a report: what is printed of an exam, ready for the worker that sets it on pages.

The wording of results, sizes and verdicts is that of the pages. Times are UTC, as the record's.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from portal.languages import DEFAULT, speaking
from portal.models import View
from portal.reading.case_records import (
    Annotation,
    PictureView,
    PredictionView,
    ReviewView,
    StudyView,
)
from portal.reports.pictures import PictureFile
from portal.studies.reader_outlines import OutlineView
from portal.studies.status import State
from portal.web.present import outline_view, sign_view, size_lines, wording
from worker.contract.contents.report_content import (
    MARKS_MOST,
    MarkKind,
    MarkPart,
    OutlineBy,
    OutlinePart,
    PicturePart,
    ReportContent,
    Row,
    Section,
)

TITLE: Final = "Chest X-ray report"
RESEARCH: Final = "Research use only – not a medical device."
PRELIMINARY: Final = "Preliminary – not signed"
NOT_PRINTABLE: Final = (
    "Some characters of this report could not be printed: the machine that made it has no font for "
    "them. They stand as boxes; the record holds them."
)
LABELS: Final = {OutlineBy.AI: "AI outline", OutlineBy.READER: "Reader’s outline"}


@speaking(DEFAULT)  # as its own texts are, whoever asks for it
def compose(
    view: StudyView,
    files: Sequence[PictureFile],
    number: str,
    now: datetime,
    with_ai: bool,
) -> ReportContent:
    """What a report of this exam holds. `number`: of the file; `with_ai` False, or who asks may not
    see it: nothing of what the AI found.
    """
    with_ai = with_ai and view.ai.is_visible
    sections = [_reader(view, with_ai), *_signatures(view), *_addenda(view)]
    if with_ai:
        sections += _ai(view)
    sections += _outlines(view, with_ai)
    standing = view.state.standing
    return ReportContent(
        language="en",
        title=TITLE,
        state=_state(view),
        is_signed=standing.is_signed,
        number=number,
        created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        exam=_exam(view),
        sections=sections,
        pictures=[_picture(view, file) for file in files],
        pictures_title="Pictures",
        research=RESEARCH,
        footer=f"{RESEARCH} Case {view.case_number} · made {_time(now)}",
        not_printable=NOT_PRINTABLE,
    )


def _exam(view: StudyView) -> list[Row]:
    patient, facts = view.patient, view.facts or {}
    views = [one.view.value for one in view.pictures if one.view is not View.UNKNOWN]
    rows = [
        ("Patient", patient.patient_name or wording.UNNAMED),
        ("Patient ID", patient.patient_id),
        ("Born", patient.birth_date),
        (
            "Sex and age",
            wording.sex_and_age(patient.sex, patient.age, facts.get("patient_age_years")),
        ),
        ("Exam", f"{patient.study_date} {patient.study_time}".strip()),
        ("Accession number", patient.accession),
        ("Views", ", ".join(dict.fromkeys(views))),
        ("Pictures", str(len(view.pictures)) if len(view.pictures) > 1 else ""),
        ("Remark", wording.typed(patient.typed, patient.side_marker)),
        ("Arrived", _time(view.created)),
        ("Case", view.case_number),
    ]
    return _rows(rows)


def _state(view: StudyView) -> str:
    standing = view.state.standing
    if not standing.is_signed or standing.at is None:
        return PRELIMINARY
    return f"{sign_view.STATES[standing.state]} – signed by {standing.author}, {_time(standing.at)}"


def _signatures(view: StudyView) -> list[Section]:
    """Who has signed, when and after which proof of identity, the newest first."""
    rows = [
        (f"Signature {line.number}", f"{line.signer}, {_time(line.when)}, by {line.proof}")
        for line in sign_view.signature_lines(view)
    ]
    return [Section(title="Signature", rows=_rows(rows), notes=_since(view))] if rows else []


def _since(view: StudyView) -> list[str]:
    notes = list[str]()
    if view.state.new_pictures:
        notes.append("A picture came in after the exam was signed: the signed finding stays.")
    if not view.state.standing.is_newest:
        notes.append("A later version of the reading is not signed: the signed one stands.")
    return notes


def _addenda(view: StudyView) -> list[Section]:
    rows = [(f"{one.author}, {_time(one.created)}", one.text) for one in view.addenda]
    return [Section(title="Addenda", rows=_rows(rows))] if rows else []


def _reader(view: StudyView, with_ai: bool) -> Section:
    """What the review states that stands, and those beside it."""
    newest = standing_review(view)
    if newest is None:
        return Section(title="Reader’s finding", notes=["Not read by a radiologist yet."])
    newest = standing_review(view) or view.reviews[-1]
    finding = wording.FINDINGS[newest.finding.value] if newest.finding else ""
    compared = wording.VERDICTS[newest.verdict.value] if with_ai else ""
    rows = [
        ("Pneumothorax", finding),
        ("Size by eye", wording.SIZES[newest.size.value] if newest.size else ""),
        ("Beside the AI result", compared),
        ("Reason", wording.REASONS[newest.reason] if newest.reason and with_ai else ""),
        ("Comment", newest.comment),
        ("Reader", newest.reader),
        ("Read", _time(newest.created)),
    ]
    earlier = [
        f"Other version: {_finding_of(one.finding)} · {one.reader} · {_time(one.created)}"
        for one in reversed(view.reviews)
        if one is not newest
    ]
    notes = [str(wording.SIZE_METHOD_STATED)] if newest.size else []
    return Section(title="Reader’s finding", rows=_rows(rows), notes=[*notes, *earlier[:20]])


def standing_review(view: StudyView) -> ReviewView | None:
    """The review that stands: the signed one, else the newest; None of an exam that is not read."""
    stands = view.state.standing.review_id
    named = (one for one in view.reviews if one.review_id == stands)
    return next(named, view.reviews[-1] if view.reviews else None)


def _finding_of(finding: Any) -> str:
    return wording.FINDINGS[finding.value] if finding else "no finding stated"


def _ai(view: StudyView) -> list[Section]:
    """What the AI found on each picture that it has looked at, and the model."""
    several = len(view.pictures) > 1
    sections = [
        _of_picture(one, f"AI result: {_named(view, one)}" if several else "AI result", view)
        for one in view.pictures
    ]
    models = {
        one.prediction.model_sha256: one.prediction for one in view.pictures if one.prediction
    }
    for prediction in models.values():
        sections.append(
            Section(
                title="Model",
                rows=_rows(
                    [
                        ("Name and version", f"{prediction.model_name} {prediction.model_version}"),
                        ("SHA-256 of its weights", prediction.model_sha256),
                        (
                            "Operating point",
                            wording.OPERATING_POINTS.get(prediction.operating_point or "", ""),
                        ),
                        ("Pixel threshold", _number(prediction.threshold)),
                    ]
                ),
                notes=[wording.LIMITS],
            )
        )
    return sections


def _of_picture(picture: PictureView, title: str, view: StudyView) -> Section:
    state, prediction = picture.state, picture.prediction
    band = state.result.band if state.result else None
    retracted = bool(state.result and state.result.retracted)
    label = wording.status_label(state.state, band, retracted=retracted)
    if prediction is None:
        return Section(title=title, rows=_rows([("Result", label.title)]), notes=why(picture))
    measured = prediction.measurements or {}
    facts = view.facts if picture is view.picture else None
    spacing, problem = size_lines.spacing(facts or {}, measured)
    row_mm, source = (spacing["row_mm"], spacing["source"]) if spacing else (None, None)
    probability = state.result.probability if state.result else None
    reasons = (
        [str(one["message"]) for one in state.result.reasons if one.get("message")]
        if (state.result)
        else []
    )
    rows = [
        ("Result", label.title),
        ("Side and zone", outline_view.where_of(measured)),
        ("Probability", wording.probability(probability)),
        ("What it means", _bands(prediction)),
        *_measures(measured),
        ("Picture", str(wording.QUALITY_WITHIN[prediction.result.quality.value])),
        ("Computed", _time(prediction.created)),
    ]
    notes = [
        wording.retraction(prediction.retraction),
        *reasons,
        label.note,
        wording.UNDER_18 if state.result and state.result.under_18 else "",
        wording.spacing_note(row_mm, source, problem) if measured.get("area_px") else "",
        size_lines.METHOD if measured.get("extents") else "",
    ]
    return Section(title=title, rows=_rows(rows), notes=[note for note in notes if note])


def _bands(prediction: PredictionView) -> str:
    return wording.bands(
        prediction.operating_point, prediction.image_threshold, prediction.likely_threshold
    )


def why(picture: PictureView) -> list[str]:
    """Why a picture has no result."""
    if picture.state.state is State.SKIPPED:
        return [f"Kept without analysis by a rule of the team: {picture.state.skipped_for}"]
    if picture.state.is_settled:
        return [wording.failure(picture.state.error_code)]
    return [wording.progress(picture.state.state, picture.state.waiting_for) or "No result yet."]


def _measures(measured: dict[str, Any]) -> list[tuple[str, str]]:
    if not measured.get("area_px"):
        return []
    rows = [
        size_lines.figure(measured) or ("", ""),
        (
            "Greatest distance",
            wording.length(measured.get("distance_mm"), measured.get("distance_px")),
        ),
        ("Area", wording.area(measured.get("area_mm2"), measured.get("area_px"))),
        ("Size class", size_lines.severity(measured)),
    ]
    for side in size_lines.sizes(measured):
        rows += [(f"{side.side}: {name.lower()}", value) for name, value in side.levels]
        rows += [(f"{side.side}: {name}", value) for name, value in side.indices]
    return list(dict.fromkeys(rows))


def _outlines(view: StudyView, with_ai: bool) -> list[Section]:
    """The newest outline by a reader on each picture, and its measurements."""
    newest = {one.instance_id: one for one in view.outlines}
    return [
        _outline(view, one, newest[one.instance_id], with_ai)
        for one in view.pictures
        if one.instance_id in newest
    ]


def _outline(view: StudyView, picture: PictureView, one: OutlineView, with_ai: bool) -> Section:
    several = len(view.pictures) > 1
    title = f"Reader’s outline: {_named(view, picture)}" if several else "Reader’s outline"
    measured = one.measurements or {}
    notes = {
        "waiting": ["This outline is still being measured."],
        "failed": ["This outline could not be measured."],
    }.get(one.measuring, [])
    if not one.pixels:
        notes = ["Nothing is outlined: the reader sees no pneumothorax on this picture."]
    rows = [
        ("Side and zone", outline_view.where_of(measured)),
        *_measures(measured),
        ("Dice to the AI outline", _number(one.dice_model) if with_ai else ""),
        ("Drawn by", one.author),
        ("Drawn", _time(one.created)),
    ]
    return Section(title=title, rows=_rows(rows), notes=notes)


def _picture(view: StudyView, file: PictureFile) -> PicturePart:
    picture = next(one for one in view.pictures if one.instance_id == file.instance_id)
    drawn = ", ".join(LABELS[one.by] for one in file.outlines)
    title = _named(view, picture)
    marks = _marks(view, picture)
    if marks:
        drawn = ", ".join(filter(None, (drawn, f"{len(marks)} drawn by the reader")))
    return PicturePart(
        title=title[:1].upper() + title[1:],
        caption=f"{file.columns} × {file.rows} pixels, shown smaller, through its first window. "
        "Not for diagnosis.",
        described=f"Chest X-ray, {title}" + (f", with {drawn}" if drawn else ""),
        rows=file.rows,
        columns=file.columns,
        bytes=len(file.jpeg),
        outlines=[
            OutlinePart(
                by=one.by,
                form=one.form,
                label=LABELS[one.by],
                rows=one.rows,
                columns=one.columns,
                bytes=len(one.data),
            )
            for one in file.outlines
        ],
        marks=marks,
    )


def _marks(view: StudyView, picture: PictureView) -> list[MarkPart]:
    """The rulers and arrows of the review that stands, with their lengths and texts."""
    review = standing_review(view)
    if review is None:
        return []
    measured = (picture.prediction.measurements if picture.prediction else None) or {}
    facts = view.facts if picture.instance_id == view.picture.instance_id else None
    spacing, _ = size_lines.spacing(facts or {}, measured)
    return [
        MarkPart(kind=MarkKind(one.kind), line=one.line, label=_mark_label(one, spacing))
        for one in review.annotations.get(picture.instance_id, ())[:MARKS_MOST]
    ]


def _mark_label(one: Annotation, spacing: dict[str, Any] | None) -> str:
    """'arrow: apex', 'ruler: 34.1 mm (detector)', 'ruler: 210 px'."""
    if one.kind == "arrow":
        return f"arrow: {one.text}" if one.text else "arrow"
    x0, y0, x1, y1 = one.line
    if spacing is None:
        return f"ruler: {math.hypot(x1 - x0, y1 - y0):.0f} px"
    length = math.hypot((x1 - x0) * spacing["column_mm"], (y1 - y0) * spacing["row_mm"])
    return f"ruler: {length:.1f} mm ({spacing['source']})"


def _named(view: StudyView, picture: PictureView) -> str:
    number = [one.instance_id for one in view.pictures].index(picture.instance_id) + 1
    name = picture.view.value if picture.view is not View.UNKNOWN else "view unknown"
    return f"picture {number}, {name}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _rows(rows: Sequence[tuple[str, str]]) -> list[Row]:
    """Those that hold something."""
    return [Row(label=label, text=text) for label, text in rows if text]
