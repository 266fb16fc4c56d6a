"""Rows of worklist and history for the pages, and the cells that change while a page is open."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from portal.languages import _, header_day_text, ngettext
from portal.models import QualityVerdict, View
from portal.reading.lists.claims import Claim
from portal.reading.lists.live import LiveRow
from portal.reading.worklist_rows import OtherPicture, WorklistRow
from portal.studies.status import Result, State, StudyState
from portal.web.present import sign_view, wording
from portal.web.present.viewing import quality_texts

_MOST_IDS: Final = 200


@dataclass(frozen=True)
class RowStatus:
    """AI result and verdict of a study: the cells that change while a page is open."""

    label: wording.StatusLabel
    detail: str
    probability: str
    reader: str
    verdict: str
    settled: bool
    claimed: str = ""  # who reads it just now
    at: datetime | None = None  # when it was signed or saved
    new_picture: str = ""  # came after it was read


@dataclass(frozen=True)
class OtherThumb:
    """A further picture of the exam: its thumbnail as a `data:` URL, "" without one, and a text."""

    thumb: str
    text: str


@dataclass(frozen=True)
class ListRow:
    """One row of worklist or history: `thumb` is a `data:` URL, `unnamed` stands for no name.

    `exam`, `birth_date`, `patient_id` and `accession` are the header's, empty without one; `typed`
    names what of it the sender typed instead.
    """

    status: RowStatus
    id: UUID
    number: str
    name: str
    unnamed: str
    sex_age: str
    birth_date: str
    patient_id: str
    exam: str
    accession: str
    view: str
    arrived: datetime | None
    thumb: str
    read_at: datetime | None
    typed: str
    is_old: bool
    others: list[OtherThumb]
    more: str


def row_status(state: StudyState, reader: str | None, claim: Claim | None = None) -> RowStatus:
    """The cells of a row that change."""
    result = state.result
    label = wording.status_label(
        state.state, result.band if result else None, retracted=bool(result and result.retracted)
    )
    return RowStatus(
        label=label,
        detail=_detail(state, label),
        probability=wording.probability(result.probability) if result else "",
        reader=state.standing.author or reader or "",
        verdict=_verdict(state),
        settled=state.is_settled,
        claimed=claim.reader if claim else "",
        at=state.standing.at,
        new_picture=sign_view.new_pictures(state.new_pictures),
    )


def _verdict(state: StudyState) -> str:
    """'final · right · agreed'; "" for an exam that nobody has read."""
    if state.standing.is_hidden:
        return f"{sign_view.STATES_WITHIN[state.standing.state]} · {wording.AFTER_YOURS}"
    if state.reviewed is None:
        return ""
    finding = state.finding.value if state.finding else None
    stated = wording.review_label_within(state.reviewed.value, finding)
    return f"{sign_view.STATES_WITHIN[state.standing.state]} · {stated}"


def live_row(study_id: UUID, row: LiveRow, render: Callable[[RowStatus], str]) -> dict[str, Any]:
    """The parts of a row that change, for the script of an open list; `render` makes its cells."""
    status = row_status(row.state, row.reader, row.claim)
    return {
        "state": row.state.state.value,
        "settled": status.settled,
        "found": status.label.found,
        "thumb": f"/studies/{study_id}/blobs/thumb" if row.state.has_picture else None,
        "html": render(status),
    }


def ids_of(text: str) -> list[UUID]:
    """The ids of exams that a page asks about; anything else is left out."""
    found = []
    for part in text.split(",")[:_MOST_IDS]:
        try:
            found.append(UUID(part))
        except ValueError:
            continue
    return found


def row(source: WorklistRow) -> ListRow:
    """One row of a list."""
    return ListRow(
        status=row_status(source.state, source.reader, source.claim),
        id=source.study_id,
        number=source.case_number,
        name=source.patient.patient_name,
        unnamed=wording.DAMAGED if source.damaged else wording.UNNAMED,
        sex_age=wording.sex_and_age(source.patient.sex, source.patient.age, source.age_years),
        birth_date=header_day_text(source.patient.birth_date),
        patient_id=source.patient.patient_id,
        exam=header_day_text(source.patient.study_date),
        accession=source.patient.accession,
        view=source.view or "",
        arrived=source.created,
        thumb=_data_url(source.thumb, source.thumb_media_type),
        read_at=source.read_at,
        typed=wording.typed(source.patient.typed),
        is_old=source.is_old,
        others=[
            OtherThumb(_data_url(one.thumb, one.media_type), _other_text(one))
            for one in source.others
        ],
        more=ngettext("and %(num)s more", "and %(num)s more", source.more) if source.more else "",
    )


def _data_url(data: bytes | None, media_type: str | None) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode()}" if data is not None else ""


def _other_text(one: OtherPicture) -> str:
    """'PA', 'LL, not analysed': a view from the side is shown and not looked at by the model."""
    view = one.view.value if one.view is not View.UNKNOWN else _("another picture")
    return _("%(view)s, not analysed", view=view) if one.is_frontal is False else view


def notices(states: list[StudyState], *, redis_answers: bool) -> list[str]:
    """What delays results, with the next step."""
    open_ones = [state for state in states if not state.is_settled]
    found = []
    if any(state.waiting_for == "worker" for state in open_ones):
        found.append(
            _(
                "No worker takes jobs, so new cases get no AI result for now. They are stored and "
                "will be analysed when one does. Read urgent ones unaided."
            )
        )
    if any(state.waiting_for == "model" for state in open_ones):
        found.append(
            _(
                "No worker has the model in use, so new cases get no AI result for now. They wait "
                "for a worker that has it. Read urgent ones unaided."
            )
        )
    if not redis_answers:
        found.append(
            _(
                "The job queue (Redis) is not available. Cases are accepted and stored; "
                "results may be delayed."
            )
        )
    return found


def _detail(state: StudyState, label: wording.StatusLabel) -> str:
    result = state.result
    if state.state is State.READY:
        return ""
    if not state.is_settled:
        return wording.WAITING.get(state.waiting_for or "", "")
    if result is not None and result.band is None:
        return next((quality_texts.shown(reason) for reason in result.reasons), "")
    if state.state is State.SKIPPED:
        return state.skipped_for
    if result is None:
        return wording.failure(state.error_code)
    size = _size(result) if label.found else ""
    where = wording.where(result.side, ()) if label.found else ""
    limited = _("picture of limited use") if result.quality is QualityVerdict.LIMITED else ""
    failed = wording.failed_pictures(state.unaided, len(state.pictures)) if state.unaided else ""
    young = wording.UNDER_18_SHORT if state.under_18 else ""
    late = wording.FOUND_AFTER_READING_SHORT if state.found_after_reading else ""
    parts = (late, failed, young, where, size, limited)
    return " · ".join(str(part) for part in parts if part)


def _size(result: Result) -> str:
    """The same figure as in the case, if it has a unit."""
    if result.hemithorax_share is not None:
        return _("%(share)s of hemithorax", share=wording.share(result.hemithorax_share))
    return wording.length(result.distance_mm, None)
