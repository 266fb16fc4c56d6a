"""Removing what no exam has come for, and messages that nobody will send again."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, exists, not_
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.database import rows_changed
from portal.models import Hl7Merge, Hl7Message, HospitalOrder, HospitalReport, Study

_TABLES: Final = (HospitalOrder, HospitalReport)


def forget_old(session: Session, now: datetime, days: int) -> int:
    """Remove orders and reports that no exam here has, merges that wait, and digests of messages
    of more than so many days ago; returns how many rows.
    """
    before = now - timedelta(days=days)
    gone = 0
    for table in _TABLES:
        lonely = not_(_has_exam(table.team_id, table.accession_key))
        gone += rows_changed(
            session.execute(
                delete(table).where(table.created < before, lonely),
                execution_options={"synchronize_session": False},
            )
        )
    for old in (Hl7Merge, Hl7Message):
        gone += rows_changed(
            session.execute(
                delete(old).where(old.created < before),
                execution_options={"synchronize_session": False},
            )
        )
    session.commit()
    return gone


def _has_exam(
    team_id: InstrumentedAttribute[object], accession_key: InstrumentedAttribute[str]
) -> ColumnElement[bool]:
    return exists().where(Study.team_id == team_id, Study.accession_key == accession_key)
