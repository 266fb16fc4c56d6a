"""The registry of models: which there are, which one is active, and at which operating point.

Owns the states (candidate, active, retired; one active at most) and the rules that a model is not
promoted without thresholds and calibration of its own, nor, without a reason, where its card is
worse than the active one's (`comparison`). Predictions keep the model and the operating
point that they were made with: nothing here changes one. Without an active model every worker uses
the one that it was shipped with.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.ai_models import comparison
from portal.database import lock_table
from portal.errors import Conflict, Invalid
from portal.formats.display_text import clean
from portal.models import Band, ModelState, ModelVersion, OperatingPoint, Prediction
from worker.contract.job import RequiredModel
from worker.contract.message import InvalidMessage
from worker.contract.prediction import ModelIdentity

# The source of a model that is part of the installation.
SHIPPED: Final = "shipped"
_CARD_BYTES: Final = 512 * 1024
_ROUNDED: Final = 0.0001
_REASON_SHORTEST: Final = 10
_REASON_LENGTH: Final = 500


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


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Which model it is, and its card where that is known here."""

    name: str
    version: str
    sha256: str
    card: dict[str, Any] | None


def model_for_jobs(session: Session) -> RequiredModel | None:
    """The model that segment jobs use; None: the one that the worker was shipped with."""
    model = _active(session)
    if model is None:
        return None
    return RequiredModel(
        name=model.name,
        version=model.version,
        sha256=model.sha256,
        operating_point=model.operating_point.value,
        source=model.source,
        archive_sha256=model.archive_sha256 or "",
        files={
            name: str(sha256) for name, sha256 in _mapping((model.card or {}).get("files")).items()
        },
    )


def models(session: Session, actor: Actor) -> list[ModelView]:
    """Every model that is known or made predictions here: the active one first, then the newest."""
    actor.require(Permission.MODELS_MANAGE)
    counts = _counts(session)
    rows = session.scalars(select(ModelVersion).order_by(ModelVersion.created.desc())).all()
    active = _active(session)
    found = [_view(row, counts.get(row.id, 0), active) for row in rows]
    session.commit()
    return sorted(found, key=lambda view: view.state is not ModelState.ACTIVE)


def model(session: Session, actor: Actor, model_id: UUID) -> ModelView:
    """One model; Denied where there is none."""
    actor.require(Permission.MODELS_MANAGE)
    row, active = _get(session, model_id), _active(session)
    view = _view(row, _counts(session).get(model_id, 0), active)
    session.commit()
    return view


def card(session: Session, actor: Actor, model_id: UUID) -> ModelCard:
    """A model and its card, for people who read cases."""
    actor.require(Permission.STUDY_READ)
    row = _get(session, model_id)
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


def add(
    session: Session, card: Any, *, source: str, archive_sha256: str = "", now: datetime
) -> ModelVersion:
    """Add a model's card as a candidate, or to a model that has made predictions here.

    Invalid for a card that names no model, is too large, or differs from the known one.
    """
    if not isinstance(card, Mapping) or len(json.dumps(card)) > _CARD_BYTES:
        raise Invalid("card", "The card is not a JSON object of at most 512 KB.")
    try:
        identity = {key: card.get(key) for key in ("name", "version", "sha256")}
        named = ModelIdentity.parse(identity).as_json()
    except InvalidMessage as error:
        raise Invalid("card", f"The card can't be used: {error.message}.") from None
    lock_table(session, ModelVersion)  # whether it is known decides
    same = select(ModelVersion).filter_by(**named).execution_options(populate_existing=True)
    row = session.scalars(same).first()
    if row is None:
        row = ModelVersion(id=uuid4(), created=now, **named)
        session.add(row)
    elif row.card not in (None, card) and (row.source, source) != (SHIPPED, SHIPPED):
        session.rollback()
        raise Invalid(
            "card", "Another card of this model is known: give the new one its own version."
        )
    row.card, row.source, row.archive_sha256 = dict(card), source[:500], archive_sha256 or None
    session.flush()
    audit.append(
        session,
        "model_added",
        now=now,
        subject_id=row.id,
        detail={"sha256": row.sha256},
        bound=[row],
    )
    session.commit()
    return row


def promote(
    session: Session,
    actor: Actor | None,
    model_id: UUID,
    now: datetime,
    *,
    point: OperatingPoint = OperatingPoint.BALANCED,
    event: str = "model_promoted",
    only_if: Callable[[ModelVersion | None], bool] | None = None,
    override: str = "",
) -> ModelVersion:
    """Make a model the active one from the next job on; the one before is retired.

    actor None: the command line. `only_if` is asked about the active one that would be retired.
    `override`: why a model is promoted whose card is worse than the active one's; stored with it.
    Conflict where the model may not be promoted, or not in the place of that one; Invalid for a
    reason that is too short or too long.
    """
    reason = _checked_reason(override)
    if actor is not None:
        actor.require(Permission.MODELS_MANAGE)
    lock_table(session, ModelVersion)  # of two promotions at once, the later retires the earlier's
    model = _get(session, model_id, anew=True)
    problems = list(problems_of(model.card))
    if problems:
        session.rollback()
        raise Conflict("not_promotable", f"It can't be promoted: {' '.join(problems)}")
    before = _active(session)
    if only_if is not None and not only_if(before):
        session.rollback()
        raise Conflict("changed", "Another model was promoted meanwhile.")
    worse = _worse(model, before)
    if worse and not reason:
        session.rollback()
        sentences = " ".join(one.sentence for one in worse)
        raise Conflict(
            "worse_than_active", f"It is worse than the active model: {sentences} Give a reason."
        )
    if before is not None and before.id != model.id:
        before.state, before.retired_at = ModelState.RETIRED, now
        session.flush()  # one active at most, at any moment
    model.state, model.promoted_at, model.retired_at = ModelState.ACTIVE, now, None
    model.operating_point = point
    model.override_reason = reason if worse else None
    detail = {
        "sha256": model.sha256,
        "operating_point": point.value,
        "before": before.sha256 if before is not None else None,
        **({"worse_in": [one.measure for one in worse]} if worse else {}),
    }
    audit.append(
        session,
        event,
        actor=actor,
        now=now,
        subject_id=model.id,
        detail=detail,
        bound=list({row.id: row for row in (model, before) if row is not None}.values()),
    )
    session.commit()
    return model


