"""The registry of models: they are added, promoted, rolled back, and get an operating point.

Owns the states (candidate, active, retired; one active at most) and the rules that a model is not
promoted without thresholds and calibration of its own, nor, without a reason, where its card is
worse than the active one's (`comparison`). Predictions keep the model and the operating
point that they were made with: nothing here changes one. Without an active model every worker uses
the one that it was shipped with.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.ai_models import cards, known_models
from portal.database import lock_table
from portal.errors import Conflict, Invalid
from portal.formats.display_text import clean
from portal.languages import _
from portal.models import ModelState, ModelVersion, OperatingPoint, RetractionReason
from worker.contract.message import InvalidMessage
from worker.contract.prediction import ModelIdentity

# The source of a model that is part of the installation.
SHIPPED: Final = "shipped"
_CARD_BYTES: Final = 512 * 1024
_REASON_SHORTEST: Final = 10
_REASON_LENGTH: Final = 500


def add(
    session: Session, card: Any, *, source: str, archive_sha256: str = "", now: datetime
) -> ModelVersion:
    """Add a model's card as a candidate, or to a model that has made predictions here.

    Invalid for a card that names no model, is too large, or differs from the known one.
    """
    if cards.has_unusable_number(card):
        raise Invalid(
            "card",
            _(
                "The card holds a number that can't be used: one of more than %(digits)s digits, "
                "or none at all (NaN, Infinity).",
                digits=cards.DIGITS,
            ),
        )
    if not isinstance(card, Mapping) or not _is_small(card):
        raise Invalid("card", _("The card is not a JSON object of at most 512 KB."))
    try:
        identity = {key: card.get(key) for key in ("name", "version", "sha256")}
        named = ModelIdentity.parse(identity).as_json()
    except InvalidMessage as error:
        raise Invalid("card", _("The card can't be used: %(why)s.", why=error.message)) from None
    lock_table(session, ModelVersion)  # whether it is known decides
    same = select(ModelVersion).filter_by(**named).execution_options(populate_existing=True)
    row = session.scalars(same).first()
    if row is None:
        row = ModelVersion(id=uuid4(), created=now, **named)
        session.add(row)
    elif row.card not in (None, card) and (row.source, source) != (SHIPPED, SHIPPED):
        session.rollback()
        raise Invalid(
            "card", _("Another card of this model is known: give the new one its own version.")
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


def _is_small(card: Any) -> bool:
    try:
        return len(json.dumps(card)) <= _CARD_BYTES
    except RecursionError:  # lists in lists in lists
        return False


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
    model = known_models.get(session, model_id, anew=True)
    problems = list(cards.problems_of(model.card))
    if problems:
        session.rollback()
        raise Conflict(
            "not_promotable", _("It can't be promoted: %(problems)s", problems=" ".join(problems))
        )
    before = known_models.active_model(session)
    if only_if is not None and not only_if(before):
        session.rollback()
        raise Conflict("changed", _("Another model was promoted meanwhile."))
    worse = known_models.worse_than(model, before)
    if worse and not reason:
        session.rollback()
        sentences = " ".join(one.sentence for one in worse)
        raise Conflict(
            "worse_than_active",
            _(
                "It is worse than the active model: %(sentences)s Give a reason.",
                sentences=sentences,
            ),
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
    before = known_models.previous(session)
    if before is None:
        session.rollback()
        raise Conflict("no_previous", _("No model was active before this one."))
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
    model = known_models.get(session, model_id, anew=True)
    if model.state is not ModelState.ACTIVE:
        session.rollback()
        raise Conflict("not_active", _("Only the active model has an operating point to choose."))
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


def retract(
    session: Session, actor: Actor, model_id: UUID, reason: str, now: datetime
) -> ModelVersion:
    """Withdraw all results of a model: they stay visible, marked, and nobody agrees with them.

    The active model stays active: another one is promoted, or jobs go on. Invalid for an unknown
    reason, Conflict where they are withdrawn already.
    """
    actor.require(Permission.MODELS_MANAGE)
    try:
        why = RetractionReason(reason)
    except ValueError:
        raise Invalid("retraction_reason", _("Choose one of the reasons.")) from None
    lock_table(session, ModelVersion)
    model = known_models.get(session, model_id, anew=True)
    if model.retracted_at is not None:
        session.rollback()
        raise Conflict("retracted", _("The results of this model are retracted already."))
    model.retracted_at, model.retracted_by, model.retraction_reason = now, actor.user_id, why
    return _noted(session, actor, model, "model_results_retracted", now, why)


def restore_results(session: Session, actor: Actor, model_id: UUID, now: datetime) -> ModelVersion:
    """Undo `retract`; Conflict where nothing is retracted."""
    actor.require(Permission.MODELS_MANAGE)
    lock_table(session, ModelVersion)
    model = known_models.get(session, model_id, anew=True)
    if model.retracted_at is None or model.retraction_reason is None:
        session.rollback()
        raise Conflict("not_retracted", _("The results of this model are not retracted."))
    why = model.retraction_reason
    model.retracted_at = model.retracted_by = model.retraction_reason = None
    return _noted(session, actor, model, "model_results_restored", now, why)


def _noted(
    session: Session,
    actor: Actor,
    model: ModelVersion,
    event: str,
    now: datetime,
    why: RetractionReason,
) -> ModelVersion:
    detail = {"sha256": model.sha256, "reason": why.value}
    audit.append(
        session, event, actor=actor, now=now, subject_id=model.id, detail=detail, bound=[model]
    )
    session.commit()
    return model


def _checked_reason(text: str) -> str:
    reason = clean(text, _REASON_LENGTH + 1)
    if reason and not _REASON_SHORTEST <= len(reason) <= _REASON_LENGTH:
        raise Invalid(
            "override_reason",
            _(
                "Give the reason in %(shortest)s to %(longest)s characters.",
                shortest=_REASON_SHORTEST,
                longest=_REASON_LENGTH,
            ),
        )
    return reason
