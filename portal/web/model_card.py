"""A model's card for those who read cases: what it is for, how well it does, where it fails."""

from uuid import UUID

from flask import Blueprint, render_template

from portal import registry
from portal.access import Permission
from portal.parts import rows
from portal.web import cards, guard

blueprint = Blueprint("model_card", __name__, url_prefix="/models")


@blueprint.get("/<uuid:model_id>")
@guard.permission(Permission.STUDY_READ)
def page(model_id: UUID) -> str:
    """The whole card of one model."""
    model = registry.card(rows(), guard.actor(), model_id)
    return render_template("case/model.html", model=model, card=cards.of(model.card))
