"""Signs of life of the scheduler's loops, of DICOM's listener and sender, and of HL7's listener:
when each last did its work, for all who ask.

By the database's clock, so that neither this machine's clock nor another portal's matters. A
process that is there and does nothing gives none.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import Select, and_, or_, select, update
from sqlalchemy.orm import Session

from portal.database import DatabaseTime, insert_if_new, rows_changed
from portal.models import (
    DicomDestination,
    DicomNode,
    DicomSource,
    Hl7Node,
    ReportTarget,
    RetrieveKind,
    SchedulerSign,
)

SWEEP: Final = "sweep"
LINK: Final = "link"
LOOPS: Final = (SWEEP, LINK)
DICOM: Final = "dicom"
DICOM_SENDER: Final = "dicom_sender"
HL7: Final = "hl7"
REPORT_SENDER: Final = "report_sender"
# The sweep comes every 5 seconds, the link's sign every 10: who missed several does not work.
OLD_SECONDS: Final = 60.0


def give(session: Session, loop: str) -> None:
    """Note that a loop has just done its work; commits."""
    again = update(SchedulerSign).where(SchedulerSign.loop == loop).values(at=DatabaseTime())
    done = session.execute(again, execution_options={"synchronize_session": False})
    if not rows_changed(done):
        insert_if_new(session, SchedulerSign, SchedulerSign.loop, loop=loop, at=DatabaseTime())
    session.commit()


def silent(session: Session) -> tuple[str, ...]:
    """The loops that have not done their work for a minute, or never. Changes nothing."""
    fresh = _fresh(session)
    session.commit()
    return tuple(loop for loop in LOOPS if loop not in fresh)


def dicom_is_silent(session: Session) -> bool:
    """Whether DICOM nodes may send, or send what they are asked for, and no listener has given a
    sign for a minute, or ever.
    """
    sending = (
        select(DicomNode.id)
        .outerjoin(DicomSource, DicomSource.node_id == DicomNode.id)
        .where(
            or_(DicomNode.sends, DicomSource.kind == RetrieveKind.MOVE),
            DicomNode.disabled_at.is_(None),
        )
        .limit(1)
    )
    return _is_silent(session, sending, DICOM)


def hl7_is_silent(session: Session) -> bool:
    """The same of HL7."""
    sending = select(Hl7Node.id).where(Hl7Node.disabled_at.is_(None)).limit(1)
    return _is_silent(session, sending, HL7)


def _is_silent(session: Session, sending: Select[UUID], listener: str) -> bool:
    is_silent = session.scalar(sending) is not None and listener not in _fresh(session)
    session.commit()
    return is_silent


def dicom_works(session: Session) -> bool:
    """Whether a listener has given a sign within the last minute."""
    return _works(session, DICOM)


def hl7_works(session: Session) -> bool:
    """The same of HL7."""
    return _works(session, HL7)


def _works(session: Session, listener: str) -> bool:
    works = listener in _fresh(session)
    session.commit()
    return works


def sender_is_silent(session: Session) -> bool:
    """Whether DICOM nodes are to get something, or may be queried, and no sender has given a sign
    for a minute, or ever.
    """
    receiving = (
        select(DicomNode.id)
        .outerjoin(DicomDestination, DicomDestination.node_id == DicomNode.id)
        .outerjoin(DicomSource, DicomSource.node_id == DicomNode.id)
        .where(
            or_(
                and_(DicomNode.receives, DicomDestination.node_id.is_not(None)),
                DicomSource.node_id.is_not(None),
            ),
            DicomNode.disabled_at.is_(None),
        )
        .limit(1)
    )
    is_silent = session.scalar(receiving) is not None and DICOM_SENDER not in _fresh(session)
    session.commit()
    return is_silent


def sender_works(session: Session) -> bool:
    """Whether a sender has given a sign within the last minute."""
    works = DICOM_SENDER in _fresh(session)
    session.commit()
    return works


def report_sender_is_silent(session: Session) -> bool:
    """The same of targets that are to get reports, and their sender."""
    receiving = select(ReportTarget.id).where(ReportTarget.disabled_at.is_(None)).limit(1)
    return _is_silent(session, receiving, REPORT_SENDER)


def report_sender_works(session: Session) -> bool:
    """Whether a sender of reports has given a sign within the last minute."""
    return _works(session, REPORT_SENDER)


def _fresh(session: Session) -> set[str]:
    return set(
        session.scalars(
            select(SchedulerSign.loop).where(
                SchedulerSign.at > DatabaseTime(-OLD_SECONDS),
                # One that is dated ahead, by a clock that was set back since, is none.
                SchedulerSign.at < DatabaseTime(OLD_SECONDS),
            )
        )
    )
