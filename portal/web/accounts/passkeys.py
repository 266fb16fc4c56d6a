"""Passkeys on the account page: making, naming and removing them. `auth` signs in with them."""

from uuid import UUID

from flask import Blueprint, Response, flash, g, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Permission
from portal.accounts.factors import passkeys
from portal.errors import Invalid
from portal.languages import _, lazy
from portal.services import db_session
from portal.web.accounts import account
from portal.web.security import device_cookie, guard
from portal.web.security.errors import Problem

blueprint = Blueprint("passkeys", __name__, url_prefix="/account/passkeys")

_PAGE = "account.account"
_ENDED = lazy("Your other sessions and your API tokens have ended.")
_own = guard.permission(Permission.SELF, step_up=_PAGE)


@blueprint.post("/challenge")
@_own
def begin() -> Response:
    """What the browser needs to make a passkey."""
    try:
        return jsonify(passkeys.begin_passkey(db_session(), site(), g.login, guard.now()))
    except Invalid as bad:
        raise Problem(409, "passkey", bad.message) from bad


@blueprint.post("")
@_own
def register() -> BaseResponse | tuple[str, int]:
    """Keep the passkey that the browser has made."""
    try:
        made = passkeys.register_passkey(
            db_session(),
            site(),
            g.login,
            name=request.form.get("name", ""),
            credential=request.form.get("credential", ""),
            now=guard.now(),
        )
    except Invalid as bad:
        return account.page({"passkey": bad.message}), 422
    device_cookie.issue(g.user)  # the change has ended the one before
    flash(" ".join((_("The passkey %(name)s can be used now.", name=made.name), str(_ENDED))), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/<uuid:passkey_id>/remove")
@_own
def remove(passkey_id: UUID) -> BaseResponse:
    """Remove one of one's own passkeys."""
    passkeys.remove_passkey(db_session(), guard.actor(), passkey_id, guard.now())
    device_cookie.issue(g.user)
    flash(" ".join((_("The passkey no longer works."), str(_ENDED))), "ok")
    return redirect(url_for(_PAGE), 303)


def site() -> tuple[str, str]:
    """The host name and origin that passkeys belong to; not found where browsers make none."""
    found = guard.services().settings.passkey_site
    if found is None:
        raise Problem(404, "not_found")
    return found
