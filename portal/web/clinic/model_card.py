"""A model card for readers: intended use, performance, limits."""

from uuid import UUID

from flask import Blueprint, render_template

from portal.access import Permission
from portal.ai_models import known_models
from portal.services import db_session
from portal.web.present import model_card
from portal.web.security import guard

blueprint = Blueprint("model_card", __name__, url_prefix="/models")


@blueprint.get("/<uuid:model_id>")
@guard.permission(Permission.STUDY_READ)
def page(model_id: UUID) -> str:
    """The whole card of one model."""
    model = known_models.card(db_session(), guard.actor(), model_id)
    return render_template("case/model.html", model=model, card=model_card.present(model.card))
