"""Critical findings on the pages: who is asked, who was informed, and why one is new or not."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from portal.critical.case_view import CaseCritical, FindingView
from portal.critical.communications import CommunicationView
from portal.critical.open_findings import OpenFinding
from portal.languages import _, hour_text, lazy, pgettext
from portal.models import CriticalState, Finding, Means

MEANS: Final = {
    Means.PHONE.value: lazy("by phone"),
    Means.IN_PERSON.value: lazy("in person"),
    Means.MESSAGE.value: lazy("by message"),
    Means.OTHER.value: lazy("in another way"),
}
SIDES: Final = {
    Finding.RIGHT.value: lazy("right", context="side"),
    Finding.LEFT.value: lazy("left", context="side"),
    Finding.BOTH.value: lazy("both sides"),
}

_BY_SIDE: Final = "by_side"


@dataclass(frozen=True)
class Box:
    """The box beside the verdict: whether it is checked or cannot be, and why. `offered`: what its
    form says of it (`stated`).
    """

    checked: bool
    offered: str
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
            (one.hex, _("me") if one == user_id else name)
            for one, name in sorted(case.people, key=lambda person: person[0] != user_id)
        ],
        means=[("", pgettext("informed", "How")), *MEANS.items()],
    )


def asked_line(one: OpenFinding) -> str:
    """Who sees to a finding, for the strip of the worklist."""
    if one.is_unanswered:
        return _("everybody on the rota was asked")
    if one.acknowledged:
        return _("%(name)s sees to it", name=one.acknowledged)
    if one.informed:
        return _("asked: %(name)s, informed: %(informed)s", name=one.asked, informed=one.informed)
    return _("asked: %(name)s", name=one.asked)


def case_address(study_id: UUID) -> str:
    """The address of a case's page, also outside of a request."""
    return f"/studies/{study_id}"


def _box(case: CaseCritical) -> Box:
    earlier = case.earlier
    if case.is_old:
        note = _("Older exam: raises no alarm.")
    elif earlier is not None:
        side = SIDES[earlier.finding.value]
        note = _("Not new on this side: pneumothorax (%(side)s) in case", side=side)
    elif not case.has_patient_id:
        note = _("No patient ID: earlier exams are not known.")
    else:
        note = _("New: it is not known from an earlier exam here.")
    return Box(
        checked=case.is_marked,
        offered=_BY_SIDE if case.by_side else "1",
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
        title=_("Pneumothorax, %(side)s", side=SIDES[one.finding.value]),
        since=one.since,
        asked=_asked(one) if one.state is CriticalState.OPEN else "",
        ended_by=one.ended_by,
        ended_at=one.ended_at,
        records=[
            (
                record.person,
                record.informed_at,
                _how(record),
            )
            for record in one.communications
        ],
    )


def _how(record: CommunicationView) -> str:
    how, by = MEANS[record.means.value], record.informed_by
    if record.read_back:
        return _("%(how)s by %(name)s, read back", how=how, name=by)
    return _("%(how)s by %(name)s, not read back", how=how, name=by)


def _asked(one: FindingView) -> str:
    if one.is_unanswered:
        return _("Everybody on the rota was asked and nobody has closed it: call somebody now.")
    if one.acknowledged_by:
        who = _("%(name)s sees to it.", name=one.acknowledged_by)
    elif one.informed:
        who = _(
            "%(name)s is to inform somebody. %(informed)s was informed.",
            name=one.asked_now,
            informed=one.informed,
        )
    else:
        who = _("%(name)s is to inform somebody.", name=one.asked_now)
    if one.due is None:
        return who
    time = hour_text(one.due)
    if one.following:
        comes = _("At %(time)s %(name)s is asked.", time=time, name=one.following)
    else:
        comes = _("At %(time)s everybody will have been asked.", time=time)
    return f"{who} {comes}"


# What the strip of the worklist is made with.
TEXTS: Final[dict[str, Any]] = {
    "sides": SIDES,
    "asked_line": asked_line,
    "case_address": case_address,
}


def stated(form: Any) -> bool | None:
    """Whether a form with the box calls the finding critical; None where it had no box, or one that
    is unchecked because of a known pneumothorax of one side: the finding's side decides.
    """
    if "critical_offered" not in form:
        return None
    if form.get("critical") == "yes":
        return True
    return None if form.get("critical_offered") == _BY_SIDE else False
