"""Back-fill by date: the chest X-rays that a node has from one day to another, the newest day
first, in the off-peak hours of its team. Each day is a retrieval of its own, so it goes on where it
ended.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.database import DatabaseTime
from portal.dicom_network.retrieving import ledger
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.models import (
    BackfillState,
    DicomBackfill,
    DicomNode,
    DicomRetrieval,
    DicomSource,
    RetrievalState,
)
from portal.teams.rules import off_peak
from portal.teams.settings import settings_of

MODALITIES: Final = ("", "CR", "DX")
"""Both, or one of them."""
_OLDEST: Final = date(1980, 1, 1)
_MOST_DAYS: Final = 3660
MOST: Final = 20
_PAUSED_SECONDS: Final = 3600.0
_OPEN: Final = (BackfillState.RUNNING, BackfillState.PAUSED)


@dataclass(frozen=True, slots=True)
class Typed:
    """What is typed about a back-fill; days as 2024-05-31."""

    first_day: str
    last_day: str
    modality: str


@dataclass(frozen=True, slots=True)
class BackfillLine:
    """One back-fill and how far it is. `days`: how many are over, of `of_days`; the other numbers
    are of pictures.
    """

    id: UUID
    node: str
    modality: str
    first_day: date
    last_day: date
    state: BackfillState
    created: datetime
    days: int
    of_days: int
    found: int
    known: int
    retrieved: int
    refused: int
    failed: int

    @property
    def is_open(self) -> bool:
        """Whether it can be paused, resumed or ended."""
        return self.state in _OPEN


def begin(session: Session, actor: Actor, node_id: UUID, typed: Typed, now: datetime) -> UUID:
    """Begin a back-fill; its id. Invalid for what can't be, Conflict `one_at_a_time` where the node
    has one that is not over, Denied where the node may not be queried.
    """
    actor.require(Permission.PEOPLE_MANAGE)
    first, last = _days(typed, now)
    if typed.modality not in MODALITIES:
        raise Invalid("modality", _("Choose one of the modalities listed."))
    # Locked: of two that begin at once, the second finds the first.
    source = session.get(DicomSource, node_id, with_for_update=True, populate_existing=True)
    if source is None:
        session.rollback()
        raise Denied("node")
    is_open = select(DicomBackfill.id).where(
        DicomBackfill.node_id == node_id, DicomBackfill.state.in_(_OPEN)
    )
    if session.scalar(is_open.limit(1)) is not None:
        session.rollback()
        raise Conflict("one_at_a_time", _("Another back-fill of this node is not over yet."))
    added = DicomBackfill(
        id=uuid4(),
        node_id=node_id,
        asked_by=actor.user_id,
        modality=typed.modality,
        first_day=first,
        last_day=last,
        next_day=last,
        state=BackfillState.RUNNING,
        created=now,
    )
    session.add(added)
    _log(session, actor, added, "dicom_backfill_begun", now)
    session.commit()
    return added.id


def set_state(
    session: Session, actor: Actor, backfill_id: UUID, state: BackfillState, now: datetime
) -> None:
    """Pause, resume or end a back-fill. What is being retrieved just now is still taken. Conflict
    `over` for one that is over.
    """
    actor.require(Permission.PEOPLE_MANAGE)
    row = session.get(DicomBackfill, backfill_id, with_for_update=True, populate_existing=True)
    if row is None:
        session.rollback()
        raise Denied("backfill")
    if row.state not in _OPEN:
        session.rollback()
        raise Conflict("over", _("This back-fill is over."))
    if row.state is not state:
        row.state = state
        row.finished_at = now if state is BackfillState.ENDED else None
        # Its day looks at once whether it may go on.
        session.execute(
            update(DicomRetrieval)
            .where(
                DicomRetrieval.backfill_id == row.id,
                DicomRetrieval.state == RetrievalState.WAITING,
            )
            .values(next_at=DatabaseTime()),
            execution_options={"synchronize_session": False},
        )
        _log(session, actor, row, f"dicom_backfill_{state.value}", now)
    session.commit()


def look(session: Session, now: datetime) -> int:
    """Add the retrieval of the next day of each back-fill that goes on, in the off-peak hours; how
    many.
    """
    rows = session.execute(
        select(DicomBackfill.id, DicomNode.team_id)
        .join(DicomNode, DicomNode.id == DicomBackfill.node_id)
        .join(DicomSource, DicomSource.node_id == DicomNode.id)
        .where(DicomBackfill.state == BackfillState.RUNNING, DicomNode.disabled_at.is_(None))
    ).all()
    due = [
        backfill_id
        for backfill_id, team_id in rows
        if off_peak.not_before(now, settings_of(session, team_id)) <= now
    ]
    session.commit()
    return sum(_next_day(session, one, now) for one in due)


def _next_day(session: Session, backfill_id: UUID, now: datetime) -> int:
    row = session.get(DicomBackfill, backfill_id, with_for_update=True, populate_existing=True)
    added = 0
    if row is not None and row.state is BackfillState.RUNNING:
        of_day = session.scalars(
            select(DicomRetrieval.state).where(
                DicomRetrieval.backfill_id == row.id, DicomRetrieval.day == row.next_day
            )
        ).one_or_none()
        if of_day is not None and of_day is not RetrievalState.WAITING:
            row.next_day -= timedelta(days=1)
            of_day = None
        if row.next_day < row.first_day:
            row.state, row.finished_at = BackfillState.DONE, now
            _log(session, None, row, "dicom_backfill_done", now)
        elif of_day is None:
            day = (row.id, row.next_day)
            ledger.add(session, row.node_id, None, row.asked_by, now, of_day=day)
            added = 1
    session.commit()
    return added


def why_not(session: Session, row: DicomRetrieval, now: datetime) -> tuple[str, float]:
    """Why a day may not go on just now, and for how many seconds; empty where it may. `ended`: it
    is not to go on at all.
    """
    backfill = session.get_one(DicomBackfill, row.backfill_id, populate_existing=True)
    if backfill.state is BackfillState.PAUSED:
        return "paused", _PAUSED_SECONDS
    if backfill.state is BackfillState.ENDED:
        return "ended_by_admin", 0.0
    node = session.get_one(DicomNode, row.node_id)
    begin_at = off_peak.not_before(now, settings_of(session, node.team_id))
    if begin_at > now:
        return "off_peak", (begin_at - now).total_seconds()
    return "", 0.0


def lines(session: Session, actor: Actor) -> list[BackfillLine]:
    """The newest back-fills, with the counts of their days."""
    actor.require(Permission.PEOPLE_MANAGE)
    counted = [
        func.coalesce(func.sum(getattr(DicomRetrieval, name)), 0)
        for name in ("found", "known", "retrieved", "refused", "failed")
    ]
    over = func.count(DicomRetrieval.finished_at)
    rows = session.execute(
        select(DicomBackfill, DicomNode.ae_title, over, *counted)
        .join(DicomNode, DicomNode.id == DicomBackfill.node_id)
        .outerjoin(DicomRetrieval, DicomRetrieval.backfill_id == DicomBackfill.id)
        .group_by(DicomBackfill.id, DicomNode.ae_title)
        .order_by(DicomBackfill.created.desc(), DicomBackfill.id)
        .limit(MOST)
        .execution_options(populate_existing=True)
    ).all()
    found = [
        BackfillLine(
            *(row.id, title, row.modality, row.first_day, row.last_day, row.state, row.created),
            *(days, (row.last_day - row.first_day).days + 1),
            *(int(count) for count in counts),
        )
        for row, title, days, *counts in rows
    ]
    session.commit()
    return found


def _days(typed: Typed, now: datetime) -> tuple[date, date]:
    try:
        first = date.fromisoformat(typed.first_day.strip())
        last = date.fromisoformat(typed.last_day.strip())
    except ValueError:
        raise Invalid("days", _("State both days, as 2024-05-31.")) from None
    if not _OLDEST <= first <= last <= now.astimezone().date():
        raise Invalid("days", _("The days must be in their order, from 1980 until today."))
    if (last - first).days >= _MOST_DAYS:
        raise Invalid("days", _("A back-fill has at most ten years."))
    return first, last


def _log(
    session: Session, actor: Actor | None, row: DicomBackfill, event: str, now: datetime
) -> None:
    audit.append(
        session,
        event,
        actor=actor,
        now=now,
        subject_id=row.node_id,
        detail={
            "backfill": row.id.hex,
            "first_day": row.first_day.isoformat(),
            "last_day": row.last_day.isoformat(),
            "modality": row.modality,
        },
    )
