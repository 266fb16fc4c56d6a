"""WADO-RS: the instances of a study, a series or one, their headers, frames and long values."""

from flask import Blueprint, Response, json

from portal.dicomweb import retrieval
from portal.dicomweb.attributes import Level
from portal.dicomweb.file_parts import WAY, NoSuchPart
from portal.dicomweb.retrieval import Asked, Retrieved, What
from portal.dicomweb.search import LEFT_OUT
from portal.services import db_session
from portal.web.dicomweb import addresses, media_types, multipart
from portal.web.dicomweb.media_types import DICOM, OCTETS, OF_FRAMES
from portal.web.dicomweb.multipart import Part
from portal.web.dicomweb.search import SCOPE
from portal.web.security import guard
from portal.web.security.errors import Problem
from xray_files.kinds import EXPLICIT

blueprint = Blueprint("dicomweb_retrieval", __name__, url_prefix="/dicomweb/studies")

_SERIES = "/<study_uid>/series/<series_uid>"
_INSTANCE = f"{_SERIES}/instances/<sop_uid>"


@blueprint.get("/<study_uid>")
@guard.scope(SCOPE)
def study(study_uid: str) -> Response:
    """All instances of a study, as they were stored."""
    return _instances(study_uid)


@blueprint.get(_SERIES)
@guard.scope(SCOPE)
def series(study_uid: str, series_uid: str) -> Response:
    """All instances of a series."""
    return _instances(study_uid, series_uid)


@blueprint.get(_INSTANCE)
@guard.scope(SCOPE)
def instance(study_uid: str, series_uid: str, sop_uid: str) -> Response:
    """One instance."""
    return _instances(study_uid, series_uid, sop_uid)


@blueprint.get("/<study_uid>/metadata")
@guard.scope(SCOPE)
def study_metadata(study_uid: str) -> Response:
    """The headers of all instances of a study."""
    return _metadata(study_uid)


@blueprint.get(f"{_SERIES}/metadata")
@guard.scope(SCOPE)
def series_metadata(study_uid: str, series_uid: str) -> Response:
    """The headers of all instances of a series."""
    return _metadata(study_uid, series_uid)


@blueprint.get(f"{_INSTANCE}/metadata")
@guard.scope(SCOPE)
def instance_metadata(study_uid: str, series_uid: str, sop_uid: str) -> Response:
    """The header of one instance."""
    return _metadata(study_uid, series_uid, sop_uid)


@blueprint.get(f"{_INSTANCE}/frames/<numbers>")
@guard.scope(SCOPE)
def frames(study_uid: str, series_uid: str, sop_uid: str, numbers: str) -> Response:
    """Frames, counted from 1 and with commas between, as they are stored."""
    accepted = media_types.for_parts(OCTETS, *dict.fromkeys(OF_FRAMES.values()))
    wanted = _numbers(numbers)
    (one,) = _retrieve("frames", study_uid, series_uid, sop_uid).served[:1]
    try:
        found, syntax = retrieval.frames(guard.services().vault, one, wanted)
    except NoSuchPart as missing:
        if missing.code == "no_pixels":
            raise Problem(404, "no_frame", "It has no such frame.") from None
        raise media_types.not_acceptable(
            "These frames can't be given as they are stored: fetch the instance."
        ) from None
    kind = OF_FRAMES.get(syntax, OCTETS)
    is_taken = media_types.takes(accepted, kind, syntax)
    if not is_taken and not media_types.takes_any_syntax(accepted):
        raise media_types.not_acceptable(
            f"These frames are stored as {kind}; transfer-syntax={syntax}."
        )
    named = f"{kind}; transfer-syntax={syntax}"
    return multipart.whole([Part(named, data) for data in found], kind)


@blueprint.get(f"{_INSTANCE}/bulkdata/<path:way>")
@guard.scope(SCOPE)
def bulkdata(study_uid: str, series_uid: str, sop_uid: str, way: str) -> Response:
    """The bytes of a long value, in little endian."""
    accepted = media_types.for_parts(OCTETS)
    if not WAY.fullmatch(f"#{way}"):
        raise Problem(400, "not_a_way", "The address names no element.")
    if not media_types.takes(accepted, OCTETS, EXPLICIT):
        raise media_types.not_acceptable(f"Ask for {OCTETS}.")
    (one,) = _retrieve("bulkdata", study_uid, series_uid, sop_uid).served[:1]
    try:
        data = retrieval.bulk(guard.services().vault, one, way)
    except NoSuchPart:
        raise Problem(404, "no_value", "It has no such value; pixels have frames.") from None
    return multipart.whole([Part(OCTETS, data)], OCTETS)


def _instances(study_uid: str, series_uid: str = "", sop_uid: str = "") -> Response:
    accepted = media_types.for_parts(DICOM)
    found = _retrieve("instances", study_uid, series_uid, sop_uid)
    vault = guard.services().vault
    known, damaged = retrieval.readable(vault, found)
    served, syntaxes = [one for one, _ in known], [syntax for _, syntax in known]
    if not all(media_types.takes(accepted, DICOM, syntax) for syntax in syntaxes):
        stored = ", ".join(sorted(set(syntaxes)))
        raise media_types.not_acceptable(
            f"Instances are given as they are stored: {stored}. Ask for transfer-syntax=*."
        )
    kinds = [f"{DICOM}; transfer-syntax={syntax}" for syntax in syntaxes]
    # Made here: the parts of several are made after the request's end.
    locations = [addresses.of(one, Level.INSTANCES) for one in served]
    parts = map(Part, kinds, retrieval.files(vault, served), locations)
    if len(served) == 1:
        return _warned(multipart.whole(parts, DICOM), damaged)
    # The file as it is stored: of a result it is the archive, which is in memory with its member.
    largest = max(one.blob.size for one in served)
    return _warned(multipart.streamed(parts, DICOM, largest), damaged)


def _metadata(study_uid: str, series_uid: str = "", sop_uid: str = "") -> Response:
    media_type = media_types.require_json()
    found = _retrieve("metadata", study_uid, series_uid, sop_uid)
    known, damaged = retrieval.headers(guard.services().vault, found)
    made = [addresses.with_bulk(header.elements, one) for one, header in known]
    return _warned(Response(json.dumps(made), content_type=media_type), damaged)


def _retrieve(what: What, study_uid: str, series_uid: str, sop_uid: str) -> Retrieved:
    named = {"study_uid": study_uid, "series_uid": series_uid, "sop_uid": sop_uid}
    addresses.checked(**{name: uid for name, uid in named.items() if uid})
    return retrieval.retrieve(
        db_session(), guard.services().vault, guard.actor(), Asked(**named), what, guard.now()
    )


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    is_list = all(one.isdecimal() and one.isascii() and len(one) <= 6 for one in parts)
    if not is_list or len(parts) > retrieval.MOST_FRAMES:
        raise Problem(400, "bad_frames", "Frames are numbers from 1 on, with commas between.")
    return [int(one) for one in parts]


def _warned(response: Response, damaged: int) -> Response:
    if damaged:
        response.headers.add("Warning", f'299 pleura "{LEFT_OUT}"')
    return response
