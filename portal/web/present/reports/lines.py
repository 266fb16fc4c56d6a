"""The reports of a case, for the case page and the page of reports."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from portal.languages import _, lazy, ngettext, number_text, pgettext
from portal.reports.made import Listed, ObjectsView, ReportView
from worker.contract.error_codes import ErrorCode

_FAILED: Final = {
    ErrorCode.REPORT_UNAVAILABLE.value: lazy(
        "No worker can make reports: a library (Pango) is missing on its machine. Inform an "
        "administrator; everything else works."
    ),
    ErrorCode.REPORT_LIMIT.value: lazy("It is too large to be made."),
    ErrorCode.WORKER_TOO_OLD.value: lazy(
        "The workers are of an older version that makes no reports. Inform an administrator."
    ),
}
_AGAIN: Final = lazy("Ask for it again.")


_OBJECTS_FAILED: Final = {
    ErrorCode.OBJECTS_REFUSED.value: lazy(
        "The header of the picture’s file lacks what DICOM objects must refer to, or can’t be read."
    ),
    ErrorCode.OBJECTS_LIMIT.value: lazy("The picture or its header is too large."),
    ErrorCode.OBJECTS_UNAVAILABLE.value: lazy(
        "No worker can make DICOM objects: a package (highdicom) is missing on its machine. Inform "
        "an administrator; everything else works."
    ),
    ErrorCode.WORKER_TOO_OLD.value: lazy(
        "The workers are of an older version that makes none. Inform an administrator."
    ),
}


@dataclass(frozen=True)
class ReportLine:
    """One report. `text` is about its state; `problem` is why it could not be made, else "".
    `objects`: the state of its DICOM objects, "none" where they can be asked for, else "".
    """

    id: UUID
    number: int
    kind: str
    author: str
    when: datetime
    state: str
    text: str
    problem: str
    outdated: str
    sha256: str
    objects: str
    objects_text: str


@dataclass(frozen=True)
class ReportPanel:
    """The reports of a case, the newest first. `waiting`: one, or its objects, is being made."""

    study_id: UUID
    case_number: str
    lines: list[ReportLine]
    waiting: bool


def panel(listed: Listed) -> ReportPanel:
    """What the page shows of the reports of a case."""
    lines = [_line(one, listed.changed) for one in reversed(listed.reports)]
    return ReportPanel(
        study_id=listed.study_id,
        case_number=listed.case_number,
        lines=lines,
        waiting=any("waiting" in (line.state, line.objects) for line in lines),
    )


def _line(one: ReportView, changed: datetime | None) -> ReportLine:
    is_failed = one.state == "failed"
    return ReportLine(
        id=one.report_id,
        number=one.number,
        kind=_("signed") if one.is_signed else _("preliminary"),
        author=one.author,
        when=one.created,
        state=one.state,
        text=_text(one),
        problem=str(_FAILED.get(one.error_code or "", _AGAIN)) if is_failed else "",
        outdated=_("The case has changed since.")
        if changed is not None and changed > one.created
        else "",
        sha256=one.sha256,
        objects=_objects_state(one, is_outdated=changed is not None and changed > one.created),
        objects_text=_objects_text(one.objects),
    )


def _objects_state(one: ReportView, *, is_outdated: bool) -> str:
    if one.objects is not None:
        return one.objects.state
    return "none" if one.state == "ready" and one.with_ai and not is_outdated else ""


def _objects_text(objects: ObjectsView | None) -> str:
    if objects is None or not objects.failed:
        return ""
    why = _OBJECTS_FAILED.get(objects.error_code or "", lazy("Ask for them again."))
    if objects.pictures == 1:
        return _("Not made. %(why)s", why=why)
    return _(
        "Of %(failed)s of %(pictures)s pictures none could be made. %(why)s",
        failed=objects.failed,
        pictures=objects.pictures,
        why=why,
    )


def _text(one: ReportView) -> str:
    if one.state == "waiting":
        return pgettext("report", "being made")
    if one.state == "failed":
        return pgettext("report", "not made")
    size = _size(one.bytes)
    return ngettext("%(num)s page, %(size)s", "%(num)s pages, %(size)s", one.pages, size=size)


def _size(count: int) -> str:
    if count >= 2**20:
        return f"{number_text(round(count / 2**20, 1), 1)} MB"
    return f"{max(count // 1024, 1)} KB"
