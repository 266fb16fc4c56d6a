"""The registry's pages for administrators: models, their cards, promotion, operating points."""

from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.ai_models import known_models, registry
from portal.errors import Invalid
from portal.languages import _
from portal.models import OperatingPoint
from portal.services import db_session
from portal.web.present import model_card, wording
from portal.web.security import guard
from portal.web.security.errors import Problem

blueprint = Blueprint("models", __name__, url_prefix="/admin/models")

_LIST = "models.models_page"
_manage = guard.permission(Permission.MODELS_MANAGE, step_up=_LIST)


@blueprint.get("")
@guard.permission(Permission.MODELS_MANAGE)
def models_page() -> str:
    """Every model, and which one is active."""
    found = known_models.models(db_session(), guard.actor())
    return render_template(
        "admin/models.html",
        models=[(view, model_card.summary(view.card)) for view in found],
        active=next((view for view in found if view.state == "active"), None),
        previous=known_models.previous(db_session()),
        points=model_card.POINTS,
        fresh=guard.is_fresh(),
    )


@blueprint.get("/<uuid:model_id>")
@guard.permission(Permission.MODELS_MANAGE)
def model_page(model_id: UUID) -> str:
    """One model's card."""
    view = known_models.model(db_session(), guard.actor(), model_id)
    return render_template(
        "admin/model.html",
        model=view,
        card=model_card.present(view.card),
        points=model_card.POINTS,
        retractions=wording.RETRACTIONS,
        fresh=guard.is_fresh(),
    )


@blueprint.post("/<uuid:model_id>/promote")
@_manage
def promote(model_id: UUID) -> BaseResponse:
    """Make a model the active one from the next job on."""
    model = registry.promote(
        *(db_session(), guard.actor(), model_id, guard.now()),
        point=_point(),
        override=request.form.get("override_reason", ""),
    )
    return _done(
        _(
            "%(name)s %(version)s is active from the next job on.",
            name=model.name,
            version=model.version,
        )
    )


@blueprint.post("/roll-back")
@_manage
def roll_back() -> BaseResponse:
    """Make the previously active model active again."""
    model = registry.roll_back(db_session(), guard.actor(), guard.now())
    return _done(
        _(
            "%(name)s %(version)s is active again from the next job on.",
            name=model.name,
            version=model.version,
        )
    )


@blueprint.post("/<uuid:model_id>/operating-point")
@_manage
def operating_point(model_id: UUID) -> BaseResponse:
    """Give the active model another operating point."""
    model = registry.choose_point(db_session(), guard.actor(), model_id, _point(), guard.now())
    return _done(
        _(
            "%(name)s %(version)s now uses: %(point)s.",
            name=model.name,
            version=model.version,
            point=model_card.POINTS[model.operating_point],
        )
    )


@blueprint.post("/<uuid:model_id>/retract")
@_manage
def retract(model_id: UUID) -> BaseResponse:
    """Withdraw the results of a model."""
    reason = request.form.get("retraction_reason", "")
    try:
        model = registry.retract(db_session(), guard.actor(), model_id, reason, guard.now())
    except Invalid as bad:
        raise Problem(422, bad.code, bad.message) from bad
    return _done(
        _(
            "The results of %(name)s %(version)s are marked as retracted.",
            name=model.name,
            version=model.version,
        )
    )


@blueprint.post("/<uuid:model_id>/restore")
@_manage
def restore_results(model_id: UUID) -> BaseResponse:
    """Undo that the results of a model were withdrawn."""
    model = registry.restore_results(db_session(), guard.actor(), model_id, guard.now())
    return _done(
        _(
            "The results of %(name)s %(version)s are no longer marked.",
            name=model.name,
            version=model.version,
        )
    )


def _point() -> OperatingPoint:
    text = request.form.get("operating_point", "")
    if text not in set(OperatingPoint):
        raise Problem(422, "operating_point", _("Choose one of the operating points."))
    return OperatingPoint(text)


def _done(message: str) -> BaseResponse:
    flash(message, "ok")
    return redirect(url_for(_LIST), 303)
