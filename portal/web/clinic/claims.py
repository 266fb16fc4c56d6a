"""The mark that somebody reads a case: set and renewed by the open page, ended when it is left."""

from uuid import UUID

from flask import Blueprint, Response, jsonify, url_for

from portal.access import Permission
from portal.critical import open_findings
from portal.reading.lists import claims
from portal.services import db_session
from portal.web.security import guard

blueprint = Blueprint("claims", __name__, url_prefix="/studies/<uuid:study_id>")


@blueprint.post("/claim")
@guard.permission(Permission.REVIEW_WRITE, background=True)
def claim(study_id: UUID) -> Response:
    """Mark the case as read by this person, unless a colleague reads it; who does. And how many
    critical findings this person is asked to see to, with the case of the oldest: who reads on from
    case to case does not see the worklist.
    """
    found = claims.claim(db_session(), guard.actor(), study_id, guard.now())
    asked = open_findings.of_team(db_session(), guard.actor().team_id).asked(guard.actor())
    db_session().commit()
    return jsonify(
        mine=found.reader_id == guard.actor().user_id,
        reader=found.reader,
        since=found.since.isoformat(),
        again_ms=int(claims.LASTS.total_seconds() * 1000 / 3),
        asked=len(asked),
        asked_case=url_for("reading.case", study_id=asked[0]) if asked else "",
    )


@blueprint.post("/release")
@guard.permission(Permission.REVIEW_WRITE, background=True)
def release(study_id: UUID) -> Response:
    """The person has left the case."""
    claims.release(db_session(), guard.actor(), study_id, guard.now())
    return Response(status=204)
