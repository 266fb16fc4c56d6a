"""Readers who edit outlines of a clinic's pictures, as pages do."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select

from portal.access import Actor
from portal.models import Instance, JobKind, Outline
from portal.outlines import editing
from portal.outlines.editing import Opened, SavedOutline
from tests.support.clinic import Clinic
from tests.support.core import NOW
from worker.contract import outline_runs

ROWS, COLUMNS = 8, 6
EMPTY = outline_runs.encode([], ROWS, COLUMNS)


def drawn(*runs: tuple[int, int]) -> bytes:
    """An outline of a clinic's picture."""
    return outline_runs.encode(runs, ROWS, COLUMNS)


def measured(pixels: int, **changes: Any) -> dict[str, Any]:
    """The result of a measure job."""
    found = {"area_px": pixels, "area_mm2": pixels * 1800.0, "side": "left", "distance_px": 3.0}
    return {"measurements": found | changes}


@dataclass
class Page:
    """One opening of the editor on a case's only picture."""

    clinic: Clinic
    study_id: UUID
    actor: Actor
    opened: Opened = field(init=False)

    def begin(self, now: datetime = NOW, *, take_over: bool = False) -> Opened:
        with self.clinic.session as session:
            self.opened = editing.begin(
                *(session, self.clinic.vault, self.actor, self.study_id, self.picture, now),
                take_over=take_over,
            )
        return self.opened

    @property
    def picture(self) -> UUID:
        with self.clinic.session as session:
            query = select(Instance.id).where(Instance.study_id == self.study_id)
            return session.scalars(query).one()

    def draft(self, runs: Any, number: Any = 1, now: datetime = NOW, **changes: Any) -> str:
        sent = {
            "picture": self.picture,
            "lock": self.opened.lock,
            "size": (ROWS, COLUMNS),
            "runs": runs,
        } | changes
        with self.clinic.session as session:
            return editing.save_draft(
                *(session, self.clinic.vault, self.actor, self.study_id),
                **sent,
                number=number,
                now=now,
            )

    def save(
        self, runs: Any, outline_id: Any = None, now: datetime = NOW, size: Any = (ROWS, COLUMNS)
    ) -> SavedOutline:
        with self.clinic.session as session:
            return editing.save(
                *(session, self.clinic.vault, self.actor, self.study_id, self.picture),
                *(self.opened.lock, outline_id or uuid4(), size, runs, now),
            )

    def beat(self, now: datetime) -> None:
        with self.clinic.session as session:
            editing.beat(*(session, self.actor, self.study_id, self.picture, self.opened.lock), now)

    def leave(self, now: datetime = NOW) -> None:
        with self.clinic.session as session:
            editing.leave(
                *(session, self.actor, self.study_id, self.picture, self.opened.lock), now
            )

    def versions(self) -> list[Outline]:
        with self.clinic.session as session:
            query = select(Outline).order_by(Outline.created, Outline.id)
            return list(session.scalars(query))

    def measure(self, result: dict[str, Any], now: datetime = NOW) -> None:
        """Do the picture's one open measure job."""
        job = self.clinic.queued(self.study_id, JobKind.MEASURE)
        ticket = self.clinic.claim(job.id, now)
        assert ticket is not None
        self.clinic.finish(ticket, result, now)
