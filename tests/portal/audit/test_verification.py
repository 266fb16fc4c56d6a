"""Verification finds every change of the access log, linked or not, also during writes."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from portal import audit
from portal.audit import verification
from portal.models import AuditEvent, User
from tests.support.audit_log import check, fill, link, tamper
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, Core

Verification = verification.Verification


def test_an_untouched_log_is_whole(core: Core) -> None:
    assert check(core) == Verification(0)
    fill(core)
    assert check(core) == Verification(5, unlinked=(1, 2, 3, 4, 5), oldest=NOW)
    link(core)
    assert check(core) == Verification(5)
    fill(core, 2)
    found = check(core)
    assert (found.is_whole, found.count, found.unlinked) == (True, 7, (6, 7))


# What is done to a log of five rows, and the first bad row.
TAMPERING = [
    ("UPDATE audit_events SET event = 'other' WHERE seq = 3", 3),
    ("UPDATE audit_events SET at = '2020-01-01 00:00:00' WHERE seq = 2", 2),
    ("UPDATE audit_events SET detail = '{}' WHERE seq = 1", 1),
    ("UPDATE audit_events SET actor_id = NULL, via = 'cli' WHERE seq = 5", 5),
    ("UPDATE audit_events SET mac = 'ff' WHERE seq = 4", 4),
    ("UPDATE audit_events SET mac = 'é' WHERE seq = 4", 4),
    ("UPDATE audit_events SET writer = 7, writer_seq = 1 WHERE seq = 5", 5),
    ("UPDATE audit_events SET writer = NULL, writer_seq = NULL WHERE seq = 3", 3),
    ("UPDATE audit_events SET writer_seq = NULL WHERE seq = 3", 3),
    ("DELETE FROM audit_events WHERE seq = 1", 1),
    ("DELETE FROM audit_events WHERE seq = 3", 3),
    ("DELETE FROM audit_events WHERE seq = 5", 5),
    ("DELETE FROM audit_events WHERE seq IN (2, 3)", 2),
    ("DELETE FROM audit_events", 1),
    ("UPDATE audit_events SET seq = seq - 9 WHERE seq IN (2, 3)", {True: 2, False: -7}),
    ("UPDATE audit_events SET seq = seq + 1 WHERE seq = 5", {True: 5, False: 6}),
    ("UPDATE audit_writers SET count = 4 WHERE id = 1", 5),
    ("UPDATE audit_writers SET count = 6 WHERE id = 1", 6),
    ("UPDATE audit_writers SET count = 0, mac = '', seal = '' WHERE id = 1", 5),
    ("UPDATE audit_writers SET count = 1 WHERE id = 2", 1),
    ("DELETE FROM audit_writers", 1),
    ("DELETE FROM audit_head", 1),
    (
        "INSERT INTO audit_events (seq, at, event, via, address, detail, mac) "
        "VALUES (6, '2026-03-04 09:00:00', 'forged', 'cli', '', '{}', 'ab')",
        6,
    ),
    (
        "INSERT INTO audit_events (seq, writer, writer_seq, at, event, via, address, detail, mac) "
        "VALUES (6, 1, 6, '2026-03-04 09:00:00', 'forged', 'cli', '', '{}', 'ab')",
        6,
    ),
    (
        "INSERT INTO audit_events (seq, writer, writer_seq, at, event, via, address, detail, mac) "
        "VALUES (6, 99, 1, '2026-03-04 09:00:00', 'forged', 'cli', '', '{}', 'ab')",
        6,
    ),
]


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "unlinked"])
@pytest.mark.parametrize(("tampering", "first_bad"), TAMPERING)
def test_tampering_is_found_and_the_first_bad_row_named(
    core: Core, tampering: str, first_bad: int | dict[bool, int], linked: bool
) -> None:
    fill(core)
    if linked:
        link(core)
    tamper(core, tampering)
    found = check(core)
    assert not found.is_whole
    assert found.first_bad == (first_bad[linked] if isinstance(first_bad, dict) else first_bad), (
        found.problem
    )


@pytest.mark.parametrize(
    ("tampering", "first_bad"),
    [
        ("UPDATE audit_head SET count = 4", 5),
        ("UPDATE audit_head SET count = 0, mac = '', seal = ''", 1),
        ("UPDATE audit_head SET linked = '{}'", 5),
        ("DELETE FROM audit_links WHERE position = 3", 3),
        ("DELETE FROM audit_links WHERE position = 5", 5),
        ("DELETE FROM audit_links", 1),
        ("UPDATE audit_links SET mac = 'ff' WHERE position = 2", 2),
        ("UPDATE audit_links SET seq = 9 WHERE position = 4", 9),
        ("UPDATE audit_links SET position = 9 WHERE position = 4", 4),
        ("INSERT INTO audit_links (position, seq, mac) VALUES (6, 6, 'ff')", 6),
        ("INSERT INTO audit_links (position, seq, mac) VALUES (0, 0, 'ff')", 1),
    ],
)
def test_a_chain_that_was_tampered_with_is_found(
    core: Core, tampering: str, first_bad: int
) -> None:
    fill(core)
    link(core)
    tamper(core, tampering)
    found = check(core)
    assert not found.is_whole
    assert found.first_bad == first_bad, found.problem


def test_a_row_that_was_deleted_before_it_was_linked_is_missed_afterwards(core: Core) -> None:
    fill(core)
    tamper(core, "DELETE FROM audit_events WHERE seq = 3")
    link(core)
    fill(core)
    link(core)
    found = check(core)
    assert (found.first_bad, found.problem) == (3, "row 3 of writer 1 is missing")


def test_a_row_that_was_changed_before_it_was_linked_is_found_afterwards(core: Core) -> None:
    fill(core)
    tamper(core, "UPDATE audit_events SET event = 'other' WHERE seq = 3")
    link(core)
    assert check(core).first_bad == 3


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "unlinked"])
def test_two_rows_that_changed_places_are_found(core: Core, linked: bool) -> None:
    fill(core)
    if linked:
        link(core)
    swap = ((2, 99), (3, 2), (99, 3))
    tamper(core, *(f"UPDATE audit_events SET seq = {new} WHERE seq = {old}" for old, new in swap))
    assert check(core).first_bad == 2


def test_two_links_that_changed_places_are_found(core: Core) -> None:
    fill(core)
    link(core)
    swap = ((2, 99), (3, 2), (99, 3))
    tamper(
        core,
        *(f"UPDATE audit_links SET position = {new} WHERE position = {old}" for old, new in swap),
    )
    assert check(core).first_bad == 2


def test_a_log_cut_to_an_older_end_is_found(core: Core) -> None:
    """The head of an older state does not fit: its seal covers how many rows there were."""
    fill(core, 3)
    link(core)
    tamper(
        core,
        "DELETE FROM audit_events WHERE seq = 3",
        "DELETE FROM audit_links WHERE position = 3",
        "UPDATE audit_head SET count = 2, mac = (SELECT mac FROM audit_links WHERE position = 2)",
        "UPDATE audit_writers SET count = 2, mac = (SELECT mac FROM audit_events WHERE seq = 2) "
        "WHERE id = 1",
    )
    assert not check(core).is_whole


def test_a_cut_end_is_not_sealed_again_by_what_is_written_later(core: Core) -> None:
    """Neither the next row nor the next link makes good what was cut off before them."""
    fill(core)
    link(core)
    tamper(
        core,
        "DELETE FROM audit_events WHERE seq > 3",
        "DELETE FROM audit_links WHERE position > 3",
        "UPDATE audit_writers SET count = 3, mac = (SELECT mac FROM audit_events WHERE seq = 3) "
        "WHERE id = 1",
        "UPDATE audit_head SET count = 3, mac = (SELECT mac FROM audit_links WHERE position = 3), "
        "linked = '{\"1\": 3}'",
    )
    fill(core, 2)
    link(core)
    found = check(core)
    assert not found.is_whole
    assert found.problem in ("the head of the log was changed", "the end of writer 1 was changed")


def test_an_emptied_log_is_found_where_people_exist(clinic: Clinic) -> None:
    fill(clinic.core)
    link(clinic.core)
    tamper(
        clinic.core,
        "DELETE FROM audit_events",
        "DELETE FROM audit_links",
        "UPDATE audit_writers SET count = 0, mac = '', seal = ''",
        "UPDATE audit_head SET count = 0, mac = '', seal = '', linked = '{}'",
    )
    assert check(clinic.core).problem == "the log is empty although people are enrolled"


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "unlinked"])
def test_a_case_whose_index_lacks_a_row_is_found(core: Core, linked: bool) -> None:
    fill(core, 1)
    with core.sessions() as session:
        shown = [uuid4().hex for _ in range(3)]
        audit.append(session, "worklist_read", now=NOW, detail={"studies": shown})
        session.commit()
    if linked:
        link(core)
    assert check(core).is_whole
    one = "SELECT min(CAST(study_id AS text)) FROM audit_subjects"
    tamper(core, f"DELETE FROM audit_subjects WHERE CAST(study_id AS text) = ({one})")
    assert check(core).first_bad == 2


def test_rows_that_wait_for_more_than_a_minute_fail_the_check(core: Core) -> None:
    fill(core, 3)  # at 9:00, 9:01 and 9:02

    def at(minutes: float) -> Verification:
        with core.sessions() as session:
            return verification.verify(session, after(minutes=minutes))

    late = at(2)
    assert (late.first_bad, late.problem) == (
        1,
        "not linked into the chain since 2026-03-04 09:00:00",
    )
    assert (late.is_late, late.unlinked) == (True, (1, 2, 3))
    assert check(core).is_whole  # a log out of a backup is as old as it is
    link(core)
    assert at(2).is_whole
    assert at(600).is_whole


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_was_set_back_hides_no_row_that_waits(core: Core, hours: int) -> None:
    fill(core, 1)
    with core.sessions() as session:
        assert verification.verify(session, NOW + timedelta(seconds=30)).is_whole
        assert verification.verify(session, after(hours=hours)).first_bad == 1
    link(core)
    with core.sessions() as session:
        assert verification.verify(session, after(hours=hours)).is_whole


def test_checking_changes_and_links_nothing(core: Core) -> None:
    fill(core)
    assert check(core).unlinked == check(core).unlinked == (1, 2, 3, 4, 5)


def test_a_log_that_others_write_to_is_found_whole(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written and linked while the log is checked is no tampering."""
    monkeypatch.setattr(verification, "_CHUNK", 40)
    fill(core)
    stop = threading.Event()
    # SQLite has one writer at a time and no queue for the others.
    writers = 4 if core.engine.dialect.name == "postgresql" else 2

    def write() -> None:
        while not stop.wait(0.005 if writers == 4 else 0.02):
            with core.sessions() as session:
                audit.append(session, "tested", now=NOW)
                session.commit()

    def link_all() -> None:
        while not stop.wait(0.05):
            link(core)

    with ThreadPoolExecutor(writers + 1) as pool:
        working = [pool.submit(write) for _ in range(writers)] + [pool.submit(link_all)]
        try:
            found = [check(core)]
            end = time.monotonic() + 60
            while len(found) < 10 or (found[-1].count == found[0].count and time.monotonic() < end):
                found.append(check(core))
        finally:
            stop.set()
        for one in working:
            one.result()
    assert {one.problem for one in found} == {""}
    assert found[-1].count > found[0].count


