"""Single sign-on in the browser: to the provider, and back with a code.

Between the two the browser keeps state, nonce and verifier in a signed cookie of its own, `Lax`,
because the session's cookie does not come along from another site. For the same reason the way
back ends on a small page that goes on by itself: from there on everything is same-site again.
"""

import hmac
from typing import Any

from flask import Blueprint, current_app, make_response, redirect, render_template, request, url_for
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.wrappers import Response as BaseResponse

from portal.accounts import openid_connect, single_sign_on
from portal.accounts.throttle import ADDRESS, BACK_BROWSER, LEAVE, LEAVE_BROWSER, Limit, origin
from portal.languages import lazy
from portal.services import db_session
from portal.settings.single_sign_on import SingleSignOn
from portal.web.security import device_cookie, guard
from portal.web.security.errors import Problem

blueprint = Blueprint("sso", __name__, url_prefix="/sign-in/sso")

_SECONDS = 600
_SORRY = lazy(
    "Your hospital sign-in did not give access to Pleura. Try again, or ask your administrator."
)


@blueprint.get("")
@guard.public
def leave() -> BaseResponse:
    """To the provider."""
    settings = _settings()
    browser = device_cookie.sent().browser(guard.now())
    _count(LEAVE_BROWSER, browser, LEAVE)
    try:
        begun = openid_connect.begin(settings, guard.services().provider, _back(), guard.now())
    except openid_connect.ProviderUnavailable as away:
        raise Problem(503, "sso_away", retry_after=away.seconds) from None
    kept = {
        "state": begun.state,
        "nonce": begun.nonce,
        "verifier": begun.verifier,
        "next": guard.safe_next(request.args.get("next")),
        "browser": browser,  # its own cookie does not come along from another site
    }
    response = redirect(begun.url, 303)
    response.set_cookie(
        _cookie(),
        _signer().dumps(kept),
        max_age=_SECONDS,
        secure=current_app.config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Lax",
        path="/",
    )
    return response


@blueprint.get("/back")
@guard.public
def back() -> BaseResponse:
    """From the provider: the person's claims, then on to the second factor."""
    settings = _settings()
    taken = _taken_along()
    _count(BACK_BROWSER, taken.get("browser"), ADDRESS)
    try:
        kept = _answered(taken)
        claims = openid_connect.claims_of(
            settings,
            guard.services().provider,
            _back(),
            request.args.get("code", ""),
            nonce=kept["nonce"],
            verifier=kept["verifier"],
            now=guard.now(),
        )
        user = single_sign_on.person_of(
            db_session(), settings, claims, guard.now(), address=guard.address()
        )
    except openid_connect.ProviderUnavailable as away:
        raise Problem(503, "sso_away", retry_after=away.seconds) from None
    except openid_connect.SignInRefused as refused:
        single_sign_on.note_refusal(db_session(), refused.why, guard.now(), guard.address())
        page = render_template("auth/sign_in.html", error=_SORRY, sso=True)
        return _forget(make_response(page, 403))
    guard.sign_in(user, proved=False)
    step = "auth.code" if user.sealed_totp is not None else "auth.enrol"
    target = url_for(step, next=kept["next"])
    return _forget(make_response(render_template("auth/sso_back.html", target=target)))


def _settings() -> SingleSignOn:
    found = guard.services().settings.sso
    if found is None:
        raise Problem(404, "not_found")
    return found


def _back() -> str:
    return guard.services().settings.base_url + url_for("sso.back")


def _cookie() -> str:
    name: str = current_app.config["SESSION_COOKIE_NAME"]
    return f"{name}-sso"


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(guard.services().settings.secret_key, salt="pleura.sso")


def _count(of_browser: Limit, browser: str | None, of_address: Limit) -> None:
    """Count the request: by the browser if somebody has signed in there, else by the address.

    A hospital may have one address, at which somebody uses up the tries of all others.
    """
    counted = (of_browser, browser) if browser else (of_address, origin(guard.address()))
    guard.services().throttle.take([counted], guard.now())


def _taken_along() -> dict[str, Any]:
    """What this browser took along when it left; nothing where it did not or was too long away."""
    try:
        found = _signer().loads(request.cookies.get(_cookie(), ""), max_age=_SECONDS)
    except BadData:
        return {}
    return found if isinstance(found, dict) else {}


def _answered(taken: dict[str, Any]) -> dict[str, Any]:
    """The same, if the answer is to that."""
    given = request.args.get("state", "").encode("utf-8", "surrogatepass")
    if not taken or not hmac.compare_digest(str(taken["state"]).encode(), given):
        raise openid_connect.SignInRefused("state")
    return taken


def _forget(response: BaseResponse) -> BaseResponse:
    response.delete_cookie(
        _cookie(),
        secure=current_app.config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Lax",
    )
    return response
