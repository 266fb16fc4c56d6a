"""The case page's part of what the hospital's systems have stated: order and report."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from portal.hl7.case_view import Stated
from portal.languages import _, lazy
from portal.models import HospitalReportState, OrderPriority

PRIORITIES: Final[Mapping[OrderPriority, str]] = {
    OrderPriority.STAT: lazy("STAT"),
    OrderPriority.ASAP: lazy("as soon as possible"),
    OrderPriority.ROUTINE: lazy("routine"),
}
_STATES: Final[Mapping[HospitalReportState, str]] = {
    HospitalReportState.FINAL: lazy("final"),
    HospitalReportState.CORRECTED: lazy("corrected"),
}


@dataclass(frozen=True)
class ReportLine:
    """A report with its state in words."""

    state: str
    text: str
    sender: str
    when: datetime


@dataclass(frozen=True)
class HospitalPanel:
    """Texts ready for display; `priority` is empty where none was stated, `is_urgent` for STAT and
    as soon as possible.
    """

    priority: str
    is_urgent: bool
    location: str
    is_cancelled: bool
    order_from: str
    order_when: datetime | None
    reports: list[ReportLine]
    notes: list[str]


def panel(stated: Stated) -> HospitalPanel | None:
    """None where nothing was stated."""
    order = stated.order
    notes = []
    if stated.hides_report:
        notes.append(_("The hospital has sent a report. It is shown after your finding."))
    if stated.is_damaged:
        notes.append(
            _("What the hospital has sent for this case can’t be read: its record is damaged.")
        )
    if stated.of_another:
        notes.append(
            _(
                "The hospital has sent something under this accession number that names another "
                "patient or can’t be opened. It is not shown."
            )
        )
    if order is None and not stated.reports and not notes:
        return None
    return HospitalPanel(
        priority=str(PRIORITIES[order.priority]) if order and order.priority else "",
        is_urgent=order is not None
        and order.priority in (OrderPriority.STAT, OrderPriority.ASAP)
        and not order.is_cancelled,
        location=order.location if order else "",
        is_cancelled=order is not None and order.is_cancelled,
        order_from=order.sender if order else "",
        order_when=order.changed if order else None,
        reports=[
            ReportLine(str(_STATES[one.state]), one.text, one.sender, one.created)
            for one in stated.reports
        ],
        notes=notes,
    )
