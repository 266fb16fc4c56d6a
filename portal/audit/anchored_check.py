"""The check of the access log together with its anchors: what the page and the command show."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import database
from portal.audit import anchor_file, anchors, bindings, verification
from portal.audit.anchors import Anchored, AnchorFailed
from portal.audit.verification import Verification
from portal.models import AuditEvent, AuditHead, AuditLink, AuditSubject, AuditWriter, Base
from portal.settings import Settings

_OF_LOG: Final = tuple(
    Base.metadata.tables[model.__tablename__]
    for model in (AuditEvent, AuditLink, AuditSubject, AuditWriter, AuditHead)
)
_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found: in the log by itself, and against its anchors.

    `refused`: why the anchors could not be read, or that they are gone. `reach`: sentences on how
    far they reach. Both are empty where the log is broken by itself: it is not compared then.
    """

    log: Verification
    anchored: Anchored | None = None
    refused: str = ""
    reach: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether no problem of the log was found."""
        return self.log.is_whole and not self.refused and not self.contradiction

    @property
    def contradiction(self) -> str:
        """What the anchors have against the log."""
        if self.anchored is None or not self.anchored.problem:
            return ""
        return f"from row {self.anchored.first_bad} on: {self.anchored.problem}"


def check(session: Session, settings: Settings, now: datetime) -> Checked:
    """Verify the log (`verification.verify`) and compare it with the anchors of its file."""
    found = _verified(session, now)
    if found.is_unreadable or (found.problem and not found.is_late):
        return Checked(found)
    file = anchors.place(session, settings)
    known = anchor_file.history(session, file)
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            checked = _compared(session, found, lines, settings, now)
    except FileNotFoundError:
        checked = _compared(session, found, (), settings, now)
    except OSError as error:
        return Checked(found, refused=f"{file} can't be read ({error.strerror}).")
    except AnchorFailed as failed:
        return Checked(found, refused=f"{file}: {failed}")
    if known.was_begun and checked.anchored is not None and not checked.anchored.anchors:
        gone = f"the log reaches to row {found.count:,}, its anchors are gone: {file} has none."
        return replace(checked, refused=gone, reach="")
    if known.lost_at is not None and checked.reach:
        lost = f" Anchors of before {known.lost_at:%Y-%m-%d %H:%M} UTC are gone (see the alarm)."
        return replace(checked, reach=checked.reach + lost)
    return checked


def reach_of(found: Anchored, settings: Settings, now: datetime) -> str:
    """How far the anchors reach, in sentences."""
    if found.newest is None:
        text = "There is no anchor yet: only anchors show whether rows were cut off at the end."
    else:
        text = (
            f"Checked against {found.anchors:,} anchors, the newest of "
            f"{found.newest:%Y-%m-%d %H:%M} UTC. They reach to row {found.last_row:,}; "
            f"{found.rows_after:,} rows after it have no anchor."
        )
        late = timedelta(minutes=2 * settings.audit_anchor_minutes)
        if found.rows_after and now - found.newest > late:
            text += " The newest anchor is late: see whether the sweep runs and can write its file."
    if found.before_restore:
        text += (
            f" {found.before_restore:,} anchors are of rows that the backup did not hold which was "
            "restored since."
        )
    if found.unread:
        text += f" {found.unread:,} lines of the file were cut off and can't be read."
    return text


def _verified(session: Session, now: datetime) -> Verification:
    """The log by itself; where that can't be read to its end, what can't."""
    try:
        return verification.verify(session, now)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
    return _unreadable(session)


def _unreadable(session: Session) -> Verification:
    """Which tables of the log, or of records that it binds, hold a row that can't be read."""
    found = list[str]()
    for table in (*_OF_LOG, *bindings.TABLES):
        try:
            for _ in session.execute(select(table), execution_options={"yield_per": _AT_ONCE}):
                pass
        except database.UNREADABLE as error:
            if not database.is_damage(error):
                raise
            session.rollback()
            found.append(f"{table.name}: a row can't be read")
    session.commit()
    return Verification(0, bad_records=tuple(found or ["a row can't be read"]), is_unreadable=True)


def _compared(
    session: Session, log: Verification, lines: Iterable[str], settings: Settings, now: datetime
) -> Checked:
    found = anchors.compare(session, lines)
    return Checked(log, found, reach="" if found.problem else reach_of(found, settings, now))
