"""The reports of a case, for the case page and the page of reports."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from portal.reports.made import Listed, ReportView
from worker.contract.error_codes import ErrorCode

_FAILED: Final = {
    ErrorCode.REPORT_UNAVAILABLE.value: "No worker can make reports: a library (Pango) is missing "
    "on its machine. Inform an administrator; everything else works.",
    ErrorCode.REPORT_LIMIT.value: "It is too large to be made.",
    ErrorCode.WORKER_TOO_OLD.value: "The workers are of an older version that makes no reports. "
    "Inform an administrator.",
}


@dataclass(frozen=True)
class ReportLine:
    """One report. `text` is about its state; `problem` is why it could not be made, else ""."""

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


@dataclass(frozen=True)
class ReportPanel:
    """The reports of a case, the newest first. `waiting`: one is being made."""

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
        waiting=any(line.state == "waiting" for line in lines),
    )


def _line(one: ReportView, changed: datetime | None) -> ReportLine:
    is_failed = one.state == "failed"
    return ReportLine(
        id=one.report_id,
        number=one.number,
        kind="Signed" if one.is_signed else "Preliminary",
        author=one.author,
        when=one.created,
        state=one.state,
        text={
            "waiting": "being made",
            "failed": "not made",
            "ready": f"{one.pages} page{'' if one.pages == 1 else 's'}, {_size(one.bytes)}",
        }[one.state],
        problem=_FAILED.get(one.error_code or "", "Ask for it again.") if is_failed else "",
        outdated="The case has changed since."
        if changed is not None and changed > one.created
        else "",
        sha256=one.sha256,
    )


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MB" if count >= 2**20 else f"{max(count // 1024, 1)} KB"
