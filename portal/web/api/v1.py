"""`/api/v1`: what programs may do with an API token. Answers hold no patient's name.

A program names cases by the ids that it was given. Errors are RFC 9457 problem documents.
`openapi` describes every operation; keep both in step.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request, url_for

from portal.access import Permission
from portal.formats.display_text import clean_lines
from portal.intake import submission, zip_submission
from portal.models import Reason, Verdict
from portal.reading import reviews, worklist
from portal.reading.case import PredictionView, open_study, read_blob, study_state
from portal.reading.reviews import COMMENT_LENGTH
from portal.services import db_session
from portal.studies import status
from portal.web.receive_file import receive
from portal.web.security import guard
from portal.web.security.errors import Problem
from portal.web.security.json_body import json_or_none

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

MOST_PER_PAGE = 200
LAST_PAGE = 1_000_000
STATES = ("to_read", "read", *status.State)
RESULTS = ("positive", "likely", "possible", "none_found", "no_result")
SIDES = ("right", "left", "both")


@blueprint.post("/studies")
@guard.scope("studies:write", upload=True)
def submit() -> tuple[Response, int, dict[str, str]]:
    """Take in one chest X-ray, or a ZIP of them."""
    if request.mimetype != "multipart/form-data":
        raise Problem(415, "not_multipart", "Send the picture as multipart/form-data, field file.")
    files = request.files.getlist("file")
    if len(files) != 1:
        raise Problem(422, "one_file", "Send exactly one file in the field `file`.")
    received = receive(files[0])
    if isinstance(received, list):
        return jsonify(files=[_arrival(arrival) for arrival in received]), 202, {}
    at = url_for("api.study", study_id=received.study_id)
    return jsonify(_submitted(received)), 202, {"Location": at}


@blueprint.get("/studies")
@guard.scope("studies:read")
def studies() -> Response:
    """A page of the studies that the token's owner may see, in the order of the worklist."""
    _only("page", "per_page", "state", "result", "side")
    page = worklist.worklist(
        db_session(),
        guard.services().vault,
        guard.actor(),
        state=_word("state", STATES),
        result=_word("result", RESULTS),
        side=_word("side", SIDES),
        page=_number("page", 1, LAST_PAGE),
        per_page=_number("per_page", 50, MOST_PER_PAGE),
        now=guard.now(),
    )
    return jsonify(
        studies=[_summary(row.state, row.case_number, row.created) for row in page.rows],
        total=page.total,
        page=page.page,
        per_page=page.per_page,
    )


@blueprint.get("/studies/<uuid:study_id>")
@guard.scope("studies:read")
def study(study_id: UUID) -> Response:
    """One study: where it stands, the model's word in full, and the readers'."""
    view = open_study(db_session(), guard.services().vault, guard.actor(), study_id, guard.now())
    body = _summary(view.state, view.case_number, view.created)
    body |= {
        "rows": view.rows,
        "columns": view.columns,
        "prediction": _prediction(view.prediction),
        "reviews": [
            {
                "verdict": review.verdict.value,
                "reason": review.reason.value if review.reason else None,
                "comment": review.comment,
                "created": _time(review.created),
            }
            for review in view.reviews
        ],
        "blobs": sorted(kind.value for kind in view.blobs),
    }
    return jsonify(body)


@blueprint.get("/studies/<uuid:study_id>/mask.png")
@guard.scope("studies:read")
def mask(study_id: UUID) -> Response:
    """The model's mask in the geometry of the X-ray: 255 where it sees a pneumothorax."""
    return _picture(study_id, "mask")


@blueprint.get("/studies/<uuid:study_id>/overlay.png")
@guard.scope("studies:read")
def overlay(study_id: UUID) -> Response:
    """The model's outline, to be laid over the X-ray."""
    return _picture(study_id, "overlay")


@blueprint.post("/studies/<uuid:study_id>/reviews")
@guard.scope("reviews:write")
def review(study_id: UUID) -> tuple[Response, int]:
    """Add the reader's word."""
    sent = _json_object({"verdict", "reason", "comment"})
    saved = reviews.add_review(
        db_session(),
        guard.services().vault,
        guard.actor(),
        study_id,
        verdict=_one_of(sent, "verdict", tuple(Verdict)),
        reason=_one_of(sent, "reason", tuple(Reason)) if sent.get("reason") is not None else None,
        comment=_text(sent, "comment"),
        now=guard.now(),
    )
    body = {
        "verdict": saved.verdict.value,
        "reason": saved.reason.value if saved.reason else None,
        "comment": clean_lines(_text(sent, "comment"), COMMENT_LENGTH),
        "created": _time(saved.created),
    }
    return jsonify(body), 201


