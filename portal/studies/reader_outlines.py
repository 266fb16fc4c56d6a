"""Which outlines readers have drawn on pictures, with what was measured, and who is editing one.

A version counts in reports, exports, sentences and figures unless it is a draft from which another
reader took over (`Outline.kept`) and no review refers to it: nobody has stated that it is right.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, exists, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.models import (
    Instance,
    Job,
    JobKind,
    JobState,
    Outline,
    OutlineDraft,
    OutlineMeasurement,
    ReviewSeen,
    User,
)

# An open editor gives a sign so often; two may be lost until another reader need not ask.
BEAT_SECONDS: Final = 60
HELD: Final = timedelta(seconds=150)

Measuring = Literal["done", "waiting", "failed"]


@dataclass(frozen=True, slots=True)
class OutlineView:
    """A version of a picture's outline. `measurements` are there once `measuring` is done."""

    outline_id: UUID
    instance_id: UUID
    author: str
    author_id: UUID
    pixels: int
    dice_model: float | None
    dice_before: float | None
    kept: bool
    measurements: dict[str, Any] | None
    measuring: Measuring
    created: datetime
    counts: bool = True


@dataclass(frozen=True, slots=True)
class DraftView:
    """An outline that is being edited, or was left before it became a version."""

    instance_id: UUID
    editor: str
    editor_id: UUID
    since: datetime
    is_held: bool
    is_drawn: bool


def that_count() -> ColumnElement[bool]:
    """The condition on `outlines` that a version counts."""
    is_reviewed = exists().where(
        ReviewSeen.instance_id == Outline.instance_id, ReviewSeen.outline_id == Outline.id
    )
    return or_(not_(Outline.kept), is_reviewed)


def newest(
    session: Session,
    instance_ids: Collection[UUID],
    by: Collection[UUID] | None = None,
    *,
    only_counting: bool = False,
) -> dict[UUID, Outline]:
    """The newest version of each picture's outline; pictures without one are left out.

    `by`: only versions of these authors, see `blindness.Readings.authors`; None: all.
    `only_counting`: of those that count.
    """
    wanted = [*_of_authors(Outline.author_id, by), *([that_count()] if only_counting else [])]
    rows = session.scalars(
        select(Outline)
        .where(Outline.instance_id.in_(instance_ids), *wanted)
        .order_by(Outline.created, Outline.id)
        .execution_options(populate_existing=True)
    )
    return {row.instance_id: row for row in rows}


def newest_of_study(
    session: Session, study_id: UUID, by: Collection[UUID] | None = None
) -> dict[UUID, Outline]:
    """The same for all pictures of an exam."""
    pictures = select(Instance.id).where(Instance.study_id == study_id)
    return newest(session, session.scalars(pictures).all(), by)


def newest_counting(outlines: Iterable[OutlineView]) -> dict[UUID, OutlineView]:
    """Of versions in their order the newest one of each picture that counts."""
    return {one.instance_id: one for one in outlines if one.counts}


def as_seen(ids: Collection[UUID]) -> str:
    """What a page names as the outlines that it has shown: the newest ones of all pictures."""
    return ",".join(sorted(one.hex for one in ids))


def versions(
    session: Session,
    instance_ids: Collection[UUID],
    by: Collection[UUID] | None = None,
    *,
    compared: bool = True,
) -> list[OutlineView]:
    """All versions of these pictures' outlines, the oldest first; `by` as in `newest`, `compared`
    with the model's.
    """
    rows = session.execute(
        select(Outline, User.name, OutlineMeasurement.measurements, that_count())
        .join(User, User.id == Outline.author_id)
        .outerjoin(OutlineMeasurement, OutlineMeasurement.outline_id == Outline.id)
        .where(Outline.instance_id.in_(instance_ids), *_of_authors(Outline.author_id, by))
        .order_by(Outline.created, Outline.id)
    ).all()
    failed = set[str | None]()
    if rows:
        ended = (Job.kind == JobKind.MEASURE, Job.state == JobState.FAILED)
        named = select(Job.target).where(Job.instance_id.in_(instance_ids), *ended)
        failed.update(session.scalars(named))
    return [
        OutlineView(
            outline_id=row.id,
            instance_id=row.instance_id,
            author=author,
            author_id=row.author_id,
            pixels=row.pixels,
            dice_model=row.dice_model if compared else None,
            dice_before=row.dice_before,
            kept=row.kept,
            measurements=measured,
            measuring="done"
            if measured is not None
            else "failed"
            if row.id.hex in failed
            else "waiting",
            created=row.created,
            counts=bool(counts),
        )
        for row, author, measured, counts in rows
    ]


def drafts(
    session: Session,
    instance_ids: Collection[UUID],
    now: datetime,
    by: Collection[UUID] | None = None,
) -> list[DraftView]:
    """The outlines of these pictures that are being edited; `by` as in `newest`."""
    rows = session.execute(
        select(OutlineDraft, User.name)
        .join(User, User.id == OutlineDraft.editor_id)
        .where(OutlineDraft.instance_id.in_(instance_ids), *_of_authors(OutlineDraft.editor_id, by))
    )
    return [
        DraftView(
            instance_id=row.instance_id,
            editor=name,
            editor_id=row.editor_id,
            since=row.since,
            is_held=now - row.seen_at < HELD,
            is_drawn=row.sealed_runs is not None,
        )
        for row, name in rows
    ]


def _of_authors(
    column: InstrumentedAttribute[UUID], by: Collection[UUID] | None
) -> list[ColumnElement[bool]]:
    return [] if by is None else [column.in_(by)]
