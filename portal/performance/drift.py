"""The board of drift: what the checks of each model have found, and where there is an alarm.

Numbers of many pictures of all teams, for administrators; a check is computed by a worker
(`portal.jobs.drift_checks`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from portal import database
from portal.access import Actor, Permission
from portal.models import DriftCheck, Job, JobKind, JobState, ModelState, ModelVersion
from worker.contract.contents.drift import NumberFound
from worker.contract.message import InvalidMessage

# So many checks are shown: of a daily one about three months.
SHOWN: Final = 90
# An alarm of a check that is older stands on its own page alone.
ALARM_DAYS: Final = 14


@dataclass(frozen=True, slots=True)
class Checked:
    """One check. `numbers`: none where there were too few predictions."""

    computed_at: datetime
    predictions: int
    refused: int
    first: datetime | None
    last: datetime | None
    numbers: list[NumberFound]

    @property
    def alarms(self) -> list[str]:
        """The names of the numbers with an alarm."""
        return [one.name for one in self.numbers if one.is_alarm]

    def number(self, name: str) -> NumberFound | None:
        """One of its numbers."""
        return next((one for one in self.numbers if one.name == name), None)


@dataclass(frozen=True, slots=True)
class DriftModel:
    """A model that can be chosen. `has_reference`: whether its card has one to compare with."""

    model_id: UUID
    name: str
    version: str
    is_active: bool
    has_reference: bool


@dataclass(frozen=True, slots=True)
class DriftBoard:
    """The checks of one model, the newest first. `job`: what became of the check that was asked for
    last, as long as it has not ended well. `damaged`: how many checks can't be read.
    """

    models: list[DriftModel]
    model: DriftModel | None
    checks: list[Checked]
    damaged: int
    job: Literal["", "queued", "running", "failed"]
    error_code: str | None


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """A model whose last check has an alarm."""

    model_id: UUID
    name: str
    version: str
    numbers: list[str]
    computed_at: datetime


def target(model_id: UUID, which: str) -> str:
    """The target of a drift job: its model, and which of its checks it is."""
    return f"{model_id.hex}/{which}"


def model_of(job: Job) -> UUID:
    """The model that a drift job is about."""
    return UUID((job.target or "").partition("/")[0])


def names_of(card: Mapping[str, Any] | None) -> list[str]:
    """The numbers of a card's reference, its shares last; none where it has no reference."""
    reference = (card or {}).get("reference")
    if not isinstance(reference, Mapping):
        return []
    parts = (reference.get("quantiles"), reference.get("shares"))
    return [str(name) for part in parts if isinstance(part, Mapping) for name in part]


def open_job(session: Session, model_id: UUID) -> Job | None:
    """The check of a model that waits or is being done."""
    waits = Job.state.in_((JobState.QUEUED, JobState.RUNNING))
    return session.scalars(_jobs(model_id).where(waits).limit(1)).first()


def board(session: Session, actor: Actor, model: str = "") -> DriftBoard:
    """The checks of a model (the id as text), else of the active one or the newest."""
    actor.require(Permission.PERFORMANCE_READ)
    models = _models(session)
    chosen = next((one for one in models if one.model_id.hex == model), None)
    chosen = chosen or next(iter(models), None)
    if chosen is None:
        session.commit()
        return DriftBoard(models, None, [], 0, "", None)
    checks, damaged = _checks(session, chosen.model_id)
    last = session.execute(
        _jobs(chosen.model_id)
        .with_only_columns(Job.state, Job.error_code)
        .order_by(Job.created.desc())
        .limit(1)
    ).first()
    session.commit()
    is_open = last is not None and last.state is not JobState.DONE
    return DriftBoard(
        models,
        chosen,
        checks,
        damaged,
        last.state.value if last is not None and is_open else "",
        last.error_code if last is not None and is_open else None,
    )


def alarms(session: Session, now: datetime) -> list[DriftAlarm]:
    """The models that may be in use whose last check, if it is not old, has an alarm."""
    other = aliased(DriftCheck)
    of_model = other.model_id == ModelVersion.id
    newest = select(func.max(other.computed_at)).where(of_model).scalar_subquery()
    ids = session.scalars(
        select(DriftCheck.id)
        .join(ModelVersion, ModelVersion.id == DriftCheck.model_id)
        .where(ModelVersion.state != ModelState.RETIRED, DriftCheck.computed_at == newest)
    ).all()

    def read(some: Sequence[UUID]) -> dict[UUID, tuple[Any, ...]]:
        rows = select(
            DriftCheck.id,
            ModelVersion.id,
            ModelVersion.name,
            ModelVersion.version,
            DriftCheck.alarms,
            DriftCheck.computed_at,
        ).join(ModelVersion, ModelVersion.id == DriftCheck.model_id)
        found = session.execute(rows.where(DriftCheck.id.in_(some)))
        return {row[0]: tuple(row)[1:] for row in found}

    found, _ = database.read_readable(session, ids, read)
    session.commit()
    listed = (DriftAlarm(*row) for row in found.values() if row[3] and _are_names(row[3]))
    return [one for one in listed if abs((now - one.computed_at).days) <= ALARM_DAYS]


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _jobs(model_id: UUID) -> Any:
    of_model = Job.target.startswith(f"{model_id.hex}/", autoescape=True)
    return select(Job).where(Job.kind == JobKind.DRIFT, of_model)


def _models(session: Session) -> list[DriftModel]:
    """The active model first, then the newest; without those that have neither card nor checks."""
    checked = set(session.scalars(select(DriftCheck.model_id).distinct()))
    rows = session.scalars(select(ModelVersion).order_by(ModelVersion.created.desc())).all()
    found = [
        DriftModel(
            row.id, row.name, row.version, row.state is ModelState.ACTIVE, bool(names_of(row.card))
        )
        for row in rows
        if row.card or row.id in checked
    ]
    return sorted(found, key=lambda one: not one.is_active)


def _checks(session: Session, model_id: UUID) -> tuple[list[Checked], int]:
    ids = session.scalars(
        select(DriftCheck.id)
        .where(DriftCheck.model_id == model_id)
        .order_by(DriftCheck.computed_at.desc())
        .limit(SHOWN)
    ).all()

    def read(some: Sequence[UUID]) -> dict[UUID, DriftCheck]:
        rows = session.scalars(select(DriftCheck).where(DriftCheck.id.in_(some)))
        return {row.id: row for row in rows}

    rows, damaged = database.read_readable(session, ids, read)
    found, unread = list[Checked](), len(damaged)
    for row in (rows[one] for one in ids if one in rows):
        try:
            numbers = [NumberFound.parse(one) for one in row.numbers]
        except (InvalidMessage, TypeError):
            unread += 1
            continue
        found.append(
            Checked(row.computed_at, row.predictions, row.refused, row.first, row.last, numbers)
        )
    return found, unread
