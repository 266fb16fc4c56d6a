"""What the viewer of the case page stores: a person's preferences, and rulers on a picture."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request

from portal.access import Permission
from portal.reading import drafts, viewer_preferences
from portal.services import db_session
from portal.web.security import guard
from portal.web.security.json_body import json_or_none

blueprint = Blueprint("viewer", __name__)


@blueprint.post("/viewer/preferences")
@guard.permission(Permission.STUDY_READ)
def preferences() -> Response:
    """Remember overlay, mode, inversion and preset for the person's next case."""
    viewer_preferences.save_preferences(db_session(), guard.actor(), _sent())
    return Response(status=204)


@blueprint.post("/studies/<uuid:study_id>/rulers")
@guard.permission(Permission.REVIEW_WRITE)
def rulers(study_id: UUID) -> Response:
    """Keep the rulers on one of the study's pictures with the reader's draft."""
    sent = _sent()
    drafts.save_rulers(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        sent.get("picture"),
        sent.get("rulers"),
        guard.now(),
    )
    return Response(status=204)


def _sent() -> dict[str, Any]:
    """The object that was sent; an empty one for anything else, which the rooms refuse."""
    sent = json_or_none() if request.is_json else None
    return sent if isinstance(sent, dict) else {}
