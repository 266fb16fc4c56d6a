"""The process that sweeps: every few seconds the ledger, the purges without a proof and the
critical findings that go to the next on the rota, every minute the clock, the files, the months of
the boards and the drift checks that are due, every hour the studies whose retention period ends,
and from time to time the log is anchored. A second thread links the log's rows each second, however
long the rest takes; a third checks stored data every hour and the whole log every day; two more
send notifications, one by each channel. Sweep and link leave a sign of life once they have done
their work. What goes by this machine's clock waits while that is wrong, but for the anchors. It
survives an outage of the database or Redis, and stops on SIGTERM or SIGINT.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from types import FrameType
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portal import database
from portal.audit import anchor_file, chain
from portal.critical import escalation
from portal.exchange import outbox
from portal.governance import (
    clock,
    integrity_state,
    purges,
    quarantine,
    retention,
    scheduler_signs,
)
from portal.jobs import drift_checks
from portal.jobs.broker import Broker
from portal.jobs.sweeper import sweep, tidy
from portal.models import Channel
from portal.operations import background_check
from portal.performance import summaries
from portal.reading import refused_files
from portal.settings import Settings
from portal.vault import Vault

# Its longest statements take seconds. Whoever waits longer for PostgreSQL gives up and connects
# anew: a frozen server, or one that another has replaced, would hold a loop for ever.
STATEMENT_SECONDS: Final = 300
_LINK_SECONDS: Final = 1.0
_SIGN_SECONDS: Final = 10.0
_SEND_SECONDS: Final = 2.0
_TIDY_SECONDS: Final = 60.0
_CHECK_SECONDS: Final = 3600.0
_VERIFY_SECONDS: Final = 24 * 3600.0
_RETENTION_SECONDS: Final = 3600.0
_SUMMARY_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)


def run_sweep(
    settings: Settings, vault: Vault, engine: Engine, *, every: float | None = None
) -> None:
    """Sweep once, or again and again with a pause of `every` seconds until SIGTERM or SIGINT."""
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(message)s")
    broker = Broker(settings.redis_url, settings.visibility_seconds, settings.redis_tls)
    stop = threading.Event()
    if every is not None:
        _stop_on_signals(stop)
        _log.info("sweeping every %g seconds", every)
    anchoring = _Every(settings.audit_anchor_minutes * 60.0)
    tidying, retaining = _Every(_TIDY_SECONDS), _Every(_RETENTION_SECONDS)
    summing = _Every(_SUMMARY_SECONDS)
    linking = threading.Thread(target=_link_until, args=(engine, stop), name="audit", daemon=True)
    checking = threading.Thread(
        target=_check_until,
        args=(settings, engine, vault, stop),
        name="integrity",
        daemon=True,
    )
    sending = [
        threading.Thread(
            target=_send_until,
            args=(settings, engine, channel, stop),
            name=f"notifications by {channel.value}",
            daemon=True,
        )
        for channel in Channel
    ]
    threads = (linking, checking, *sending)
    if every is not None:
        for thread in threads:
            thread.start()
    try:
        while True:
            _guarded(lambda: _sweep(engine, broker))
            _guarded(lambda: _finish_purges(engine, vault))
            _guarded(lambda: _escalate(engine))
            passed = tidying.passed()
            if passed is not None:
                _guarded(partial(_tidy, engine, vault, timedelta(seconds=passed)))
            if retaining.passed() is not None:
                _guarded(lambda: _retain(settings, engine, vault))
            if summing.passed() is not None:
                _guarded(lambda: _sum_up(engine))
                _guarded(lambda: _check_drift(engine))
            if anchoring.passed() is not None:
                _guarded(lambda: _anchor(settings, engine))
            if every is None or stop.wait(every):
                break
            for thread in threads:
                if not thread.is_alive():
                    raise RuntimeError(f"the thread {thread.name} has ended")
    finally:  # the threads end too, whatever ended it
        stop.set()
    _guarded(lambda: _link(engine))  # rows written until now are not left to the next start
    broker.close()


class _Every:
    """A period, by a clock that nobody sets: the machine's may jump."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: float | None = None

    def passed(self) -> float | None:
        """The seconds since the last time if the period is over (0 at first), else None."""
        now = time.monotonic()
        before, since = self._last, 0.0
        if before is not None:
            since = now - before
            if since < self._seconds:
                return None
        self._last = now
        return since


def _stop_on_signals(stop: threading.Event) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def _guarded(part: Callable[[], None]) -> None:
    """The next round tries again, whatever went wrong: a row that was changed from outside, of any
    table, can raise anything where it is read, and must not end the other parts. Only the error's
    type is logged: its text could quote a row.
    """
    try:
        part()
    except Exception as error:
        _log.warning("a part of the sweep failed: %s", type(error).__name__)


def _link_until(engine: Engine, stop: threading.Event) -> None:
    signing = _Every(_SIGN_SECONDS)
    while not stop.wait(_LINK_SECONDS):
        _guarded(lambda: _link(engine, signing))


def _send_until(
    settings: Settings, engine: Engine, channel: Channel, stop: threading.Event
) -> None:
    """A mail server or webhook that hangs holds up its own channel alone."""
    sessions = database.sessions(engine)
    while not stop.wait(_SEND_SECONDS):
        _guarded(lambda: _send(settings, sessions, channel, stop))


