"""A clock that has jumped: purges wait until it is back or an administrator has confirmed it."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text

from portal import audit
from portal.access import Denied
from portal.errors import Conflict
from portal.governance import clock, retention
from portal.jobs import sweeper
from portal.jobs.broker import Broker
from portal.models import AuditEvent
from portal.operations import doctor
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.queries.damaged_pages import overwrite_page_of, overwrite_pages

MINUTE = timedelta(minutes=1)


def judged(clinic: Clinic, now: datetime, running: timedelta = MINUTE) -> str:
    with clinic.session as session:
        found = clock.judge(session, now, running)
        assert clock.look(session, now).state == found.state
        return found.state


def write(clinic: Clinic, now: datetime) -> None:
    with clinic.session as session:
        audit.append(session, "tested", now=now)
        session.commit()


def test_a_sweep_whose_clock_is_years_ahead_purges_nothing(clinic: Clinic) -> None:
    for _ in range(3):
        clinic.done()
    settings = clinic.core.settings.model_copy(update={"retention_unreviewed_days": 30})
    wrong = after(days=4000)
    for hours in range(3):
        later = wrong + timedelta(hours=hours)
        assert judged(clinic, later) == "ahead"
        with clinic.session as session:
            done = retention.run(session, clinic.vault, settings, later)
            assert (done.purged, done.left, done.clock_state) == ([], [], "ahead")
            assert retention.announced(session, clinic.admin) == ([], 0)
        write(clinic, later)  # rows that the wrong clock dates hide nothing
    assert judged(clinic, after(hours=1)) == "behind"  # of these rows


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (after(days=7), "ok"),
        (after(days=7, seconds=1), "ahead"),
        (after(minutes=-5), "ok"),
        (after(minutes=-5, seconds=-1), "behind"),
    ],
)
def test_the_limits(clinic: Clinic, now: datetime, state: str) -> None:
    write(clinic, NOW)
    assert judged(clinic, now) == state


def test_an_idle_site_whose_scheduler_runs_is_not_ahead(clinic: Clinic) -> None:
    write(clinic, NOW)
    for day in range(30):
        assert judged(clinic, after(days=day)) == "ok"
    # Without a scheduler the log's own rows bridge the time.
    for day in range(30, 60, 6):
        write(clinic, after(days=day))
    assert judged(clinic, after(days=60)) == "ok"


def test_a_clock_that_comes_back_is_trusted_again(clinic: Clinic) -> None:
    write(clinic, NOW)
    assert judged(clinic, after(hours=1)) == "ok"
    assert judged(clinic, after(days=400)) == "ahead"
    assert judged(clinic, after(hours=2)) == "ok"


def test_only_an_administrator_confirms_and_it_is_logged(clinic: Clinic) -> None:
    write(clinic, NOW)
    wrong = after(days=400)
    assert judged(clinic, wrong) == "ahead"
    with clinic.session as session, pytest.raises(Denied):
        clock.confirm(session, clinic.mate, wrong)
    with clinic.session as session:
        clock.confirm(session, clinic.admin, wrong)
        row = session.scalars(select(AuditEvent).where(AuditEvent.event == "clock_confirmed")).one()
    assert (row.actor_id, "ahead" in row.detail) == (clinic.admin.user_id, True)
    assert judged(clinic, wrong + MINUTE) == "ok"
    # Back to the right time: the rows of the time between do not hold it up once confirmed.
    assert judged(clinic, after(hours=1)) == "behind"
    with clinic.session as session:
        clock.confirm(session, clinic.admin, after(hours=1))
    assert judged(clinic, after(hours=2)) == "ok"


def test_running_time_grows_by_what_has_passed_by_both_clocks(clinic: Clinic) -> None:
    def running(now: datetime, seconds: float) -> float:
        with clinic.session as session:
            return clock.judge(session, now, timedelta(seconds=seconds)).running.total_seconds()

    assert running(NOW, 50) == 0
    assert running(after(seconds=60), 60) == 60
    assert running(after(seconds=60), 60) == 60  # a second scheduler at the same time
    assert running(after(days=6), 60) == 120  # the clock has jumped
    assert running(after(days=5, hours=23, minutes=58), 60) == 120  # and back a little


def unreadable(clinic: Clinic) -> None:
    """Overwrite what holds the time of the log's newest row, behind many older ones."""
    mark = "mark-of-the-newest-row"
    for _ in range(3):
        clinic.done()
    with clinic.session as session:
        for number in range(120):
            audit.append(session, "tested", now=NOW, detail={"number": number, "text": "x" * 200})
        newest = after(seconds=1, microseconds=123457)
        audit.append(session, "tested", now=newest, detail={"mark": mark})
        session.commit()
        session.execute(text("ANALYZE"))
        session.commit()
    if clinic.core.engine.dialect.name == "sqlite":  # which reads times off their index
        assert overwrite_pages(clinic.core.engine, b":01.123457") == 2
    else:
        overwrite_page_of(clinic.core.engine, "audit_events", f"detail LIKE '%{mark}%'", mark)


def test_where_the_log_cannot_be_read_what_is_destructive_waits(clinic: Clinic) -> None:
    settings = clinic.core.settings.model_copy(update={"retention_unreviewed_days": 30})
    assert judged(clinic, after(hours=1)) == "ok"
    unreadable(clinic)
    later = after(days=6)
    assert judged(clinic, later) == "unreadable"
    with clinic.session as session:
        assert clock.look(session, later) == clock.Clock("unreadable", None, timedelta(0))
        done = retention.run(session, clinic.vault, settings, later)
        assert (done.purged, done.left, done.clock_state) == ([], [], "unreadable")
        assert sweeper.sweep(session, Broker(""), later).stalled == frozenset()
        with pytest.raises(Conflict, match="log_unreadable"):
            clock.confirm(session, clinic.admin, later)
    checks = {one.name: one for one in doctor.examine(lambda: settings, later)}
    assert checks["clock"].state == "failed"
    assert "can't be read" in checks["clock"].text
