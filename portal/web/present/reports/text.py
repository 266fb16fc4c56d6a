"""The text of a report: what is printed of an exam, ready for the worker that sets it on pages.

It is in the language that is spoken when it is composed, which is that of the exam's team. The
wording of results, sizes and verdicts is that of the pages. Times are UTC, as the record's.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from portal.languages import (
    DEFAULT,
    _,
    current,
    direction,
    header_day_text,
    lazy,
    moment_text,
    number_text,
    pgettext,
)
from portal.models import View
from portal.reading.case_records import (
    Annotation,
    PictureView,
    PredictionView,
    ReviewView,
    StudyView,
)
from portal.reading.findings import unaided_reasons
from portal.reports.pictures import PictureFile
from portal.studies.reader_outlines import OutlineView, newest_counting
from portal.studies.status import State
from portal.web.present import outline_view, sign_view, size_lines, wording
from portal.web.present.viewing import quality_texts
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

TITLE: Final = lazy("Chest X-ray report")
RESEARCH: Final = lazy("Research use only – not a medical device.")
PRELIMINARY: Final = lazy("Preliminary – not signed")
NOT_PRINTABLE: Final = lazy(
    "Some characters of this report could not be printed: the machine that made it has no font for "
    "them. They stand as boxes; the record holds them."
)
LABELS: Final = {OutlineBy.AI: lazy("AI outline"), OutlineBy.READER: lazy("Reader’s outline")}


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
    footer = _("Case %(number)s · made %(time)s", number=view.case_number, time=moment_text(now))
    return ReportContent(
        language=current(),
        right_to_left=direction() == "rtl",
        title=str(TITLE),
        state=_state(view),
        is_signed=standing.is_signed,
        number=number,
        created=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        exam=_exam(view),
        sections=sections,
        pictures=[_picture(view, file) for file in files],
        pictures_title=_("Pictures"),
        research=str(RESEARCH),
        footer=f"{RESEARCH} {footer}",
        not_printable=str(NOT_PRINTABLE),
    )


def _exam(view: StudyView) -> list[Row]:
    patient, facts = view.patient, view.facts or {}
    views = [one.view.value for one in view.pictures if one.view is not View.UNKNOWN]
    taken = f"{header_day_text(patient.study_date)} {patient.study_time}".strip()
    rows = [
        (_("Patient"), patient.patient_name or wording.UNNAMED),
        (_("Patient ID"), patient.patient_id),
        (_("Born"), header_day_text(patient.birth_date)),
        (
            _("Sex and age"),
            wording.sex_and_age(patient.sex, patient.age, facts.get("patient_age_years")),
        ),
        (_("Exam"), taken),
        (_("Accession number"), patient.accession),
        (_("Views"), ", ".join(dict.fromkeys(views))),
        (_("Pictures"), number_text(len(view.pictures)) if len(view.pictures) > 1 else ""),
        (_("Remark"), wording.typed(patient.typed, patient.side_marker)),
        (_("Arrived"), moment_text(view.created)),
        (_("Case"), view.case_number),
    ]
    return _rows(rows)


def _state(view: StudyView) -> str:
    standing = view.state.standing
    if not standing.is_signed or standing.at is None:
        return str(PRELIMINARY)
    return _(
        "%(state)s – signed by %(signer)s, %(time)s",
        state=str(sign_view.STATES[standing.state]),
        signer=standing.author,
        time=moment_text(standing.at),
    )


def _signatures(view: StudyView) -> list[Section]:
    """Who has signed, when and after which proof of identity, the newest first."""
    rows = [
        (
            _("Signature %(number)s", number=line.number),
            _(
                "%(signer)s, %(time)s, by %(proof)s",
                signer=line.signer,
                time=moment_text(line.when),
                proof=line.proof,
            ),
        )
        for line in sign_view.signature_lines(view)
    ]
    return [Section(title=_("Signature"), rows=_rows(rows), notes=_since(view))] if rows else []


def _since(view: StudyView) -> list[str]:
    notes = list[str]()
    if view.state.new_pictures:
        notes.append(_("A picture came in after the exam was signed: the signed finding stays."))
    if not view.state.standing.is_newest:
        notes.append(_("A later version of the reading is not signed: the signed one stands."))
    return notes


def _addenda(view: StudyView) -> list[Section]:
    rows = [(f"{one.author}, {moment_text(one.created)}", one.text) for one in view.addenda]
    return [Section(title=_("Addenda"), rows=_rows(rows))] if rows else []


def _reader(view: StudyView, with_ai: bool) -> Section:
    """What the review states that stands, and those beside it."""
    newest = standing_review(view)
    if newest is None:
        return Section(title=_("Reader’s finding"), notes=[_("Not read by a radiologist yet.")])
    finding = wording.FINDINGS[newest.finding.value] if newest.finding else ""
    compared = wording.VERDICTS[newest.verdict.value] if with_ai else ""
    rows = [
        (_("Pneumothorax"), finding),
        (_("Size by eye"), wording.SIZES[newest.size.value] if newest.size else ""),
        (_("Beside the AI result"), compared),
        (_("Reason"), _reasons(newest, with_ai)),
        (_("Comment"), newest.comment),
        (_("Reader"), newest.reader),
        (pgettext("time", "Read"), moment_text(newest.created)),
    ]
    earlier = [
        _(
            "Other version: %(finding)s · %(reader)s · %(time)s",
            finding=_finding_of(one.finding),
            reader=one.reader,
            time=moment_text(one.created),
        )
        for one in reversed(view.reviews)
        if one is not newest
    ]
    notes = [str(wording.SIZE_METHOD_STATED)] if newest.size else []
    return Section(title=_("Reader’s finding"), rows=_rows(rows), notes=[*notes, *earlier[:20]])


def _reasons(review: ReviewView, with_ai: bool) -> str:
    given = review.reasons if with_ai else unaided_reasons(review.finding, review.reasons)
    return wording.reasons_text(given)


def standing_review(view: StudyView) -> ReviewView | None:
    """The review that stands: the signed one, else the newest; None of an exam that is not read."""
    stands = view.state.standing.review_id
    named = (one for one in view.reviews if one.review_id == stands)
    return next(named, view.reviews[-1] if view.reviews else None)


def _finding_of(finding: Any) -> str:
    return str(wording.FINDINGS[finding.value]) if finding else _("no finding stated")


def _ai(view: StudyView) -> list[Section]:
    """What the AI found on each picture that it has looked at, and the model."""
    several = len(view.pictures) > 1
    sections = [
        _of_picture(
            one,
            _("AI result: %(picture)s", picture=_named(view, one)) if several else _("AI result"),
            view,
        )
        for one in view.pictures
    ]
    models = {
        one.prediction.model_sha256: one.prediction for one in view.pictures if one.prediction
    }
    for prediction in models.values():
        sections.append(
            Section(
                title=_("Model"),
                rows=_rows(
                    [
                        (
                            _("Name and version"),
                            f"{prediction.model_name} {prediction.model_version}",
                        ),
                        (_("SHA-256 of its weights"), prediction.model_sha256),
                        (
                            _("Operating point"),
                            wording.OPERATING_POINTS.get(prediction.operating_point or "", ""),
                        ),
                        (_("Pixel threshold"), _number(prediction.threshold)),
                    ]
                ),
                notes=[str(wording.LIMITS)],
            )
        )
    return sections


def _of_picture(picture: PictureView, title: str, view: StudyView) -> Section:
    state, prediction = picture.state, picture.prediction
    band = state.result.band if state.result else None
    retracted = bool(state.result and state.result.retracted)
    label = wording.status_label(state.state, band, retracted=retracted)
    if prediction is None:
        return Section(title=title, rows=_rows([(_("Result"), label.title)]), notes=why(picture))
    measured = prediction.measurements or {}
    facts = view.facts if picture is view.picture else None
    spacing, problem = size_lines.spacing(facts or {}, measured)
    row_mm, source = (spacing["row_mm"], spacing["source"]) if spacing else (None, None)
    probability = state.result.probability if state.result else None
    reasons = (
        [quality_texts.shown(one) for one in state.result.reasons if one.get("message")]
        if (state.result)
        else []
    )
    rows = [
        (_("Result"), label.title),
        (_("Side and zone"), outline_view.where_of(measured)),
        (_("Probability"), wording.probability(probability)),
        (_("What it means"), _bands(prediction)),
        *_measures(measured),
        (_("Picture"), str(wording.QUALITY_WITHIN[prediction.result.quality.value])),
        (_("Computed"), moment_text(prediction.created)),
    ]
    notes = [
        wording.retraction(prediction.retraction),
        *reasons,
        label.note,
        wording.UNDER_18 if state.result and state.result.under_18 else "",
        wording.spacing_note(row_mm, source, problem) if measured.get("area_px") else "",
        size_lines.METHOD if measured.get("extents") else "",
    ]
    return Section(title=title, rows=_rows(rows), notes=[str(note) for note in notes if note])


def _bands(prediction: PredictionView) -> str:
    return wording.bands(
        prediction.operating_point, prediction.image_threshold, prediction.likely_threshold
    )


def why(picture: PictureView) -> list[str]:
    """Why a picture has no result."""
    if picture.state.state is State.SKIPPED:
        reason = picture.state.skipped_for
        return [_("Kept without analysis by a rule of the team: %(reason)s", reason=reason)]
    if picture.state.is_settled:
        return [str(wording.failure(picture.state.error_code))]
    going_on = wording.progress(picture.state.state, picture.state.waiting_for)
    return [str(going_on) if going_on else _("No result yet.")]


def _measures(measured: dict[str, Any]) -> list[tuple[str, str]]:
    if not measured.get("area_px"):
        return []
    rows = [
        size_lines.figure(measured) or ("", ""),
        (
            _("Greatest distance"),
            wording.length(measured.get("distance_mm"), measured.get("distance_px")),
        ),
        (
            pgettext("measure", "Area"),
            wording.area(measured.get("area_mm2"), measured.get("area_px")),
        ),
        (_("Size class"), size_lines.severity(measured)),
    ]
    for side in size_lines.sizes(measured):
        rows += [(f"{side.side}: {_within(name)}", value) for name, value in side.levels]
        rows += [(f"{side.side}: {name}", value) for name, value in side.indices]
    return list(dict.fromkeys(rows))


def _within(name: str) -> str:
    """A name behind another word: in English with a small letter; German nouns keep theirs."""
    return name.lower() if current() == DEFAULT else name


def _outlines(view: StudyView, with_ai: bool) -> list[Section]:
    """The newest outline by a reader on each picture, and its measurements."""
    newest = newest_counting(view.outlines)
    return [
        _outline(view, one, newest[one.instance_id], with_ai)
        for one in view.pictures
        if one.instance_id in newest
    ]


def _outline(view: StudyView, picture: PictureView, one: OutlineView, with_ai: bool) -> Section:
    several = len(view.pictures) > 1
    title = str(LABELS[OutlineBy.READER])
    if several:
        title = _("Reader’s outline: %(picture)s", picture=_named(view, picture))
    measured = one.measurements or {}
    notes = {
        "waiting": [_("This outline is still being measured.")],
        "failed": [_("This outline could not be measured.")],
    }.get(one.measuring, [])
    if not one.pixels:
        notes = [_("Nothing is outlined: the reader sees no pneumothorax on this picture.")]
    rows = [
        (_("Side and zone"), outline_view.where_of(measured)),
        *_measures(measured),
        (_("Dice to the AI outline"), _number(one.dice_model) if with_ai else ""),
        (_("Drawn by"), one.author),
        (pgettext("time", "Drawn"), moment_text(one.created)),
    ]
    return Section(title=title, rows=_rows(rows), notes=notes)


def _picture(view: StudyView, file: PictureFile) -> PicturePart:
    picture = next(one for one in view.pictures if one.instance_id == file.instance_id)
    drawn = ", ".join(str(LABELS[one.by]) for one in file.outlines)
    title = _named(view, picture)
    marks = _marks(view, picture)
    if marks:
        by_reader = _("%(count)s drawn by the reader", count=len(marks))
        drawn = ", ".join(filter(None, (drawn, by_reader)))
    return PicturePart(
        title=title[:1].upper() + title[1:],
        caption=_(
            "%(columns)s × %(rows)s pixels, shown smaller, through its first window. Not for "
            "diagnosis.",
            columns=file.columns,
            rows=file.rows,
        ),
        described=_("Chest X-ray, %(picture)s, with %(drawn)s", picture=title, drawn=drawn)
        if drawn
        else _("Chest X-ray, %(picture)s", picture=title),
        rows=file.rows,
        columns=file.columns,
        bytes=len(file.jpeg),
        outlines=[
            OutlinePart(
                by=one.by,
                form=one.form,
                label=str(LABELS[one.by]),
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
    """'arrow: apex', 'ruler: 34.1 mm (at the detector)', 'ruler: 210 px'."""
    if one.kind == "arrow":
        return _("arrow: %(text)s", text=one.text) if one.text else _("arrow")
    x0, y0, x1, y1 = one.line
    if spacing is None:
        return _("ruler: %(length)s px", length=wording.fixed(math.hypot(x1 - x0, y1 - y0), 0))
    length = math.hypot((x1 - x0) * spacing["column_mm"], (y1 - y0) * spacing["row_mm"])
    return _(
        "ruler: %(length)s mm (%(source)s)",
        length=wording.fixed(length, 1),
        source=wording.spacing_source(spacing["source"]),
    )


def _named(view: StudyView, picture: PictureView) -> str:
    number = [one.instance_id for one in view.pictures].index(picture.instance_id) + 1
    name = picture.view.value if picture.view is not View.UNKNOWN else _("view unknown")
    return _("picture %(number)s, %(view)s", number=number, view=name)


def _number(value: float | None) -> str:
    return "" if value is None else wording.fixed(value, 2)


def _rows(rows: Sequence[tuple[str, str]]) -> list[Row]:
    """Those that hold something."""
    return [Row(label=str(label), text=str(text)) for label, text in rows if text]
