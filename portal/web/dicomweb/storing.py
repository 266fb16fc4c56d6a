"""STOW-RS: instances that a program sends, stored as those that come by C-STORE are."""

from collections.abc import Sequence
from typing import Any, Final

from flask import Blueprint, Response, json, request

from portal.dicom_network import parts
from portal.dicom_network.parts import Outcome
from portal.services import db_session
from portal.web.dicomweb import addresses, body_parts, media_types
from portal.web.dicomweb.media_types import DICOM
from portal.web.security import guard
from portal.web.security.errors import Problem

blueprint = Blueprint("dicomweb_storing", __name__, url_prefix="/dicomweb/studies")

SCOPE: Final = "dicomweb:write"
_RELATED: Final = "multipart/related"
# So many reasons are named in the answer's header.
_MOST_WARNINGS: Final = 20


@blueprint.post("")
@guard.scope(SCOPE, upload=True)
def store() -> Response:
    """Store instances, of whatever studies."""
    return _answer()


@blueprint.post("/<study_uid>")
@guard.scope(SCOPE, upload=True)
def store_in_study(study_uid: str) -> Response:
    """Store instances of one study; one of another fails."""
    addresses.checked(study_uid=study_uid)
    return _answer(study_uid)


def _answer(study_uid: str = "") -> Response:
    media_type = media_types.require_json()
    services = guard.services()
    kind, of_parts, boundary = media_types.of_body()
    if kind != _RELATED or of_parts not in ("", DICOM):
        raise Problem(415, "not_related", f'Send {_RELATED}; type="{DICOM}".')
    seconds = parts.most_seconds(request.content_length or 0)
    most = services.settings.max_upload_bytes
    try:
        sent = body_parts.read(request.stream, boundary, DICOM, most, most_seconds=seconds)
    except body_parts.NoParts:
        raise Problem(400, "no_parts", "The body holds no part with its boundary.") from None
    outcomes = parts.take(services, db_session(), guard.actor(), sent, study_uid, seconds=seconds)
    if not outcomes:
        raise Problem(400, "no_parts", "The body holds no part.")
    if all(one.answer.code == "too_large" for one in outcomes):
        megabytes = services.settings.max_upload_mb
        raise Problem(413, "too_large", f"An instance may have at most {megabytes} MB.")
    response = Response(
        json.dumps(_described(outcomes)), _status(outcomes), content_type=media_type
    )
    failed = [(number, one) for number, one in enumerate(outcomes, 1) if not one.is_stored]
    for number, one in failed[:_MOST_WARNINGS]:
        reason = one.answer.code.replace("_", " ")
        response.headers.add("Warning", f'299 pleura "Instance {number}: {reason}"')
    if response.status_code == 503:
        response.headers["Retry-After"] = str(max(one.answer.seconds for one in outcomes))
    return response


def _status(outcomes: Sequence[Outcome]) -> int:
    """PS3.18 table 10.5.3-1: 503 where nothing was stored that could be when it is sent again."""
    stored = [one.is_stored for one in outcomes]
    if all(stored):
        return 200
    if any(stored):
        return 202
    return 503 if all(one.is_for_later for one in outcomes) else 409


def _described(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The Store Instances Response Module (PS3.18 I.2) in the DICOM JSON model."""
    stored = [one for one in outcomes if one.is_stored]
    failed = [one for one in outcomes if not one.is_stored]
    named = [one for one in failed if one.sop_class and one.sop_instance]
    others = [one for one in failed if one not in named]
    studies = {one.study_uid for one in stored if one.answer.series_uid}
    found: dict[str, Any] = {}
    if len(studies) == 1 and all(one.study_uid in studies for one in stored):
        found["00081190"] = _value("UR", addresses.named(*studies))
    if named:
        found["00081198"] = _value("SQ", *[_instance(one) | _reason(one) for one in named])
    if stored:
        found["00081199"] = _value("SQ", *[_instance(one) | _place(one) for one in stored])
    if others:
        found["0008119A"] = _value("SQ", *[_reason(one) for one in others])
    return found


def _instance(one: Outcome) -> dict[str, Any]:
    return {"00081150": _value("UI", one.sop_class), "00081155": _value("UI", one.sop_instance)}


def _reason(one: Outcome) -> dict[str, Any]:
    return {"00081197": _value("US", one.answer.status)}


def _place(one: Outcome) -> dict[str, Any]:
    """Where a picture is fetched; what is filed, and what came under another's UID, can't be."""
    series_uid = one.answer.series_uid
    if not series_uid or not one.study_uid:
        return {}
    return {"00081190": _value("UR", addresses.named(one.study_uid, series_uid, one.sop_instance))}


def _value(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}
