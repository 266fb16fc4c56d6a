"""Whether this machine's clock can be trusted with what can't be undone.

Purges and clean-up follow the clock, so they pause where it has jumped: more than seven days ahead
of the access log's newest row, or more than five minutes behind it. An administrator confirms the
time, or the clock comes back by itself. Rows that a wrong clock has dated do not hide its jump:
what counts is a gap of more than seven days since the time that was trusted last. Where damage
keeps the log's times from being read, nothing is known of the clock, and they pause as well.

The scheduler's running time is counted beside it, by a clock that nobody sets: what has to wait for
days waits by both.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Permission
from portal.database import insert_if_new
from portal.errors import Conflict
from portal.languages import _
from portal.models import AnnouncedPurge, AuditEvent, ClockState

_log = logging.getLogger(__name__)

AHEAD: Final = timedelta(days=7)
BEHIND: Final = timedelta(minutes=5)
_ONLY: Final = 1
_MOST_UNREADABLE: Final = 100

State = Literal["ok", "ahead", "behind", "unreadable"]


@dataclass(frozen=True, slots=True)
class Clock:
    """How the clock stands. `reference`: the time that it is measured by; None in an empty log and
    where damage keeps it from being read (`unreadable`).

    `running` is how long the scheduler has run altogether while the clock was trusted.
    """

    state: State
    reference: datetime | None
    running: timedelta


def look(session: Session, now: datetime) -> Clock:
    """How the clock stands, for pages and readiness; changes nothing."""
    try:
        row = session.get(ClockState, _ONLY, populate_existing=True)
        found = _judge(session, row, now)
    except database.UNREADABLE as error:
        return _unreadable(session, error)
    session.commit()
    return found


def is_right(session: Session, now: datetime) -> bool:
    """Whether a listener may remove what is old by this time; logged where it may not."""
    found = look(session, now)
    if found.state != "ok":
        _log.error("the clock is %s: clean-up waits", found.state)
    return found.state == "ok"


class Watch:
    """Whether a process that looks every few seconds may act by its clock. `waits`: what does not
    happen while it may not, for the log, which has it once and not at each look.
    """

    def __init__(self, waits: str) -> None:
        self._waits = waits
        self._state: State = "ok"

    def is_right(self, session: Session, now: datetime) -> bool:
        """Whether the clock is right."""
        found = look(session, now)
        if found.state not in ("ok", self._state):
            _log.error("the clock is %s: %s", found.state, self._waits)
        self._state = found.state
        return found.state == "ok"


def judge(session: Session, now: datetime, running: timedelta) -> Clock:
    """The same for the scheduler, which notes that the clock was right. `running`: how long it has
    run since it last did, by a clock that nobody sets.
    """
    try:
        row = _locked(session)
        found = _judge(session, row, now)
    except database.UNREADABLE as error:
        return _unreadable(session, error)
    if found.state == "ok":
        if row.trusted_at is not None:  # two schedulers together count no more than has passed
            passed = min(running, now - row.trusted_at)
            row.running_seconds += max(passed.total_seconds(), 0.0)
        if row.trusted_at is None or now > row.trusted_at:
            row.trusted_at = now
        found = Clock("ok", found.reference, timedelta(seconds=row.running_seconds))
    elif found.state == "ahead" and row.trusted_at is None:
        row.trusted_at = found.reference  # rows that follow, dated by this clock, do not hide it
    session.commit()
    return found


def confirm(session: Session, actor: Actor, now: datetime) -> None:
    """Trust the clock as it is, because an administrator confirms it. The log's rows until now no
    longer count, and what retention had announced waits its seven days again. Conflict where the
    log can't be read: nobody could know what is confirmed.
    """
    actor.require(Permission.DATA_MANAGE)
    try:
        row = _locked(session)
        before = _judge(session, row, now)
        row.after_seq = session.scalar(select(func.max(AuditEvent.seq))) or 0
    except database.UNREADABLE as error:
        _unreadable(session, error)
        refused = _("The access log can’t be read, so the clock can’t be compared with it.")
        raise Conflict("log_unreadable", refused) from None
    row.trusted_at = now
    session.execute(delete(AnnouncedPurge))
    reference = before.reference.isoformat() if before.reference else ""
    detail: audit.Detail = {"state": before.state, "reference": reference}
    audit.append(session, "clock_confirmed", actor=actor, now=now, detail=detail)
    session.commit()


def _unreadable(session: Session, error: BaseException) -> Clock:
    """What is known of the clock where damage was met; anything else is raised."""
    if not database.is_damage(error):
        raise error
    session.rollback()
    return Clock("unreadable", None, timedelta(0))


def _locked(session: Session) -> ClockState:
    row = session.get(ClockState, _ONLY, with_for_update=True, populate_existing=True)
    if row is None:  # the first time, perhaps for two at once
        insert_if_new(
            session, ClockState, ClockState.id, id=_ONLY, after_seq=0, running_seconds=0.0
        )
        row = session.get_one(ClockState, _ONLY, with_for_update=True, populate_existing=True)
    return row


def _judge(session: Session, row: ClockState | None, now: datetime) -> Clock:
    after = row.after_seq if row is not None else 0
    trusted = row.trusted_at if row is not None else None
    running = timedelta(seconds=row.running_seconds if row is not None else 0.0)
    # As a sum, so that the index of times is used and not that of numbers.
    newest_first = select(AuditEvent.at).order_by(AuditEvent.at.desc()).limit(1)
    if after:
        newest_first = newest_first.where(AuditEvent.seq + 0 > after)
    newest = _first_readable(session, newest_first)
    reference = max((time for time in (newest, trusted) if time is not None), default=None)
    if reference is None:
        return Clock("ok", None, running)
    if now < reference - BEHIND:
        return Clock("behind", reference, running)
    start = trusted or reference
    while now - start > AHEAD:
        within = newest_first.where(AuditEvent.at > start, AuditEvent.at <= start + AHEAD)
        latest = _first_readable(session, within)
        if latest is None:
            return Clock("ahead", start, running)
        start = latest
    return Clock("ok", reference, running)


def _first_readable(session: Session, times: Select[datetime]) -> datetime | None:
    """The first of these times of the log. Those that were changed from outside to what is no time
    are passed over, or the portal would stop by one; the check of the log finds them.
    """
    try:
        return session.scalar(times)
    except (ValueError, TypeError):
        numbers = session.scalars(times.with_only_columns(AuditEvent.seq).limit(_MOST_UNREADABLE))
    for number in numbers.all():
        with suppress(ValueError, TypeError):
            return session.scalar(select(AuditEvent.at).where(AuditEvent.seq == number))
    return None
