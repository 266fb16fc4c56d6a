"""What is stated of a signed exam: the report's text as the team's pages word it, and the same as
coded observations. What the team's policy hides of the AI is in neither.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from portal.access import Actor
from portal.formats.display_text import clean_lines
from portal.hl7.sending import codes
from portal.hl7.sending.codes import Code
from portal.hl7.sending.oru import Content, Observation
from portal.languages import speaking
from portal.models import Band, Finding, Study
from portal.reading import case
from portal.reading.case_records import PictureView, StudyView
from portal.reports.requests import Compose
from portal.studies import sealed_fields
from portal.studies.reader_outlines import newest_counting
from portal.teams.settings import settings_of
from portal.vault import Vault
from worker.contract.contents.report_content import ReportContent

_LONGEST_TEXT: Final = 50_000  # FT has room for 65,536 with its escapes
_NO_NUMBER: Final = "0" * 32  # of a file, which there is none of
_PRESENT: Final = {
    Finding.NONE: codes.ABSENT,
    Finding.UNSURE: codes.UNSURE,
    Finding.RIGHT: codes.PRESENT,
    Finding.LEFT: codes.PRESENT,
    Finding.BOTH: codes.PRESENT,
}


class NotSigned(Exception):
    """There is no signed verdict to be reported."""


class TooLong(Exception):
    """The text has no room in a message: a report is never cut off."""


def of_exam(
    session: Session, vault: Vault, actor: Actor, study: Study, compose: Compose, now: datetime
) -> Content:
    """What is sent of an exam that the actor sees; ends the transaction. NotReadable, NotSigned,
    TooLong."""
    view = case.view_of(session, vault, actor, study, study.id, now, with_others=False)
    phi = sealed_fields.open_phi(vault, sealed_fields.key_of(vault, study), study)
    language = settings_of(session, study.team_id).language
    session.commit()
    standing = view.state.standing
    if not standing.is_signed or standing.at is None:
        raise NotSigned
    with speaking(language):
        # Without the time at which it is made: the same exam is the same report.
        report = compose(view, [], _NO_NUMBER, standing.at, view.ai.is_visible)
    patient = view.patient
    return Content(
        patient_id=patient.patient_id,
        issuer=phi.get("issuer", ""),
        patient_name=patient.patient_name,
        birth_date=patient.birth_date,
        sex=patient.sex,
        accession=patient.accession,
        case_number=view.case_number,
        # A time alone would be read as a year.
        taken=f"{patient.study_date} {patient.study_time}" if patient.study_date else "",
        signer=standing.author,
        changed=max([standing.at, *(one.created for one in view.addenda)]),
        text=_text(report),
        research=report.research,
        observations=[*_of_reader(view), *_of_pictures(view)],
    )


def _text(report: ReportContent) -> str:
    lines = [report.title, report.state]
    for section in report.sections:
        rows = [f"{row.label}: {row.text}" for row in section.rows]
        lines += ["", section.title, *rows, *section.notes]
    text = "\n".join([*lines, "", report.research])
    if len(text) > _LONGEST_TEXT:
        raise TooLong
    return clean_lines(text, _LONGEST_TEXT)


def _of_reader(view: StudyView) -> Iterator[Observation]:
    """The signed verdict."""
    stands = view.state.standing.review_id
    review = next((one for one in view.reviews if one.review_id == stands), None)
    if review is None or review.finding is None:
        return
    yield Observation(codes.PNEUMOTHORAX, _PRESENT[review.finding], codes.BY_EYE)
    if review.finding.value in codes.SIDES:
        yield Observation(codes.LATERALITY, codes.SIDES[review.finding.value], codes.BY_EYE)
    if review.size is not None:
        yield Observation(codes.SIZE_BY_EYE, codes.SIZES[review.size.value], codes.BY_EYE)


def _of_pictures(view: StudyView) -> Iterator[Observation]:
    outlines = newest_counting(view.outlines)
    for number, picture in enumerate(view.pictures, 1):
        if view.ai.is_visible and picture.prediction is not None:
            yield from _of_ai(picture, f"{number}.ai")
        if picture.instance_id in outlines:
            measured = outlines[picture.instance_id].measurements or {}
            yield from _measures(measured, codes.BY_READER, f"{number}.reader")


def _of_ai(picture: PictureView, part: str) -> Iterator[Observation]:
    """What the model found on one picture; of a retracted result, that alone."""
    prediction = picture.prediction
    assert prediction is not None
    result = prediction.result

    def about(what: Code, value: Code | float, unit: Code | None = None) -> Observation:
        return Observation(what, value, codes.BY_AI, unit, part)

    version = f"{prediction.model_name} {prediction.model_version}"
    yield about(codes.ALGORITHM, codes.own(prediction.model_sha256[:16], version))
    if prediction.operating_point:
        point = prediction.operating_point
        yield about(
            codes.OPERATING_POINT, codes.own(point.replace("_", "-"), point.replace("_", " "))
        )
    if prediction.retraction is not None:
        yield about(codes.SUMMARY, codes.RETRACTED)
    elif result.band is None:
        yield about(codes.SUMMARY, codes.NO_ALGORITHM)
    else:
        is_found = result.band is not Band.NONE_FOUND
        yield about(codes.SUMMARY, codes.WITH_FINDINGS if is_found else codes.WITHOUT_FINDINGS)
        if result.probability is not None:
            yield about(codes.CERTAINTY, 100.0 * result.probability, codes.PERCENT)
        if is_found:
            yield from _measures(prediction.measurements or {}, codes.BY_AI, part)


def _measures(measured: dict[str, Any], method: Code, part: str) -> Iterator[Observation]:
    """Areas and lengths where the pixel spacing is known, and shares of the hemithorax."""
    if not measured.get("area_px"):
        return

    def number(what: Code, value: float, unit: Code, side: str = "") -> Observation:
        return Observation(what, float(value), method, unit, f"{part}.{side}" if side else part)

    if measured.get("area_mm2") is not None:
        yield number(codes.AREA, measured["area_mm2"], codes.SQUARE_MILLIMETRE)
    if measured.get("distance_mm") is not None:
        yield number(codes.DISTANCE, measured["distance_mm"], codes.MILLIMETRE)
    for extent in measured.get("extents") or ():
        side = str(extent["side"])
        if extent.get("fraction") is not None:
            yield number(codes.AIR_SHARE, 100 * extent["fraction"], codes.PERCENT, side)
        for name, what in codes.LEVELS.items():
            level = extent.get(name)
            if level and level.get("px") and level.get("mm") is not None:
                yield number(what, level["mm"], codes.MILLIMETRE, side)
        for name, what in codes.INDICES.items():
            if extent[name]["applies"]:
                yield number(what, extent[name]["percent"], codes.PERCENT, side)
