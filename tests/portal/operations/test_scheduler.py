"""The process that sweeps: it links and checks the access log."""

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from portal import audit
from portal.__main__ import main
from portal.audit import anchor_file, anchors
from portal.database import DatabaseTime
from portal.governance import clock, integrity_state, scheduler_signs
from portal.models import (
    AuditEvent,
    AuditHead,
    Channel,
    Job,
    JobKind,
    Notification,
    NotificationState,
    PerformanceMonth,
    SchedulerSign,
)
from portal.operations import background_check, scheduler
from portal.reading import reviews
from tests.portal.critical.test_escalation import choose, mails, reader, row_of
from tests.portal.critical.test_findings import exam, read
from tests.support.audit_log import check, copied_row, fill, link, spoil, tamper
from tests.support.clinic import Clinic, after
from tests.support.commands.forked import Command
from tests.support.core import NOW, Core
from tests.support.drift.predictions import make_model, predict
from tests.support.wait import only_on_postgresql, only_on_sqlite, until
from worker.contract.contents.drift import LEAST


@contextmanager
def sweeping(core: Core, every: str) -> Iterator[Command]:
    """The sweep in a process of its own."""
    address = core.data_dir / "database-url"
    address.write_text(core.settings.database_url)
    inherited = {name: os.environ[name] for name in os.environ if name != "DATABASE_URL"}
    environ = inherited | {
        "PLEURA_ENV": "test",
        "PLEURA_DATA_DIR": str(core.data_dir),
        "DATABASE_URL_FILE": str(address),
    }
    process = Command(["sweep", "--loop", "--every", every], environ)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def filled(core: Core) -> int:
    """How many rows the log has beside those about its anchors."""
    with core.sessions() as session:
        rows = select(func.count()).where(AuditEvent.event == "tested")
        return session.scalar(rows) or 0


def test_rows_are_linked_each_second_whatever_the_pause_of_the_sweep(core: Core) -> None:
    fill(core, 3)  # what an earlier process left unlinked
    with sweeping(core, every="3600") as process:
        assert until(lambda: check(core).unlinked == ())
        fill(core, 2)
        assert until(lambda: check(core).unlinked == ())
        assert process.poll() is None
    assert check(core).is_whole
    assert filled(core) == 5


def test_two_processes_that_sweep_make_one_chain(core: Core) -> None:
    with sweeping(core, every="0.3"), sweeping(core, every="0.3"):
        for _ in range(20):
            fill(core, 3)
        assert until(lambda: check(core).unlinked == ())
    assert check(core).is_whole
    assert filled(core) == 60


def test_what_was_written_before_its_end_waits_for_no_next_start(core: Core) -> None:
    with sweeping(core, every="3600") as process:
        fill(core, 1)
        assert until(lambda: check(core).unlinked == ())
        with core.sessions() as session:
            audit.append(session, "tested", now=NOW)
            session.commit()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert check(core).unlinked == ()


def test_a_log_that_was_changed_is_found_without_anybody_asking(core: Core) -> None:
    fill(core)
    link(core)
    tamper(core, "UPDATE audit_events SET event = 'other' WHERE seq = 2")

    def found() -> list[str]:
        with core.sessions() as session:
            last = integrity_state.last(session)
        return last.problems if last else []

    with sweeping(core, every="3600"):
        assert until(lambda: any(one.startswith("access log: row ") for one in found()))
    check = background_check.problems_of_log(core.engine, core.settings, NOW)
    assert check == [one for one in found() if one.startswith("access log")]


def saved(core: Core) -> list[str]:
    """What the last check in the background found."""
    with core.sessions() as session:
        last = integrity_state.last(session)
    return last.problems if last else []


