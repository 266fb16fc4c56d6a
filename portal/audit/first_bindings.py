"""Binding of the records of a version before, which the access log did not bind yet.

Done once for each table, by `python -m portal upgrade`: they are bound as they are found then, by
rows of the log of an event of their own. What was changed before that can't be known.
"""

import json
from datetime import datetime
from typing import Final

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from portal import audit
from portal.audit import bindings
from portal.models import AuditEvent

FOUND: Final = "records_bound_as_found"
_DONE: Final = "records_bound"
_AT_ONCE: Final = 200
# Tables that the log binds since a later version: a row of the log that names none is not about
# them.
_LATER: Final = frozenset({"arrival_rules_versions", "arrival_rules", "screen_checks"})


def bind(session: Session, now: datetime) -> int:
    """Bind every record that no row of the log is about; returns how many. Only the first time that
    a table is bound.

    Commits after each part: stopped anywhere, it can be run again.
    """
    tables = _not_bound(session)
    if not tables:
        return 0
    known = _known(session)
    count = 0
    for table in tables:
        keys = session.execute(select(*table.primary_key.columns)).all()
        keys = [key for key in keys if bindings.record(table, key._mapping) not in known]
        for start in range(0, len(keys), _AT_ONCE):
            some = [tuple(key) for key in keys[start : start + _AT_ONCE]]
            rows = session.execute(bindings.with_keys(table, some).with_for_update()).mappings()
            found = [bindings.entry(table, row) for row in rows]
            audit.append(session, FOUND, now=now, detail={bindings.DETAIL: found})
            session.commit()
            count += len(found)
    detail: audit.Detail = {"records": count, "tables": [table.name for table in tables]}
    audit.append(session, _DONE, now=now, detail=detail)
    session.commit()
    return count


def are_made(session: Session) -> bool:
    """Whether the records of a version before were bound, or there were none."""
    return not _not_bound(session)


def _not_bound(session: Session) -> list[Table]:
    """The tables of which records of a version before may be that the log does not bind."""
    done = set[str]()
    first = {table.name for table in bindings.TABLES} - _LATER
    for text in session.scalars(select(AuditEvent.detail).where(AuditEvent.event == _DONE)):
        try:
            done |= set(json.loads(text).get("tables", first))
        except (ValueError, TypeError, AttributeError):  # changed from outside: the check finds it
            done |= first
    return [table for table in bindings.TABLES if table.name not in done]


def _known(session: Session) -> set[str]:
    details = select(AuditEvent.detail).where(AuditEvent.detail.contains(f'"{bindings.DETAIL}"'))
    return {name for text in session.scalars(details) for name, _ in bindings.bound_in(text)}
