"""Signing a case and adding to a signed one; each needs a fresh proof of the person's identity."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, g, jsonify, request

from portal.access import Permission
from portal.errors import Invalid
from portal.languages import _
from portal.reading import signing
from portal.reading.case import load
from portal.reading.signing import Changed, NotProved, Proof
from portal.reading.viewing import screen_checks
from portal.services import db_session
from portal.web.clinic.reports.pages import make_signed
from portal.web.security import guard, screen_cookie
from portal.web.security.errors import Problem
from portal.web.security.json_body import json_or_none

blueprint = Blueprint("signing", __name__, url_prefix="/studies/<uuid:study_id>")

_TEXTS = ("finding", "size", "reason", "comment", "shown", "after")


@blueprint.post("/signatures")
@guard.permission(Permission.REVIEW_WRITE)
def sign(study_id: UUID) -> Response:
    """Sign a finding: the page's fields as in a review, what it showed, and how (`view`)."""
    sent = _sent_about(study_id)
    fields = {name: sent.get(name) for name in _TEXTS}
    if not all(value is None or isinstance(value, str) for value in fields.values()):
        raise Problem(
            422,
            "bad_review",
            _("These fields must be strings: %(names)s.", names=", ".join(_TEXTS)),
        )
    critical = sent.get("critical")
    if critical is not None and not isinstance(critical, bool):
        raise Problem(422, "bad_review", _("critical must be true, false or null."))
    try:
        signed = signing.sign(
            db_session(),
            guard.services().vault,
            guard.actor(),
            study_id,
            finding=fields["finding"] or "",
            size=fields["size"],
            reason=fields["reason"],
            comment=fields["comment"] or "",
            shown=fields["shown"] or "",
            after=fields["after"] or "",
            proof=_proof(),
            seen_view=sent.get("view"),
            signature_id=_id(sent),
            critical=critical,
            screen_check=screen_checks.last_id(db_session(), guard.actor(), screen_cookie.number()),
            now=guard.now(),
        )
    except NotProved:
        raise Problem(401, "confirm") from None
    except Changed as changed:
        more = {"changed": changed.parts}
        raise Problem(409, changed.code, changed.message, more=more) from changed
    except Invalid as bad:
        raise Problem(422, bad.code, bad.message) from bad
    if signed.is_new:
        make_signed(study_id)
    return jsonify({"signature": signed.signature.id.hex, "is_new": signed.is_new})


@blueprint.post("/addenda")
@guard.permission(Permission.REVIEW_WRITE)
def add(study_id: UUID) -> Response:
    """Add a text to a signed case."""
    sent = _sent_about(study_id)
    text = sent.get("text")
    if not isinstance(text, str):
        raise Problem(422, "addendum", _("Send a text."))
    try:
        added = signing.add_addendum(
            db_session(),
            guard.services().vault,
            guard.actor(),
            study_id,
            text,
            proof=_proof(),
            addendum_id=_id(sent),
            now=guard.now(),
        )
    except NotProved:
        raise Problem(401, "confirm") from None
    except Invalid as bad:
        raise Problem(422, bad.code, bad.message) from bad
    make_signed(study_id)
    return jsonify({"addendum": added.id.hex})


def _sent_about(study_id: UUID) -> dict[str, Any]:
    """The body's object; Denied first, where the person may not see the case."""
    load(db_session(), guard.actor(), study_id)
    sent: Any = json_or_none() if request.is_json else None
    if not isinstance(sent, dict):
        raise Problem(400, "bad_json", _("Send an object."))
    return sent


def _id(sent: dict[str, Any]) -> UUID:
    try:
        return UUID(sent.get("id"))
    except (TypeError, ValueError, AttributeError):
        raise Problem(
            422, "bad_id", _("Send an id of your own, so that nothing is done twice.")
        ) from None


def _proof() -> Proof | None:
    """The last proof of identity of this login session."""
    login = g.login
    if login.step_up_at is None or login.step_up_method is None:
        return None
    return Proof(login.step_up_method, login.step_up_at)