def test_one_row_that_was_inserted_ends_neither_the_sweep_nor_its_check(core: Core) -> None:
    fill(core)
    scheduler.run_sweep(core.settings, core.vault, core.engine)
    copied_row(core, "anchors_begun", "[]")
    scheduler.run_sweep(core.settings, core.vault, core.engine)
    with sweeping(core, every="0.3") as process:
        assert until(lambda: any(one.startswith("access log: row ") for one in saved(core)))
        assert process.poll() is None


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("audit_events", "at", "xx"),
        ("audit_events", "actor_id", "zz"),
        ("predictions", "created", "xx"),
        ("reviews", "finding", "nonsense"),
        ("predictions", "band", "nonsense"),
    ],
)
def test_a_value_that_cannot_be_read_is_found_by_the_daily_check(
    clinic: Clinic, table: str, column: str, value: str
) -> None:
    core = clinic.core
    if value in ("xx", "zz"):
        only_on_sqlite(core.engine)
    study_id = clinic.done()
    with clinic.session as session:
        reviews.add_review(
            session, clinic.vault, clinic.mate, study_id, finding="right", now=after(minutes=1)
        )
    link(core)
    spoil(core, table, column, value)
    expected = f"access log: {table}: a row can't be read"
    found = background_check.problems_of_log(core.engine, core.settings, NOW)
    if table == "audit_events":
        expected = found[0]
        assert re.fullmatch(r"access log: audit_events: rows 1 to \d+ can't be read", expected)
    else:
        assert found == [expected]
    with sweeping(core, every="0.3") as process:
        assert until(lambda: expected in saved(core))
        assert until(lambda: silent(core) == ())
        assert process.poll() is None


def test_a_check_that_fails_is_itself_a_finding(core: Core) -> None:
    fill(core)
    tamper(core, "ALTER TABLE outline_measurements RENAME TO elsewhere")
    with sweeping(core, every="3600"):
        assert until(lambda: bool(saved(core)))
    assert saved(core)[0].startswith("access log: it could not be checked (")


@pytest.mark.parametrize("name", ["link", "check"])
def test_a_sweep_whose_thread_has_ended_ends_too(
    core: Core, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its supervisor starts it again."""
    monkeypatch.setattr(scheduler, f"_{name}_until", lambda *_args: None)
    monkeypatch.setattr(scheduler, "_stop_on_signals", lambda _stop: None)
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="has ended"):
        scheduler.run_sweep(core.settings, core.vault, core.engine, every=0.01)
    for thread in set(threading.enumerate()) - before:  # so do the others
        thread.join(60)
        assert not thread.is_alive(), thread.name


def test_a_sweep_anchors_the_log_without_a_setting(core: Core) -> None:
    fill(core)
    assert core.settings.audit_anchor_file is None
    with core.sessions() as session:
        file = anchors.place(session, core.settings)
    assert not anchor_file.has_anchors(file)
    with sweeping(core, every="3600"):
        assert until(lambda: anchor_file.has_anchors(file))


def test_by_a_clock_that_has_jumped_nothing_is_tidied(clinic: Clinic) -> None:
    """The log's rows are of months ago: what is being written just now would look old, too."""
    core = clinic.core
    fill(core)
    half = core.data_dir / "blobs" / "incoming" / "half.1"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"x")
    os.utime(half, (NOW.timestamp(), NOW.timestamp()))
    scheduler.run_sweep(core.settings, core.vault, core.engine)
    assert half.exists()
    with clinic.session as session:
        clock.confirm(session, clinic.admin, datetime.now(UTC))
    scheduler.run_sweep(core.settings, core.vault, core.engine)
    assert not half.exists()


def test_by_a_clock_that_has_jumped_no_critical_finding_is_passed_on(clinic: Clinic) -> None:
    """To the log's rows the machine's clock is months ahead."""
    core = clinic.core
    choose(clinic, reader(clinic, "First"))
    read(clinic, exam(clinic))
    due = row_of(clinic).due
    scheduler.run_sweep(core.settings, core.vault, core.engine)
    assert (row_of(clinic).due, mails(clinic, "critical_passed_on")) == (due, [])
    with clinic.session as session:
        clock.confirm(session, clinic.admin, datetime.now(UTC))
    scheduler.run_sweep(core.settings, core.vault, core.engine)
    assert mails(clinic, "critical_passed_on") == ["First"]


def test_by_a_clock_that_has_jumped_no_notification_is_sent(clinic: Clinic) -> None:
    core = clinic.core
    choose(clinic, reader(clinic, "First"))
    read(clinic, exam(clinic))

    def states() -> set[NotificationState]:
        """After a round of each channel; where neither is set up, a message is dropped."""
        for channel in Channel:
            scheduler._send(core.settings, core.sessions, channel, threading.Event())
        with core.sessions() as session:
            return set(session.scalars(select(Notification.state)))

    assert states() == {NotificationState.WAITING}
    with clinic.session as session:
        clock.confirm(session, clinic.admin, datetime.now(UTC))
    assert states() == {NotificationState.DROPPED}


