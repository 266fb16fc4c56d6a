"""QIDO-RS: `/dicomweb/studies`, `/series` and `/instances`, and those of one study or series."""

from flask import Blueprint, Response, json, request

from portal.dicomweb import queries, search
from portal.dicomweb.attributes import SERIES_UID, STUDY_UID, Level
from portal.services import db_session
from portal.web.dicomweb import addresses, media_types
from portal.web.security import guard
from portal.web.security.errors import Problem

blueprint = Blueprint("dicomweb_search", __name__, url_prefix="/dicomweb")

SCOPE = "dicomweb:read"


@blueprint.get("/studies")
@guard.scope(SCOPE)
def studies() -> Response:
    """The studies that match, the newest first."""
    return _answer(Level.STUDIES)


@blueprint.get("/series")
@guard.scope(SCOPE)
def series() -> Response:
    """Series of whatever study."""
    return _answer(Level.SERIES)


@blueprint.get("/instances")
@guard.scope(SCOPE)
def instances() -> Response:
    """Instances of whatever study."""
    return _answer(Level.INSTANCES)


@blueprint.get("/studies/<study_uid>/series")
@guard.scope(SCOPE)
def series_of_study(study_uid: str) -> Response:
    """The series of a study."""
    return _answer(Level.SERIES, study_uid)


@blueprint.get("/studies/<study_uid>/instances")
@guard.scope(SCOPE)
def instances_of_study(study_uid: str) -> Response:
    """The instances of a study."""
    return _answer(Level.INSTANCES, study_uid)


@blueprint.get("/studies/<study_uid>/series/<series_uid>/instances")
@guard.scope(SCOPE)
def instances_of_series(study_uid: str, series_uid: str) -> Response:
    """The instances of a series."""
    return _answer(Level.INSTANCES, study_uid, series_uid)


def _answer(level: Level, study_uid: str = "", series_uid: str = "") -> Response:
    media_type = media_types.require_json()
    named = {STUDY_UID: study_uid, SERIES_UID: series_uid}
    named = {tag: uid for tag, uid in named.items() if uid}
    addresses.checked(**named)
    try:
        query = queries.parse(level, [*request.args.items(multi=True), *named.items()])
    except queries.BadQuery as bad:
        raise Problem(400, bad.code, bad.message) from None
    found = search.search(
        db_session(),
        guard.services().vault,
        guard.actor(),
        level,
        query,
        addresses.of,
        guard.now(),
        within=study_uid,
    )
    if found.matches:
        response = Response(json.dumps(found.matches), content_type=media_type)
    else:
        response = Response(status=204)
    for warning in found.warnings:
        response.headers.add("Warning", f'299 pleura "{warning}"')
    return response
