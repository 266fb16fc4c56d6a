"""Critical findings on the pages: who is asked, who was informed, and why one is new or not."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from portal.critical.case_view import CaseCritical, FindingView
from portal.critical.open_findings import OpenFinding
from portal.models import CriticalState, Finding, Means

MEANS: Final = {
    Means.PHONE.value: "by phone",
    Means.IN_PERSON.value: "in person",
    Means.MESSAGE.value: "by message",
    Means.OTHER.value: "in another way",
}
SIDES: Final = {
    Finding.RIGHT.value: "right",
    Finding.LEFT.value: "left",
    Finding.BOTH.value: "both sides",
}


@dataclass(frozen=True)
class Box:
    """The box beside the verdict: whether it is checked or cannot be, and why."""

    checked: bool
    disabled: bool
    note: str
    other_case: UUID | None
    other_number: str


@dataclass(frozen=True)
class Line:
    """One critical finding. `state`: open, unanswered, closed or withdrawn."""

    state: str
    title: str
    since: datetime
    asked: str
    ended_by: str
    ended_at: datetime | None
    records: list[tuple[str, datetime, str]]  # who was informed, when, and by whom and how


@dataclass(frozen=True)
class CriticalPanel:
    """The template's `critical`. `people`: who can have informed somebody."""

    lines: list[Line]
    is_open: bool
    is_known: bool
    box: Box
    may_change: bool
    people: list[tuple[str, str]]
    means: list[tuple[str, str]]


def panel(case: CaseCritical, user_id: UUID) -> CriticalPanel:
    """The critical findings of the case for this person."""
    lines = [_line(one) for one in case.findings]
    return CriticalPanel(
        lines=lines,
        is_open=any(line.state in ("open", "unanswered") for line in lines),
        is_known=any(line.state != "withdrawn" for line in lines),
        box=_box(case),
        may_change=case.may_change,
        people=[
            (one.hex, "me" if one == user_id else name)
            for one, name in sorted(case.people, key=lambda person: person[0] != user_id)
        ],
        means=[("", "How"), *MEANS.items()],
    )


def asked_line(one: OpenFinding) -> str:
    """Who sees to a finding, for the strip of the worklist."""
    if one.is_unanswered:
        return "everybody on the rota was asked"
    return f"{one.acknowledged} sees to it" if one.acknowledged else f"asked: {one.asked}"


def case_address(study_id: UUID) -> str:
    """The address of a case's page, also outside of a request."""
    return f"/studies/{study_id}"


def _box(case: CaseCritical) -> Box:
    earlier = case.earlier
    if case.is_old:
        note = "Older exam: raises no alarm."
    elif earlier is not None:
        note = f"Not new: pneumothorax ({SIDES[earlier.finding.value]}) in case"
    elif not case.has_patient_id:
        note = "No patient ID: earlier exams are not known."
    else:
        note = "New: no earlier exam here has a pneumothorax."
    return Box(
        checked=case.is_marked,
        disabled=case.is_old,
        note=note,
        other_case=earlier.study_id if earlier and not case.is_old else None,
        other_number=earlier.case_number if earlier else "",
    )


def _line(one: FindingView) -> Line:
    state = one.state.value
    if one.is_unanswered:
        state = "unanswered"
    return Line(
        state=state,
        title=f"Pneumothorax, {SIDES[one.finding.value]}",
        since=one.since,
        asked=_asked(one) if one.state is CriticalState.OPEN else "",
        ended_by=one.ended_by,
        ended_at=one.ended_at,
        records=[
            (
                record.person,
                record.informed_at,
                f"{MEANS[record.means.value]} by {record.informed_by}, "
                + ("read back" if record.read_back else "not read back"),
            )
            for record in one.communications
        ],
    )


def _asked(one: FindingView) -> str:
    if one.is_unanswered:
        return "Everybody on the rota was asked and nobody has closed it: call somebody now."
    who = (
        f"{one.acknowledged_by} sees to it."
        if one.acknowledged_by
        else f"{one.asked_now} is to inform somebody."
    )
    if one.due is None:
        return who
    comes = f"{one.following} is asked" if one.following else "everybody will have been asked"
    return f"{who} At {one.due:%H:%M} UTC {comes}."


# What the strip of the worklist is made with.
TEXTS: Final[dict[str, Any]] = {
    "sides": SIDES,
    "asked_line": asked_line,
    "case_address": case_address,
}


def stated(form: Any) -> bool | None:
    """Whether a form with the box calls the finding critical; None where it had no box."""
    if "critical_offered" not in form:
        return None
    return bool(form.get("critical") == "yes")