def test_by_a_clock_that_has_jumped_no_board_is_counted_and_no_drift_check_asked_for(
    clinic: Clinic,
) -> None:
    core = clinic.core

    def done() -> tuple[int, int]:
        scheduler.run_sweep(core.settings, core.vault, core.engine)
        with core.sessions() as session:
            months = session.scalar(select(func.count()).select_from(PerformanceMonth)) or 0
            asked = select(func.count()).where(Job.kind == JobKind.DRIFT)
            return months, session.scalar(asked) or 0

    people = clinic.owner.team_id, clinic.owner.user_id
    with clinic.session as session:
        predict(session, make_model(session), people, LEAST, until=datetime.now(UTC))
    fill(core)
    assert done() == (0, 0)
    with clinic.session as session:
        clock.confirm(session, clinic.admin, datetime.now(UTC))
    months, asked = done()
    assert months > 0
    assert asked == 1


def test_rows_that_wait_to_be_linked_are_no_finding(core: Core) -> None:
    fill(core)
    later = NOW + timedelta(days=1)
    assert background_check.problems_of_log(core.engine, core.settings, later) == []
    assert check(core).unlinked == ()


def test_rows_that_nobody_can_link_are_found(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a process that links was halted: it holds the chain's end, and others pass it by."""
    only_on_postgresql(core.engine)
    monkeypatch.setattr(background_check, "_LINKED_WITHIN", 0.1)
    fill(core)
    with core.sessions() as halted:
        halted.scalars(select(AuditHead).with_for_update()).one()
        later = NOW + timedelta(days=1)
        (found,) = background_check.problems_of_log(core.engine, core.settings, later)
    assert found.startswith("access log: row 1: not linked into the chain since ")


def silent(core: Core) -> tuple[str, ...]:
    with core.sessions() as session:
        return scheduler_signs.silent(session)


def test_a_scheduler_that_is_there_and_does_nothing_is_silent(
    core: Core, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its process is stopped, its signs are put back by a minute instead of waiting for one."""
    for name, value in (
        ("PLEURA_ENV", "test"),
        ("PLEURA_DATA_DIR", str(core.data_dir)),
        ("DATABASE_URL", core.settings.database_url),
    ):
        monkeypatch.setenv(name, value)
    assert silent(core) == ("sweep", "link")  # it never ran
    with sweeping(core, every="0.3") as process:
        assert until(lambda: silent(core) == ())
        assert main(["sweep", "--alive"]) == 0
        with core.sessions() as session:  # while the rows are ours it can't write them
            session.execute(update(SchedulerSign).values(at=DatabaseTime(-61)))
            process.send_signal(signal.SIGSTOP)
            stopped = Path(f"/proc/{process.pid}/stat")
            assert until(lambda: stopped.read_text().rpartition(")")[2].split()[0] == "T")
            session.commit()
        assert process.poll() is None
        assert silent(core) == ("sweep", "link")
        assert main(["sweep", "--alive"]) == 1
        assert "nothing was done by: sweep, link" in capsys.readouterr().err
        process.send_signal(signal.SIGCONT)
        assert until(lambda: silent(core) == ())


def test_each_loop_gives_its_own_sign(core: Core) -> None:
    with sweeping(core, every="3600"):
        assert until(lambda: silent(core) == ())
        with core.sessions() as session:
            session.execute(update(SchedulerSign).values(at=DatabaseTime(-61)))
            session.commit()
        assert until(lambda: silent(core) == ("sweep",))


@pytest.mark.parametrize(("seconds", "is_silent"), [(-61, True), (-10, False), (100, True)])
def test_a_sign_is_judged_by_the_databases_clock(
    core: Core, seconds: float, is_silent: bool
) -> None:
    with core.sessions() as session:
        for loop in scheduler_signs.LOOPS:
            scheduler_signs.give(session, loop)
        session.execute(update(SchedulerSign).values(at=DatabaseTime(seconds)))
        session.commit()
    assert bool(silent(core)) is is_silent


def test_the_sweep_counts_the_months_of_the_boards(core: Core) -> None:
    scheduler.run_sweep(core.settings, core.vault, core.engine)
    running = datetime.now(UTC).strftime("%Y-%m")
    with core.sessions() as session:
        assert running in session.scalars(select(PerformanceMonth.month)).all()
