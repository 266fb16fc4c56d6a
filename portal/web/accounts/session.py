"""How long the person's session still lasts, for the pages: base.js warns before it ends."""

from typing import Any

from flask import Blueprint, Response, g, jsonify
from flask_wtf.csrf import generate_csrf

from portal.access import Permission
from portal.accounts import sessions
from portal.web.security import guard

blueprint = Blueprint("session", __name__, url_prefix="/session")


@blueprint.get("")
@guard.permission(Permission.SELF, background=True)
def state() -> Response:
    """How long it lasts; asking is no activity of the person."""
    return jsonify(_state())


@blueprint.post("")
@guard.permission(Permission.SELF)
def active() -> Response:
    """The person does something that needs no other request, such as looking at a picture."""
    return jsonify(_state())


def _state() -> dict[str, Any]:
    settings = guard.services().settings
    idle, whole = sessions.remaining(g.login, guard.now(), idle=settings.session_idle)
    return {
        "person": str(g.user.id),
        "idle_seconds": idle,
        "left_seconds": whole,
        "csrf": generate_csrf(),
    }
