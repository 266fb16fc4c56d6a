"""The check of the access log together with its anchors: what the page and the command show."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import database
from portal.audit import anchor_file, anchors, bindings, partial_verification, verification
from portal.audit.anchors import Anchored, AnchorFailed
from portal.audit.verification import Verification
from portal.languages import _, moment_text, number_text
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
        return _(
            "from row %(first_bad)s on: %(problem)s",
            first_bad=self.anchored.first_bad,
            problem=self.anchored.problem,
        )


def check(session: Session, settings: Settings, now: datetime) -> Checked:
    """Verify the log (`verification.verify`) and compare it with the anchors of its file."""
    found = _verified(session, now)
    if found.is_unreadable or (found.problem and not found.is_late):
        return Checked(found)
    file = anchors.place(session, settings)
    try:
        known = anchor_file.history(session, file)
        with file.open(encoding="utf-8", errors="replace") as lines:
            checked = _compared(session, found, lines, settings, now)
    except FileNotFoundError:
        checked = _compared(session, found, (), settings, now)
    except OSError as error:
        return Checked(
            found,
            refused=_("%(file)s can't be read (%(why)s).", file=file, why=error.strerror),
        )
    except AnchorFailed as failed:
        return Checked(found, refused=f"{file}: {failed}")
    except database.UNREADABLE as error:
        if not found.is_partial or not database.is_damage(error):
            raise
        session.rollback()
        unread = _("The log’s rows about its anchors can’t be read.")
        return Checked(found, refused=unread)
    if known.was_begun and checked.anchored is not None and not checked.anchored.anchors:
        gone = _(
            "the log reaches to row %(count)s, its anchors are gone: %(file)s has none.",
            count=number_text(found.count),
            file=file,
        )
        return replace(checked, refused=gone, reach="")
    if known.lost_at is not None and checked.reach:
        lost = _(
            " Anchors of before %(lost_at)s are gone (see the alarm).",
            lost_at=moment_text(known.lost_at),
        )
        return replace(checked, reach=checked.reach + lost)
    return checked


def reach_of(found: Anchored, settings: Settings, now: datetime) -> str:
    """How far the anchors reach, in sentences."""
    if found.newest is None:
        text = _("There is no anchor yet: only anchors show whether rows were cut off at the end.")
    else:
        text = _(
            "Checked against %(anchors)s anchors, the newest of %(newest)s. They reach to row "
            "%(last_row)s; %(rows_after)s rows after it have no anchor.",
            anchors=number_text(found.anchors),
            newest=moment_text(found.newest),
            last_row=number_text(found.last_row),
            rows_after=number_text(found.rows_after),
        )
        late = timedelta(minutes=2 * settings.audit_anchor_minutes)
        if found.rows_after and now - found.newest > late:
            text += _(
                " The newest anchor is late: see whether the sweep runs and can write its file."
            )
    if found.before_restore:
        text += _(
            " %(before_restore)s anchors are of rows that the backup did not hold which was "
            "restored since.",
            before_restore=number_text(found.before_restore),
        )
    if found.unread:
        text += _(
            " %(unread)s lines of the file were cut off and can't be read.",
            unread=number_text(found.unread),
        )
    return text


def _verified(session: Session, now: datetime) -> Verification:
    """The log by itself; where rows of it can't be read, all others, or else what can't."""
    for verify in (verification.verify, partial_verification.verify):
        try:
            return verify(session, now)
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
