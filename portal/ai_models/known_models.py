"""The models that are known here: the active one, the list, and each with its card."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.access import Actor, Denied, Permission
from portal.ai_models import cards, comparison
from portal.models import ModelState, ModelVersion, OperatingPoint, Prediction, RetractionReason
from worker.contract.job import RequiredModel

# Made once, as it runs with every job.
_ACTIVE: Final = (
    select(ModelVersion)
    .where(ModelVersion.state == ModelState.ACTIVE)
    .execution_options(populate_existing=True)
)


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model as its pages show it. `problems` keep it from being promoted; where `worse` has
    sentences, a promotion needs a reason."""

    model_id: UUID
    name: str
    version: str
    sha256: str
    state: ModelState
    operating_point: OperatingPoint
    source: str
    card: dict[str, Any] | None
    created: datetime
    promoted_at: datetime | None
    retired_at: datetime | None
    predictions: int
    problems: list[str]
    worse: list[str]
    override_reason: str
    retracted_at: datetime | None
    retraction: RetractionReason | None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Which model it is, and its card where that is known here."""

    name: str
    version: str
    sha256: str
    card: dict[str, Any] | None


def model_for_jobs(session: Session) -> RequiredModel | None:
    """The model that segment jobs use; None: the one that the worker was shipped with."""
    model = active_model(session)
    if model is None:
        return None
    files = cards.mapping((model.card or {}).get("files"))
    return RequiredModel(
        name=model.name,
        version=model.version,
        sha256=model.sha256,
        operating_point=model.operating_point.value,
        source=model.source,
        archive_sha256=model.archive_sha256 or "",
        files={name: str(sha256) for name, sha256 in files.items()},
    )


def models(session: Session, actor: Actor) -> list[ModelView]:
    """Every model that is known or made predictions here: the active one first, then the newest."""
    actor.require(Permission.MODELS_MANAGE)
    counts = _counts(session)
    rows = session.scalars(select(ModelVersion).order_by(ModelVersion.created.desc())).all()
    active = active_model(session)
    found = [_view(row, counts.get(row.id, 0), active) for row in rows]
    session.commit()
    return sorted(found, key=lambda view: view.state is not ModelState.ACTIVE)


def model(session: Session, actor: Actor, model_id: UUID) -> ModelView:
    """One model; Denied where there is none."""
    actor.require(Permission.MODELS_MANAGE)
    row, active = get(session, model_id), active_model(session)
    view = _view(row, _counts(session).get(model_id, 0), active)
    session.commit()
    return view


def card(session: Session, actor: Actor, model_id: UUID) -> ModelCard:
    """A model and its card, for people who read cases."""
    actor.require(Permission.STUDY_READ)
    row = get(session, model_id)
    found = ModelCard(row.name, row.version, row.sha256, row.card)
    session.commit()
    return found


def previous(session: Session) -> ModelVersion | None:
    """The model that `roll_back` would bring back."""
    return session.scalars(
        select(ModelVersion)
        .where(ModelVersion.state == ModelState.RETIRED, ModelVersion.retired_at.is_not(None))
        .order_by(ModelVersion.retired_at.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    ).first()


def active_model(session: Session) -> ModelVersion | None:
    """The model that new results come from, read anew."""
    return session.scalars(_ACTIVE).first()


def get(session: Session, model_id: UUID, *, anew: bool = False) -> ModelVersion:
    """The row of a model; Denied where there is none."""
    row = session.get(ModelVersion, model_id, populate_existing=anew)
    if row is None:
        session.rollback()
        raise Denied("model")
    return row


def _counts(session: Session) -> dict[UUID, int]:
    rows = session.execute(select(Prediction.model_id, func.count()).group_by(Prediction.model_id))
    return {row[0]: row[1] for row in rows}


def worse_than(model: ModelVersion, active: ModelVersion | None) -> list[comparison.Worse]:
    """In what a model is worse than the active one; nothing of that one itself."""
    if active is None or active.id == model.id:
        return []
    return comparison.worse(model.card, active.card)


def _view(row: ModelVersion, predictions: int, active: ModelVersion | None) -> ModelView:
    return ModelView(
        model_id=row.id,
        name=row.name,
        version=row.version,
        sha256=row.sha256,
        state=row.state,
        operating_point=row.operating_point,
        source=row.source,
        card=row.card,
        created=row.created,
        promoted_at=row.promoted_at,
        retired_at=row.retired_at,
        predictions=predictions,
        problems=list(cards.problems_of(row.card)),
        worse=[one.sentence for one in worse_than(row, active)],
        override_reason=row.override_reason or "",
        retracted_at=row.retracted_at,
        retraction=row.retraction_reason,
    )
