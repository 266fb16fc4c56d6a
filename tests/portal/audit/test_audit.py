"""The access log: what breaks it shows, whoever writes at the same time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text

from portal import audit
from portal.access import Denied
from portal.models import AuditEvent, User
from tests.support.clinic import Clinic, after
from tests.support.place import NOW, Place


def fill(place: Place, count: int = 5) -> None:
    with place.sessions() as session:
        for number in range(count):
            audit.append(session, "tested", now=after(minutes=number), detail={"number": number})
        session.commit()


def disarm(place: Place) -> None:
    """Drop the triggers, as somebody could who owns the database."""
    with place.sessions() as session:
        if place.engine.dialect.name == "sqlite":
            session.execute(text("DROP TRIGGER audit_events_update"))
            session.execute(text("DROP TRIGGER audit_events_delete"))
        else:
            session.execute(text("ALTER TABLE audit_events DISABLE TRIGGER USER"))
        session.commit()


def check(place: Place) -> audit.Verification:
    with place.sessions() as session:
        return audit.verify(session)


def test_an_untouched_log_is_whole(place: Place) -> None:
    assert check(place) == audit.Verification(0)
    fill(place)
    found = check(place)
    assert found.is_whole
    assert found.count == 5


@pytest.mark.parametrize(
    ("tampering", "first_bad"),
    [
        ("UPDATE audit_events SET event = 'other' WHERE seq = 3", 3),
        ("UPDATE audit_events SET at = '2020-01-01 00:00:00' WHERE seq = 2", 2),
        ("UPDATE audit_events SET detail = '{}' WHERE seq = 1", 1),
        ("UPDATE audit_events SET actor_id = NULL, via = 'cli' WHERE seq = 5", 5),
        ("UPDATE audit_events SET mac = 'ff' WHERE seq = 4", 4),
        ("DELETE FROM audit_events WHERE seq = 1", 1),
        ("DELETE FROM audit_events WHERE seq = 3", 3),
        ("DELETE FROM audit_events WHERE seq = 5", 5),
        ("DELETE FROM audit_events", 1),
        (
            "UPDATE audit_events SET seq = seq - 9 WHERE seq IN (2, 3)",
            1,
        ),
        ("UPDATE audit_events SET seq = seq + 1 WHERE seq = 5", 5),
        ("UPDATE audit_head SET count = 4", 5),
        ("UPDATE audit_head SET count = 0, mac = '', seal = ''", 1),
        ("DELETE FROM audit_head", 1),
        (
            "INSERT INTO audit_events (seq, at, event, via, address, detail, mac) "
            "VALUES (6, '2026-03-04 09:00:00', 'forged', 'cli', '', '{}', 'ab')",
            6,
        ),
    ],
)
def test_tampering_is_found_and_the_first_bad_row_named(
    place: Place, tampering: str, first_bad: int
) -> None:
    fill(place)
    disarm(place)
    with place.sessions() as session:
        session.execute(text(tampering))
        session.commit()
    found = check(place)
    assert not found.is_whole
    assert found.first_bad == first_bad


def test_two_rows_that_changed_places_are_found(place: Place) -> None:
    fill(place)
    disarm(place)
    with place.sessions() as session:
        for before, later in ((2, 99), (3, 2), (99, 3)):
            session.execute(text(f"UPDATE audit_events SET seq = {later} WHERE seq = {before}"))
        session.commit()
    assert check(place).first_bad == 2


def test_a_log_cut_to_an_older_end_is_found(place: Place) -> None:
    """The head of an older state does not fit: its seal covers how many rows there were."""
    fill(place, 3)
    disarm(place)
    with place.sessions() as session:
        session.execute(text("DELETE FROM audit_events WHERE seq = 3"))
        session.execute(
            text(
                "UPDATE audit_head SET count = 2, mac = (SELECT mac FROM audit_events WHERE seq=2)"
            )
        )
        session.commit()
    assert not check(place).is_whole


def test_an_emptied_log_is_found_where_people_exist(clinic: Clinic) -> None:
    fill(clinic.place)
    disarm(clinic.place)
    with clinic.session as session:
        session.execute(text("DELETE FROM audit_events"))
        session.execute(text("UPDATE audit_head SET count = 0, mac = '', seal = ''"))
        session.commit()
    assert not check(clinic.place).is_whole


def test_a_row_goes_with_its_transaction(place: Place) -> None:
    fill(place, 2)
    with place.sessions() as session:
        audit.append(session, "tested", now=NOW)
        session.rollback()
    found = check(place)
    assert found.is_whole
    assert found.count == 2


def test_many_writers_at_once_make_one_chain(place: Place) -> None:
    def write(writer: int) -> None:
        for number in range(10):
            with place.sessions() as session:
                audit.append(
                    session, "tested", now=NOW, detail={"writer": writer, "number": number}
                )
                session.commit()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    found = check(place)
    assert found.is_whole
    assert found.count == 80


def test_a_log_that_others_write_to_is_found_whole(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is appended while the log is checked is no tampering."""
    monkeypatch.setattr(audit, "_CHUNK", 40)
    fill(place)
    stop = threading.Event()
    # SQLite has one writer at a time and no queue for the others.
    writers = 8 if place.engine.dialect.name == "postgresql" else 2

    def write() -> None:
        while not stop.wait(0.001 if writers == 8 else 0.02):
            with place.sessions() as session:
                audit.append(session, "tested", now=NOW)
                session.commit()

    with ThreadPoolExecutor(writers) as pool:
        writing = [pool.submit(write) for _ in range(writers)]
        try:
            found = [check(place)]
            patience = time.monotonic() + 20
            while len(found) < 20 or (
                found[-1].count == found[0].count and time.monotonic() < patience
            ):
                found.append(check(place))
        finally:
            stop.set()
        for one in writing:
            one.result()
    assert {one.problem for one in found} == {""}
    assert found[-1].count > found[0].count