def _send(
    settings: Settings,
    sessions: Callable[[], Session],
    channel: Channel,
    stop: threading.Event,
) -> None:
    # By a clock that is ahead every attempt would be due at once, and none be left for later; a
    # receiver that compares times would refuse it.
    with sessions() as session:
        if not _is_clock_right(session):
            return
    sent = outbox.send_due(sessions, settings, channel, _now, may_go_on=lambda: not stop.is_set())
    if sent:
        _log.info("sent %d notifications by %s", sent, channel.value)


def _is_clock_right(session: Session) -> bool:
    """Not logged here: `_tidy` does each minute, and it stands on the administrator's pages."""
    return clock.look(session, _now()).state == "ok"


def _now() -> datetime:
    return datetime.now(UTC)


def _check_until(settings: Settings, engine: Engine, vault: Vault, stop: threading.Event) -> None:
    verifying, of_log = _Every(_VERIFY_SECONDS), list[str]()
    while not stop.is_set():
        if verifying.passed() is not None:
            of_log, is_checked = _problems_of_log(settings, engine)
            if not is_checked:  # tried again in an hour, not in a day
                verifying = _Every(_VERIFY_SECONDS)
        _guarded(partial(_check, engine, vault, of_log))
        stop.wait(_CHECK_SECONDS)


def _problems_of_log(settings: Settings, engine: Engine) -> tuple[list[str], bool]:
    """What the check of the log found, and whether it came to its end: if not, that is found."""
    try:
        return background_check.problems_of_log(engine, settings, datetime.now(UTC)), True
    except Exception as error:
        name = type(error).__name__
        _log.warning("the check of the access log failed: %s", name)
        return [f"access log: it could not be checked ({name})"], False


def _check(engine: Engine, vault: Vault, of_log: list[str]) -> None:
    try:
        problems = of_log + background_check.problems(engine, vault)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        problems = [*of_log, f"unreadable: the check ended early ({type(error).__name__})"]
    if problems:
        _log.error("%d problems of stored data: run `python -m portal doctor`", len(problems))
    with database.sessions(engine)() as session:
        integrity_state.save(session, problems, datetime.now(UTC))


def _link(engine: Engine, signing: _Every | None = None) -> None:
    with database.sessions(engine)() as session:
        chain.link(session)
        if signing is not None and signing.passed() is not None:
            scheduler_signs.give(session, scheduler_signs.LINK)


def _sweep(engine: Engine, broker: Broker) -> None:
    with database.sessions(engine)() as session:
        done = sweep(session, broker, datetime.now(UTC))
        scheduler_signs.give(session, scheduler_signs.SWEEP)
    if done.requeued or done.gave_up or done.notified:
        _log.info(
            "requeued %d, gave up %d, announced %d", done.requeued, done.gave_up, done.notified
        )
    for queue in sorted(done.stalled):
        _log.warning("%s jobs wait although a worker has nothing to do", queue.value)


def _tidy(engine: Engine, vault: Vault, running: timedelta) -> None:
    now = datetime.now(UTC)
    with database.sessions(engine)() as session:
        found = clock.judge(session, now, running)
        if found.state != "ok":  # by a wrong clock a file that is being written looks old
            _log.error(
                "the clock is %s: purges, clean-up, critical findings, notifications, boards and "
                "drift checks wait",
                found.state,
            )
            return
        checked = integrity_state.last(session)
        if checked is not None and checked.rows_are_damaged:
            return  # a file whose row can't be read would look like nobody's
        removed = tidy(session, vault, now)
        refused_files.forget_old(session, now)
        outbox.forget_old(session, now)
        drift_checks.forget_old(session, now)
        removed += quarantine.forget_old(session, vault, now)
    if removed:
        _log.info("removed %d files that belonged to nothing", removed)


def _finish_purges(engine: Engine, vault: Vault) -> None:
    with database.sessions(engine)() as session:
        finished = purges.finish_started(session, vault, datetime.now(UTC))
    if finished:
        _log.info("wrote the proofs of %d purges", finished)


def _escalate(engine: Engine) -> None:
    now = datetime.now(UTC)
    with database.sessions(engine)() as session:
        # By a clock that is ahead everybody on each rota would be asked at once.
        if not _is_clock_right(session):
            return
        passed_on = escalation.run(session, now)
    if passed_on:
        _log.info("passed on %d critical findings", passed_on)


def _retain(settings: Settings, engine: Engine, vault: Vault) -> None:
    with database.sessions(engine)() as session:
        done = retention.run(session, vault, settings, datetime.now(UTC))
    for study_id in done.unreadable:
        _log.error("retention leaves study %s: its rows can't be read", study_id)
    if done.purged or done.left:
        _log.info("purged %d studies, left %d", len(done.purged), len(done.left))


def _sum_up(engine: Engine) -> None:
    with database.sessions(engine)() as session:
        # By a clock that is ahead there would be boards of months to come.
        if not _is_clock_right(session):
            return
        summaries.refresh(session, datetime.now(UTC))


def _check_drift(engine: Engine) -> None:
    with database.sessions(engine)() as session:
        # One a day: that of a day to come would be done by then.
        if not _is_clock_right(session):
            return
        asked = drift_checks.ask_due(session, datetime.now(UTC))
    if asked:
        _log.info("asked for %d drift checks", asked)


def _anchor(settings: Settings, engine: Engine) -> None:
    with database.sessions(engine)() as session:
        anchor_file.keep(session, settings, datetime.now(UTC))