def test_checking_the_log_leaves_the_callers_rows_alone(clinic: Clinic) -> None:
    fill(clinic.core)
    with clinic.session as session:
        user = session.get_one(User, clinic.mate.user_id)
        row = session.scalars(select(AuditEvent).limit(1)).one()
        assert verification.verify(session).is_whole
        assert user in session
        assert row in session
        assert user.team.name == "Here"


def test_a_long_log_is_checked_in_parts(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_CHUNK", 4)
    for count in (4, 1, 7):
        fill(core, count)
        assert check(core).is_whole
        link(core)
        assert check(core).is_whole
    tamper(core, "UPDATE audit_events SET via = 'x' WHERE seq = 7")
    assert check(core).first_bad == 7


def test_no_writer_waits_while_the_log_is_checked(core: Core) -> None:
    """Only the end of the chain is held for the last rows, and no writer needs it."""
    if core.engine.dialect.name == "sqlite":
        pytest.skip("on SQLite there is one transaction at a time")
    fill(core)
    with core.sessions() as holding:
        holding.execute(text("SELECT * FROM audit_head FOR UPDATE"))
        fill(core)
        assert link(core) == 0
    assert link(core) == 10


@pytest.mark.parametrize(
    "set_back",
    [
        ("UPDATE audit_writers SET seal = '' WHERE id = 2",),
        (
            "DELETE FROM audit_events",
            "UPDATE audit_writers SET count = 0, mac = '', seal = '' WHERE id = 1",
        ),
    ],
)
def test_a_writer_without_a_seal_is_found_although_no_row_is_missed(
    core: Core, set_back: tuple[str, ...]
) -> None:
    """The rows that it had written were not linked yet, so nothing else counts them."""
    fill(core)
    tamper(core, *set_back)
    found = check(core)
    assert not found.is_whole
    assert found.problem.startswith("the end of writer")


EMPTIED = (
    "DELETE FROM audit_events",
    "DELETE FROM audit_links",
    "DELETE FROM audit_subjects",
    "UPDATE audit_writers SET count = 0, mac = '', seal = ''",
    "UPDATE audit_head SET count = 0, mac = '', seal = '', linked = '{}'",
)


def test_a_log_that_was_emptied_is_not_whole_again_once_it_goes_on(clinic: Clinic) -> None:
    core = clinic.core
    fill(core)
    link(core)
    tamper(core, *EMPTIED)
    fill(core)
    link(core)
    assert check(core).problem == "the end of writer 0 was changed"


def test_the_chains_end_alone_set_back_to_nothing_is_found(core: Core) -> None:
    """What was not linked yet is whole; the chain is missed by its own seal."""
    fill(core)
    tamper(core, "UPDATE audit_head SET seal = ''")
    assert check(core).problem == "the head of the log was changed"