def roll_back(session: Session, actor: Actor, now: datetime) -> ModelVersion:
    """Make the model before active again, at its operating point; Conflict if none did."""
    actor.require(Permission.MODELS_MANAGE)
    lock_table(session, ModelVersion)
    before = previous(session)
    if before is None:
        session.rollback()
        raise Conflict("no_previous", "No model was active before this one.")
    return promote(
        *(session, actor, before.id, now),
        point=before.operating_point,
        event="model_rolled_back",
        override="Rolled back to the model that was active before.",
    )


def choose_point(
    session: Session, actor: Actor, model_id: UUID, point: OperatingPoint, now: datetime
) -> ModelVersion:
    """Let the active model call at another of its thresholds, from the next job on."""
    actor.require(Permission.MODELS_MANAGE)
    lock_table(session, ModelVersion)
    model = _get(session, model_id, anew=True)
    if model.state is not ModelState.ACTIVE:
        session.rollback()
        raise Conflict("not_active", "Only the active model has an operating point to choose.")
    model.operating_point = point
    detail = {"sha256": model.sha256, "operating_point": point.value}
    audit.append(
        session,
        "operating_point_chosen",
        actor=actor,
        now=now,
        subject_id=model.id,
        detail=detail,
        bound=[model],
    )
    session.commit()
    return model


def problems_of(card: Mapping[str, Any] | None) -> Iterator[str]:
    """Why a model with this card may not be promoted, each a sentence."""
    if not card:
        yield "Its card is not known here."
        return
    thresholds = _mapping(card.get("thresholds"))
    image = _mapping(thresholds.get("image"))
    points = [_number(image.get(point.value)) for point in OperatingPoint]
    if not all(0 < value < 1 for value in (*points, _number(thresholds.get("mask")))):
        yield "Its card lacks thresholds of its own for the outline and the three operating points."
    elif sorted(points) != points:
        yield "Its operating points are not in order."
    calibration = _mapping(card.get("calibration"))
    if not (_number(calibration.get("temperature")) > 0 <= _number(calibration.get("ece"))):
        yield "Its card lacks a calibration that was measured."


def bands_of(session: Session, sha256: str, point: str, probability: float) -> set[Band] | None:
    """The bands that a model's card allows for a probability; None without thresholds.

    As `ml.inference.predict.band_of`, for a probability that was rounded to four digits: on a
    threshold there are two.
    """
    card = session.scalars(
        select(ModelVersion.card).where(
            ModelVersion.sha256 == sha256, ModelVersion.card.is_not(None)
        )
    ).first()
    thresholds = _mapping(_mapping((card or {}).get("thresholds")).get("image"))
    calls = _number(thresholds.get(point))
    sure = _number(thresholds.get(OperatingPoint.HIGH_PRECISION.value))
    if calls < 0 or sure < 0:
        return None
    words = set[Band]()
    for exact in (probability - _ROUNDED, probability + _ROUNDED):
        if exact < calls:
            words.add(Band.NONE_FOUND)
        else:
            words.add(Band.LIKELY if exact >= sure else Band.POSSIBLE)
    return words


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float:
    """A finite number; -1, which none of a card's numbers may be, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return -1.0
    return float(value)


def _active(session: Session) -> ModelVersion | None:
    return session.scalars(
        select(ModelVersion)
        .where(ModelVersion.state == ModelState.ACTIVE)
        .execution_options(populate_existing=True)
    ).first()


def _get(session: Session, model_id: UUID, *, anew: bool = False) -> ModelVersion:
    row = session.get(ModelVersion, model_id, populate_existing=anew)
    if row is None:
        session.rollback()
        raise Denied("model")
    return row


def _counts(session: Session) -> dict[UUID, int]:
    rows = session.execute(select(Prediction.model_id, func.count()).group_by(Prediction.model_id))
    return {row[0]: row[1] for row in rows}


def _worse(model: ModelVersion, active: ModelVersion | None) -> list[comparison.Worse]:
    """In what a model is worse than the active one; nothing of that one itself."""
    if active is None or active.id == model.id:
        return []
    return comparison.worse(model.card, active.card)


def _checked_reason(text: str) -> str:
    reason = clean(text, _REASON_LENGTH + 1)
    if reason and not _REASON_SHORTEST <= len(reason) <= _REASON_LENGTH:
        raise Invalid(
            "override_reason",
            f"Give the reason in {_REASON_SHORTEST} to {_REASON_LENGTH} characters.",
        )
    return reason


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
        problems=list(problems_of(row.card)),
        worse=[one.sentence for one in _worse(row, active)],
        override_reason=row.override_reason or "",
    )
