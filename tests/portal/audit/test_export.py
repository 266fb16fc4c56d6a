"""The access log handed out: all rows that were asked for, ids only, written down, no formulas."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from portal import audit, errors
from portal.access import Denied
from portal.audit import export
from portal.models import AuditEvent
from portal.reading import case
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, Core
from tests.support.pictures import CANARY


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def used(clinic: Clinic) -> None:
    """Something has happened, about a patient with a name."""
    named = clinic.submit(PatientName=CANARY).study_id
    clinic.segment(clinic.render(named))
    with clinic.session as session:
        case.open_study(session, clinic.vault, clinic.mate, named, after(days=1))


def test_csv_and_json_lines_hold_every_row_and_no_patient(clinic: Clinic) -> None:
    used(clinic)
    with clinic.session as session:
        length = session.scalar(select(func.count()).select_from(AuditEvent))
        as_csv, count = export.export(session, clinic.auditor, audit.AuditFilter(), "csv", NOW)
        as_json, again = export.export(session, clinic.auditor, audit.AuditFilter(), "jsonl", NOW)
    assert (count, again) == (length, length + 1)  # the first export is in the second
    first, second = rows_of(as_csv), [json.loads(line) for line in as_json.splitlines()]
    assert [int(row["seq"]) for row in first] == list(range(1, length + 1))
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in second[:-1]] == (
        first
    )
    with clinic.session as session:
        macs = session.scalars(select(AuditEvent.mac).order_by(AuditEvent.seq)).all()
    assert [row["mac"] for row in second] == macs[:again]
    for data in (as_csv, as_json):
        assert b"CANARY" not in data
        assert b"ZEBRA" not in data


def test_an_export_is_itself_written_down(clinic: Clinic) -> None:
    with clinic.session as session:
        criteria = audit.AuditFilter(event="study_opened", since=NOW)
        export.export(session, clinic.auditor, criteria, "csv", NOW)
        row = session.scalars(select(AuditEvent).where(AuditEvent.event == "log_exported")).one()
    assert row.actor_id == clinic.auditor.user_id
    detail = json.loads(row.detail)
    assert (detail["rows"], detail["as"], detail["event"]) == (0, "csv", "study_opened")


@pytest.mark.parametrize("person", ["owner", "mate", "admin", "outsider"])
def test_only_an_auditor_exports(clinic: Clinic, person: str) -> None:
    with clinic.session as session, pytest.raises(Denied):
        export.export(session, getattr(clinic, person), audit.AuditFilter(), "csv", NOW)


def test_rows_are_found_by_time_event_person_and_case(clinic: Clinic) -> None:
    used(clinic)
    with clinic.session as session:
        day = export.moment("2026-03-05")
        found = audit.search(
            session, clinic.auditor, now=NOW, criteria=audit.AuditFilter(since=day)
        )
        assert [row.event for row in found] == ["study_opened"]
        before = audit.search(
            session, clinic.auditor, now=NOW, criteria=audit.AuditFilter(until=day)
        )
        assert "study_opened" not in {row.event for row in before}
        assert "study_submitted" in {row.event for row in before}
        criteria = audit.AuditFilter(
            actor_ids=(clinic.mate.user_id,), until=export.moment("2026-03-05")
        )
        assert audit.search(session, clinic.auditor, now=NOW, criteria=criteria) == []


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("", False, None),
        ("2026-03-04", False, datetime(2026, 3, 4, tzinfo=UTC)),
        ("2026-03-04", True, datetime(2026, 3, 5, tzinfo=UTC)),
        ("2026-03-04T09:30", True, datetime(2026, 3, 4, 9, 30, tzinfo=UTC)),
        (" 2026-03-04T09:30+02:00 ", False, datetime(2026, 3, 4, 7, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_understood(text: str, end: bool, expected: datetime | None) -> None:
    assert export.moment(text, end=end) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "04.03.2026", "'; DROP TABLE"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        export.moment(text)


def test_no_cell_begins_like_a_formula(core: Core) -> None:
    with core.sessions() as session:
        audit.append(session, "tested", now=NOW, address="=HYPERLINK(1)")
        session.commit()
        (row,) = rows_of("".join(export.lines(session, audit.AuditFilter(), "csv")).encode())
    assert row["address"] == "'=HYPERLINK(1)"


def test_more_rows_than_a_page_exports_are_refused(
    core: Core, clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    used(clinic)
    monkeypatch.setattr(export, "MOST_ROWS", 2)
    with clinic.session as session, pytest.raises(errors.Conflict, match=r"^too_many_rows:"):
        export.export(session, clinic.auditor, audit.AuditFilter(), "csv", NOW)
