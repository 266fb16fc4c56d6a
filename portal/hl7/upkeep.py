"""Removing what no exam has come for, and messages that nobody will send again."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, exists, not_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, class_mapper

from portal import database, readable_rows
from portal.database import rows_changed
from portal.models import Hl7Merge, Hl7Message, HospitalOrder, HospitalReport, Study
from portal.readable_rows import Readable

_log = logging.getLogger(__name__)
_Table = type[HospitalOrder] | type[HospitalReport] | type[Hl7Merge] | type[Hl7Message]
_TABLES: Final = (HospitalOrder, HospitalReport)


def forget_old(session: Session, now: datetime, days: int) -> int:
    """Remove orders and reports that no exam here has, merges that wait, and digests of messages
    of more than so many days ago; returns how many rows. A row that can't be read keeps back no
    other.
    """
    before = now - timedelta(days=days)
    gone = 0
    for table in _TABLES:
        lonely = not_(_has_exam(table.team_id, table.accession_key))
        gone += _forget(session, table, before, lonely)
    for old in (Hl7Merge, Hl7Message):
        gone += _forget(session, old, before)
    return gone


def _forget(
    session: Session, table: _Table, before: datetime, *conditions: ColumnElement[bool]
) -> int:
    try:
        return _delete(session, table, table.created < before, *conditions)
    except database.UNREADABLE as error:
        session.rollback()
        if not database.is_damage(error):
            raise
    keys = class_mapper(table).primary_key
    of_old = select(*keys).where(table.created < before)
    try:
        found, left = readable_rows.around_damage(session, table, partial(_read, session, of_old))
    except database.UNREADABLE as error:  # nothing of the table can be read
        session.rollback()
        if not database.is_damage(error):
            raise
        found, left = [], 1
    session.commit()
    gone = 0
    for row in found:
        named = (key == value for key, value in zip(keys, row, strict=True))
        try:
            gone += _delete(session, table, *named, *conditions)
        except database.UNREADABLE as error:
            session.rollback()
            if not database.is_damage(error):
                raise
            left += 1
    if left:
        _log.error("%s: %d places can't be read, and stay", table.__tablename__, left)
    return gone


def _delete(session: Session, table: _Table, *conditions: ColumnElement[bool]) -> int:
    gone = rows_changed(
        session.execute(
            delete(table).where(*conditions), execution_options={"synchronize_session": False}
        )
    )
    session.commit()
    return gone


def _read(session: Session, wanted: Select[Any], readable: Readable) -> Sequence[Any]:
    with readable.parts(session) as parts:
        return [row for part in parts for row in session.execute(wanted.where(part))]


def _has_exam(
    team_id: InstrumentedAttribute[object], accession_key: InstrumentedAttribute[str]
) -> ColumnElement[bool]:
    return exists().where(Study.team_id == team_id, Study.accession_key == accession_key)
