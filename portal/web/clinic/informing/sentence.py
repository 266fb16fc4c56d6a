"""The findings sentence of a case, for the clipboard."""

from uuid import UUID

from flask import Blueprint, Response, jsonify

from portal.access import Permission
from portal.sentences import of_case
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("sentence", __name__, url_prefix="/studies/<uuid:study_id>/sentence")


@blueprint.get("")
@guard.permission(Permission.REVIEW_WRITE)
def text(study_id: UUID) -> Response:
    """The reader's own finding as a sentence, without anything about the patient."""
    made = of_case.sentence(db_session(), guard.actor(), study_id, guard.now())
    return jsonify({"text": made})
