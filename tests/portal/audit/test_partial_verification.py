"""Rows of the log that can't be read are named; all others are compared, as far as that proves."""

from dataclasses import dataclass

import pytest
from sqlalchemy import select, text

from portal import audit
from portal.audit import anchored_check, anchors
from portal.audit.anchored_check import Checked
from portal.models import AuditEvent
from portal.reading import reviews
from tests.support.audit_log import disarm, link, spoil
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, Core
from tests.support.queries.damaged_pages import overwrite_page_of
from tests.support.wait import only_on_sqlite

MARK = "mark-of-the-damaged-page"
LATER = after(hours=1)


@dataclass
class Damaged:
    """The number of a row in the middle of the log, which has rows before and after."""

    clinic: Clinic
    row: int
    last: int
    records: int = 0

    def check(self) -> Checked:
        with self.clinic.session as session:
            return anchored_check.check(session, self.clinic.core.settings, LATER)


def write(core: Core, rows: int, **detail: str) -> None:
    with core.sessions() as session:
        for number in range(rows):
            more = detail or {"number": str(number), "text": "x" * 200}
            audit.append(session, "tested", now=NOW, detail=more)
            session.commit()


def anchor(core: Core) -> None:
    with core.sessions() as session:
        taken = anchors.take(session, NOW)
        anchors.write(taken, file=anchors.place(session, core.settings), syslog="")


@pytest.fixture
def log(clinic: Clinic) -> Damaged:
    """A log of many pages, a case and its review behind it, all linked and anchored."""
    core = clinic.core
    write(core, 80)
    write(core, 1, mark=MARK)
    write(core, 80)
    study_id = clinic.done()
    with clinic.session as session:
        reviews.add_review(session, clinic.vault, clinic.mate, study_id, finding="right", now=NOW)
    anchor(core)
    with core.sessions() as session:
        row = select(AuditEvent.seq).where(AuditEvent.detail.contains(MARK))
        number = session.scalars(row).one()
        last = session.scalar(select(text("max(seq)")).select_from(AuditEvent)) or 0
        session.execute(text("ANALYZE"))
        session.commit()
    found = Damaged(clinic, number, last)
    whole = found.check()
    assert whole.is_whole
    found.records = whole.log.records
    return found


def damage(log: Damaged) -> None:
    overwrite_page_of(log.clinic.core.engine, "audit_events", f"seq = {log.row}", MARK)


def test_what_cannot_be_read_is_named_and_the_rest_is_compared(log: Damaged) -> None:
    damage(log)
    found = log.check()
    assert (found.is_whole, found.log.problem, found.log.is_unreadable) == (False, "", False)
    assert log.row in found.log.unread
    assert 1 < len(found.log.unread) < 60, "the rows of one page"
    assert list(found.log.unread) == list(range(found.log.unread[0], found.log.unread[-1] + 1))
    first, last = found.log.unread[0], found.log.unread[-1]
    assert found.log.findings[0] == f"audit_events: rows {first} to {last} can't be read"
    unproven = [one for one in found.log.findings if "content of these rows" in one]
    assert found.log.count == log.last - len(found.log.unread) - len(unproven)
    assert "followed to its end" in found.log.findings[1]
    assert found.log.records == log.records > 0, "what rows after it bind is compared"
    assert not any("no row of the log" in one for one in found.log.findings)
    assert "anchors" in found.reach
    assert (found.contradiction, found.refused) == ("", "")


@pytest.mark.parametrize("behind", [5, 40])
def test_a_row_that_was_changed_behind_it_is_found(log: Damaged, behind: int) -> None:
    seq = log.row + 30 + behind
    disarm(log.clinic.core)
    with log.clinic.session as session:
        session.execute(text(f"UPDATE audit_events SET event = 'other' WHERE seq = {seq}"))
        session.commit()
    damage(log)
    found = log.check().log
    assert (found.first_bad, found.problem) == (seq, "a row was changed")
    assert log.row in found.unread


def test_a_row_that_was_removed_is_no_row_that_cannot_be_read(log: Damaged) -> None:
    seq = log.row + 60
    disarm(log.clinic.core)
    with log.clinic.session as session:
        session.execute(text(f"DELETE FROM audit_events WHERE seq = {seq}"))
        session.commit()
    damage(log)
    found = log.check().log
    assert (found.first_bad, found.problem) == (seq, "a row is missing")


def test_a_changed_record_that_a_later_row_binds_is_found(log: Damaged) -> None:
    disarm(log.clinic.core)
    with log.clinic.session as session:
        session.execute(text("UPDATE reviews SET finding = 'none' WHERE finding = 'right'"))
        session.commit()
    damage(log)
    assert any("not as row" in one for one in log.check().log.bad_records)


def test_a_cut_tail_is_found_by_the_anchors(log: Damaged) -> None:
    core = log.clinic.core
    write(core, 5)
    link(core)
    with core.sessions() as session:
        taken = anchors.take(session, NOW)
        file = anchors.place(session, core.settings)
        forged = anchors.Anchor(taken.seq, "0" * 64, taken.at, "")
        signature = anchors._signature(session, f"{forged.seq}:{forged.mac}:{forged.at}")
        anchors.write(
            anchors.Anchor(forged.seq, forged.mac, forged.at, signature), file=file, syslog=""
        )
    damage(log)
    assert "are not those that were there" in log.check().contradiction


def test_rows_that_wait_to_be_linked_and_cannot_be_read_are_counted(clinic: Clinic) -> None:
    core = clinic.core
    write(core, 80)
    anchor(core)
    write(core, 1, mark=MARK)
    write(core, 80)
    with core.sessions() as session:
        row = select(AuditEvent.seq).where(AuditEvent.detail.contains(MARK))
        number = session.scalars(row).one()
        session.execute(text("ANALYZE"))
        session.commit()
    log = Damaged(clinic, number, 161)
    damage(log)
    with clinic.session as session:
        found = anchored_check.check(session, core.settings, NOW)
    assert found.log.problem == ""
    assert not found.is_whole
    (lost,) = [one for one in found.log.findings if "wait to be linked" in one]
    assert lost.endswith("can't be read, or are missing")


def test_a_single_value_hides_its_row_alone(log: Damaged) -> None:
    only_on_sqlite(log.clinic.core.engine)
    spoil(log.clinic.core, "audit_events", "at", "xx", f"seq = {log.row}")
    found = log.check()
    assert found.log.unread == (log.row,)
    assert found.log.count == log.last - 1, "its MAC is known, so the row after it is compared"
    assert found.log.findings[0] == f"audit_events: row {log.row} can't be read"
    assert found.contradiction == ""


def test_a_changed_link_of_a_row_that_cannot_be_read_is_found(log: Damaged) -> None:
    """By the link behind it, which does not fit."""
    damage(log)
    last = log.check().log.unread[-1]
    disarm(log.clinic.core)
    with log.clinic.session as session:
        mac = {"mac": "0" * 64, "seq": last}
        session.execute(text("UPDATE audit_links SET mac = :mac WHERE seq = :seq"), mac)
        session.commit()
    found = log.check().log
    assert (found.first_bad, found.problem) == (last + 1, "its link in the chain was changed")