def test_checking_the_log_leaves_the_callers_rows_alone(clinic: Clinic) -> None:
    fill(clinic.place)
    with clinic.session as session:
        user = session.get_one(User, clinic.mate.user_id)
        assert audit.verify(session).is_whole
        assert user in session
        assert user.team.name == "Here"


def test_a_long_log_is_checked_in_parts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_CHUNK", 4)
    for count in (4, 1, 7):
        fill(place, count)
        assert check(place).is_whole
    disarm(place)
    with place.sessions() as session:
        session.execute(text("UPDATE audit_events SET via = 'x' WHERE seq = 7"))
        session.commit()
    assert check(place).first_bad == 7


def test_an_event_is_a_plain_word(place: Place) -> None:
    for event in ("", "Opened", "a b", "study.opened", "x" * 65, "né"):
        with place.sessions() as session, pytest.raises(ValueError, match="small letters"):
            audit.append(session, event, now=NOW)


def test_only_an_auditor_reads_the_log_and_that_is_written_down(clinic: Clinic) -> None:
    fill(clinic.place)
    for actor in (clinic.owner, clinic.mate, clinic.admin):
        with clinic.session as session, pytest.raises(Denied):
            audit.search(session, actor, now=NOW)
    with clinic.session as session:
        rows = audit.search(
            session,
            clinic.auditor,
            now=NOW,
            criteria=audit.AuditFilter(event="tested"),
            before=5,
            limit=2,
        )
        assert [row.seq for row in rows] == [4, 3]
    with clinic.session as session:
        last = session.scalars(select(AuditEvent).order_by(AuditEvent.seq.desc()).limit(1)).one()
        assert last.event == "log_read"
        assert last.actor_id == clinic.auditor.user_id
        assert session.scalar(select(func.count()).select_from(AuditEvent)) == 6


def test_whoever_saw_a_case_in_a_list_is_found_by_the_case(clinic: Clinic) -> None:
    seen, other = uuid4(), uuid4()
    with clinic.session as session:
        audit.append(session, "worklist_read", now=NOW, detail={"studies": [other.hex, seen.hex]})
        audit.append(session, "study_opened", now=NOW, study_id=seen)
        audit.append(session, "worklist_read", now=NOW, detail={"studies": [other.hex]})
        session.commit()
        rows = audit.search(
            session, clinic.auditor, now=NOW, criteria=audit.AuditFilter(study_id=seen)
        )
        assert [row.event for row in rows] == ["study_opened", "worklist_read"]