def _submitted(submitted: submission.Submitted) -> dict[str, Any]:
    return {
        "id": str(submitted.study_id),
        "case": submitted.case_number,
        "duplicate": submitted.duplicate,
        "same_uid": submitted.same_uid,
        "state": _state_of(submitted),
    }


def _arrival(arrival: zip_submission.Arrival) -> dict[str, Any]:
    """A file of a ZIP, under the name that its sender gave it."""
    case = _submitted(arrival.submitted) if arrival.submitted is not None else None
    return {
        "name": arrival.name,
        "outcome": arrival.outcome,
        "code": arrival.code or None,
        "detail": arrival.message or None,
        "study": case,
    }


def _state_of(submitted: submission.Submitted) -> str | None:
    """Where a picture stands that was just sent; of one known before, only readers learn it."""
    if not submitted.duplicate:
        return status.State.RECEIVED.value
    if not guard.actor().may(Permission.STUDY_LIST):
        return None
    state = study_state(db_session(), guard.actor(), submitted.study_id, guard.now())
    return state.state.value


def _summary(state: status.StudyState, case: str, created: datetime) -> dict[str, Any]:
    result = state.result
    return {
        "id": str(state.study_id),
        "case": case,
        "created": _time(created),
        "state": state.state.value,
        "waiting_for": state.waiting_for,
        "error_code": state.error_code,
        "reviewed": state.reviewed.value if state.reviewed else None,
        "result": {
            "band": result.band.value if result.band else None,
            "probability": result.probability,
            "side": result.side,
            "distance_mm": result.distance_mm,
            "quality": result.quality.value,
        }
        if result
        else None,
    }


def _prediction(view: PredictionView | None) -> dict[str, Any] | None:
    if view is None:
        return None
    return {
        "model": {
            "name": view.model_name,
            "version": view.model_version,
            "sha256": view.model_sha256,
        },
        "band": view.result.band.value if view.result.band else None,
        "probability": view.result.probability,
        "threshold": view.threshold,
        "operating_point": view.operating_point,
        "measurements": view.measurements,
        "uncertainty": view.uncertainty,
        "region": view.region,
        "quality": view.quality,
        "statistics": view.statistics,
        "seconds": view.seconds,
        "created": _time(view.created),
    }


def _picture(study_id: UUID, kind: str) -> Response:
    found = read_blob(
        db_session(), guard.services().vault, guard.actor(), study_id, kind, guard.now()
    )
    return Response(found.data, content_type=found.media_type)


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _only(*allowed: str) -> None:
    """A filter that is not known, perhaps mistyped, is told and not passed over."""
    if set(request.args) - set(allowed):
        raise Problem(422, "unknown_parameter", f"Only these parameters: {', '.join(allowed)}.")


def _word(name: str, allowed: tuple[str, ...]) -> str:
    given = request.args.get(name)
    if given is None:
        return ""
    if given not in allowed:
        raise Problem(422, "bad_parameter", f"`{name}` is one of: {', '.join(allowed)}.")
    return given


def _number(name: str, default: int, most: int) -> int:
    given = request.args.get(name)
    if given is None:
        return default
    value = int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else 0
    if not 1 <= value <= most:
        raise Problem(422, "bad_parameter", f"`{name}` is a whole number from 1 to {most}.")
    return value


def _json_object(allowed: set[str]) -> dict[str, Any]:
    if not request.is_json:
        raise Problem(415, "not_json", "Send application/json.")
    sent = json_or_none()
    if not isinstance(sent, dict):
        raise Problem(400, "bad_json", "The body is not a JSON object.")
    unknown = set(sent) - allowed
    if unknown:
        raise Problem(422, "unknown_field", f"Only these fields: {', '.join(sorted(allowed))}.")
    return sent


def _one_of(sent: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = sent.get(name)
    if not isinstance(value, str) or value not in allowed:
        raise Problem(422, "bad_field", f"`{name}` is one of: {', '.join(allowed)}.")
    return value


def _text(sent: dict[str, Any], name: str) -> str:
    value = sent.get(name, "")
    if not isinstance(value, str):
        raise Problem(422, "bad_field", f"`{name}` is a text.")
    return value
