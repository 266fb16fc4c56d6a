"""Export of the access log: as CSV or JSON lines, ids and codes only, the oldest row first.

Each row carries its MAC and those that are linked their place in the chain with its MAC, so that
an exported log can be compared with the chain and with its anchors.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.formats.display_text import csv_line
from portal.languages import _, number_text
from portal.models import AuditEvent, AuditLink

FORMATS: Final = {"csv": "text/csv", "jsonl": "application/jsonl"}
COLUMNS: Final = (
    *("seq", "at", "event", "actor_id", "session_id", "via", "address"),
    *("study_id", "subject_id", "detail", "mac", "link", "link_mac"),
)
# The most rows that a page exports, in memory; the command line has no limit.
MOST_ROWS: Final = 100_000
_AT_ONCE: Final = 5000


def moment(text: str, *, end: bool = False) -> datetime | None:
    """A time in UTC out of `2026-03-04` or `2026-03-04T09:00`; None for an empty text.

    With `end` a day without a time counts to its end. ValueError where it is no time.
    """
    text = text.strip()
    if not text:
        return None
    parsed = datetime.fromisoformat(text)
    if end and len(text) <= len("2026-03-04"):
        parsed += timedelta(days=1)
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def export(
    session: Session, actor: Actor, criteria: audit.AuditFilter, form: str, now: datetime
) -> tuple[bytes, int]:
    """The rows that are asked for as a file, and how many; the export is logged. For auditors.
    Conflict `too_many_rows` where it is more than a page can export, `unreadable_rows` where one of
    them is damaged.
    """
    actor.require(Permission.AUDIT_READ)
    count = _count(session, criteria)
    if count > MOST_ROWS:
        raise Conflict(
            "too_many_rows",
            _(
                "These are %(count)s rows; at most %(most)s are handed out at once. Narrow "
                "the time, or use the command line.",
                count=number_text(count),
                most=number_text(MOST_ROWS),
            ),
        )
    try:
        text = "".join(lines(session, criteria, form))
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        message = "Some of these rows can't be read: verify the log. Narrow the search to others."
        raise Conflict("unreadable_rows", message) from None
    _note(session, actor, criteria, form, count, now)
    return text.encode(), count


def export_all(
    session: Session, criteria: audit.AuditFilter, form: str, now: datetime
) -> Iterator[str]:
    """The same for the command line, line by line."""
    _note(session, None, criteria, form, _count(session, criteria), now)
    yield from lines(session, criteria, form)


def lines(session: Session, criteria: audit.AuditFilter, form: str) -> Iterator[str]:
    """The rows as lines of CSV (with a head) or JSON."""
    if form == "csv":
        yield csv_line(COLUMNS)
    query = (
        audit.matching(criteria)
        .outerjoin(AuditLink, AuditLink.seq == AuditEvent.seq)
        .with_only_columns(
            *AuditEvent.__table__.c, AuditLink.position, AuditLink.mac.label("of_link")
        )
        .order_by(AuditEvent.seq)
        .limit(_AT_ONCE)
    )
    last = 0
    while rows := session.execute(query.where(AuditEvent.seq > last)).all():
        last = rows[-1].seq
        for row in rows:
            values = _values(row)
            yield csv_line(values.values()) if form == "csv" else json.dumps(values) + "\n"
        session.commit()


def _values(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    written = row._asdict() | {"link": row.position, "link_mac": row.of_link}
    found = {name: written[name] for name in COLUMNS}
    found["at"] = row.at.isoformat()
    return {
        name: value if value is None or isinstance(value, int | str) else str(value)
        for name, value in found.items()
    }


def _count(session: Session, criteria: audit.AuditFilter) -> int:
    rows = audit.matching(criteria).subquery()
    return session.scalar(select(func.count()).select_from(rows)) or 0


def _note(
    session: Session,
    actor: Actor | None,
    criteria: audit.AuditFilter,
    form: str,
    count: int,
    now: datetime,
) -> None:
    asked = {
        name: [str(one) for one in value] if isinstance(value, tuple) else str(value)
        for name, value in asdict(criteria).items()
        if value
    }
    detail: dict[str, str | int | bool | list[str] | None] = {"rows": count, "as": form, **asked}
    audit.append(session, "log_exported", actor=actor, now=now, detail=detail)
    session.commit()
