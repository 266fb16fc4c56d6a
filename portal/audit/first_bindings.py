"""Binding of the records of a version before, which the access log did not bind yet.

Done once, by `python -m portal upgrade`: they are bound as they are found then, by rows of the log
of an event of their own. What was changed before that can't be known.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from portal import audit
from portal.audit import bindings
from portal.models import AuditEvent

FOUND: Final = "records_bound_as_found"
_DONE: Final = "records_bound"
_AT_ONCE: Final = 200


def bind(session: Session, now: datetime) -> int:
    """Bind every record that no row of the log is about; returns how many. Only the first time.

    Commits after each part: stopped anywhere, it can be run again.
    """
    if are_made(session):
        return 0
    known = _known(session)
    count = 0
    for table in bindings.TABLES:
        keys = session.execute(select(*table.primary_key.columns)).all()
        keys = [key for key in keys if bindings.record(table, key._mapping) not in known]
        for start in range(0, len(keys), _AT_ONCE):
            some = [tuple(key) for key in keys[start : start + _AT_ONCE]]
            rows = session.execute(bindings.with_keys(table, some).with_for_update()).mappings()
            found = [bindings.entry(table, row) for row in rows]
            audit.append(session, FOUND, now=now, detail={bindings.DETAIL: found})
            session.commit()
            count += len(found)
    audit.append(session, _DONE, now=now, detail={"records": count})
    session.commit()
    return count


def are_made(session: Session) -> bool:
    """Whether the records of a version before were bound, or there were none."""
    return bool(session.scalar(select(exists().where(AuditEvent.event == _DONE))))


def _known(session: Session) -> set[str]:
    details = select(AuditEvent.detail).where(AuditEvent.detail.contains(f'"{bindings.DETAIL}"'))
    return {name for text in session.scalars(details) for name, _ in bindings.bound_in(text)}
