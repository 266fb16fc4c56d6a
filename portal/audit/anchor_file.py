"""The file of this portal's anchors: written, and missed where it is gone.

The log itself notes in which place anchors were begun, so that a file that was removed since is no
file that never was. It raises an alarm before another is begun.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.audit import alarms, anchors, macs
from portal.audit.anchors import Anchor
from portal.models import AuditEvent
from portal.settings import Settings

BEGUN: Final = "anchors_begun"
GONE: Final = "anchors_gone"


@dataclass(frozen=True, slots=True)
class History:
    """What the log has about anchors in a place: whether they were begun, and their last loss.

    `is_known`: no loss of them has been noted since they were begun.
    """

    was_begun: bool = False
    is_known: bool = False
    lost_at: datetime | None = None


def keep(session: Session, settings: Settings, now: datetime) -> Anchor:
    """Anchor the log in its file and, where it is set, in syslog; AnchorFailed. Commits."""
    file = anchors.place(session, settings)
    before, detail = history(session, file), {"place": _mark(session, file)}
    if before.is_known and not has_anchors(file):
        alarms.raise_alarm(session, GONE, now=now, actor=None, detail=detail)
        session.commit()
        before = history(session, file)
    taken = anchors.take(session, now)
    anchors.write(taken, file=file, syslog=settings.audit_anchor_syslog)
    if not before.is_known:
        audit.append(session, BEGUN, now=now, detail=detail)
        session.commit()
    return taken


def history(session: Session, file: Path) -> History:
    """What is known of anchors in this place, since the last restore of a backup.

    A restored portal may be on another machine, which has none of them.
    """
    mark, found = _mark(session, file), History()
    restores = select(func.max(AuditEvent.seq)).where(AuditEvent.event == anchors.RESTORED)
    of_anchors = AuditEvent.event.in_((BEGUN, GONE))
    rows = select(AuditEvent).where(of_anchors).order_by(AuditEvent.seq)
    restored = session.scalar(restores) or 0  # no condition of the query: it would read all pages
    for row in audit.readable(session, rows):
        if row.seq > restored and _place_in(row.detail) == mark:
            is_lost = row.event == GONE
            found = History(True, not is_lost, row.at if is_lost else found.lost_at)
    return found


def _place_in(detail: str) -> Any:
    """The place that a row's detail names; None where it has none: the log's check finds it."""
    try:
        found = json.loads(detail)
    except ValueError:
        return None
    return found.get("place") if isinstance(found, dict) else None


def has_anchors(file: Path) -> bool:
    """Whether there is an anchor in the file, or no way to tell (a pipe, or it can't be read)."""
    try:
        if not file.exists():
            return False
        if not file.is_file():
            return True
        with file.open(encoding="utf-8", errors="replace") as lines:
            return any('{"pleura_anchor"' in line for line in lines)
    except OSError:
        return True


def _mark(session: Session, file: Path) -> str:
    """The place, for the log: another one that is set is begun anew, and is no loss."""
    return macs.of_anchor(macs.key_of(session), f"place:{file.absolute()}")[:16]
