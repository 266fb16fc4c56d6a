"""Signing in and out, joining by a link, and setting up the second factor."""

from flask import (
    Blueprint,
    Response,
    flash,
    g,
    jsonify,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Denied, Permission
from portal.accounts import invitations, people, throttle
from portal.accounts.factors import totp
from portal.accounts.factors.passkeys import ask_passkey, check_passkey, passkeys_of
from portal.errors import Invalid
from portal.languages import _, lazy, ngettext
from portal.models import Role
from portal.services import db_session
from portal.web.accounts.passkeys import site
from portal.web.security import device_cookie, guard
from portal.web.security.errors import Problem, wants_problem

blueprint = Blueprint("auth", __name__)

_WORKLIST = "/worklist"
_FIRST_PAGE = {
    Role.TECHNOLOGIST: _WORKLIST,
    Role.READER: _WORKLIST,
    Role.ADMIN: "/admin/people",
    Role.AUDITOR: "/audit",
}
_WRONG = lazy("The e-mail address or the password is wrong.")
_WRONG_PASSKEY = lazy("This passkey was not accepted. Try again, or enter a code.")
_NOT_CONFIRMED = lazy(
    "The password or the code is wrong. A code works once: wait for the next one."
)
_NOT_CONFIRMED_PASSKEY = lazy("The password is wrong, or the passkey was not accepted.")
_WRONG_CODE = lazy("This code is wrong, expired, or already used. Wait for the next one.")


@blueprint.get("/")
@guard.permission(Permission.SELF)
def start() -> BaseResponse:
    """To the first page of the person's role; the worklist has the filters that they set last."""
    first = _FIRST_PAGE[guard.actor().role]
    if first != _WORKLIST or not g.user.list_filters:
        return redirect(first)
    return redirect(url_for("worklist.worklist", **g.user.list_filters))


@blueprint.route("/sign-in", methods=["GET", "POST"])
@guard.public
def sign_in() -> BaseResponse | str | tuple[str, int]:
    """Ask for e-mail address and password."""
    target = guard.safe_next(request.values.get("next"))
    if request.method == "GET":
        if "actor" in g:
            return redirect(target or "/")
        return _sign_in_page(target)
    email = request.form.get("email", "")
    try:
        user = people.check_password(
            db_session(),
            guard.services().throttle,
            email,
            request.form.get("password", ""),
            guard.address(),
            guard.now(),
            only_local=guard.services().settings.only_local_flagged,
            device_cookie=device_cookie.sent(),
        )
    except throttle.Throttled as throttled:
        page = _sign_in_page(target, email, too_often=throttled.seconds)
        return _try_later(page, throttled)
    if user is None:
        return _sign_in_page(target, email, error=_WRONG), 401
    guard.sign_in(user, proved=False)
    if user.sealed_totp is None:
        return _begin_enrolment()
    return redirect(url_for("auth.code", next=target), 303)


@blueprint.route("/sign-in/code", methods=["GET", "POST"])
@guard.signing_in
def code() -> BaseResponse | str | tuple[str, int]:
    """Ask for the second factor."""
    target = guard.safe_next(request.values.get("next"))
    user = g.user
    if "actor" in g:
        return redirect(target or "/")
    if user.sealed_totp is None:
        return redirect(url_for("auth.enrol"))
    if request.method == "GET":
        return _code_page(target)
    try:
        accepted = totp.check_second_factor(
            db_session(),
            guard.services().vault,
            user,
            request.form.get("code", ""),
            guard.now(),
            throttle=guard.services().throttle,
            session_id=g.login.id,
            address=guard.address(),
            device_cookie=device_cookie.sent(),
        )
    except throttle.Throttled as throttled:
        return _try_later(_code_page(target, too_often=throttled.seconds), throttled)
    if not accepted:
        return _code_page(target, error=_WRONG_CODE), 401
    guard.sign_in(user, proved=True)
    _warn_when_codes_run_out()
    return redirect(target or "/", 303)


@blueprint.post("/sign-in/passkey/challenge")
@guard.signing_in
def passkey_challenge() -> Response:
    """What the browser has to have signed by one of the person's passkeys."""
    return jsonify(ask_passkey(db_session(), site(), g.login, guard.now()))


@blueprint.post("/sign-in/passkey")
@guard.signing_in
def passkey() -> BaseResponse | tuple[str, int]:
    """The second factor, by a passkey instead of a code."""
    target = guard.safe_next(request.form.get("next"))
    if "actor" in g:
        return redirect(target or "/", 303)
    if g.user.sealed_totp is None:
        return redirect(url_for("auth.enrol"), 303)
    try:
        accepted = check_passkey(
            db_session(),
            guard.services().throttle,
            site(),
            g.login,
            request.form.get("credential", ""),
            guard.now(),
            address=guard.address(),
            device_cookie=device_cookie.sent(),
        )
    except throttle.Throttled as throttled:
        return _try_later(_code_page(target, too_often=throttled.seconds), throttled)
    if not accepted:
        return _code_page(target, passkey_error=_WRONG_PASSKEY), 401
    guard.sign_in(g.user, proved=True, by_passkey=True)
    _warn_when_codes_run_out()
    return redirect(target or "/", 303)


@blueprint.post("/sign-out")
@guard.public
def sign_out() -> BaseResponse:
    """End the session and have the browser forget what it kept."""
    guard.leave()
    response = redirect(url_for("auth.sign_in", out=1), 303)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


@blueprint.route("/join/<token>", methods=["GET", "POST"])
@guard.public
def join(token: str) -> BaseResponse | str | tuple[str, int]:
    """Follow an invitation or a reset: choose a password."""
    invitation = invitations.open_invitation(db_session(), token, guard.now())
    if invitation is None:
        raise Problem(404, "link")
    if guard.services().settings.only_local_flagged and invitation.for_single_sign_on:
        raise Problem(
            404, "link", _("Sign in with your hospital account: this link cannot be used.")
        )
    if request.method == "GET":
        return render_template("auth/join.html", invitation=invitation)
    try:
        user = invitations.accept_invitation(
            db_session(),
            token,
            password=request.form.get("password", ""),
            now=guard.now(),
            signed_in=g.user.id if "user" in g else None,
            throttle=guard.services().throttle,
        )
    except Invalid as bad:
        page = render_template("auth/join.html", invitation=invitation, error=bad.message)
        return page, 422
    except throttle.Throttled as throttled:
        page = render_template("auth/join.html", invitation=invitation, too_often=throttled.seconds)
        return _try_later(page, throttled)
    except Denied:
        raise Problem(404, "link") from None
    guard.sign_in(user, proved=False)
    return _begin_enrolment()


@blueprint.route("/enrol", methods=["GET", "POST"])
@guard.signing_in
def enrol() -> BaseResponse | str | tuple[str, int]:
    """Set up the second factor, or a new one beside the one that still works.

    Looking shows the secret that a form has begun; without one, the page offers to begin.
    """
    user = g.user
    if user.sealed_totp is not None:
        if "actor" not in g:
            return redirect(url_for("auth.code"))
        if not guard.is_fresh():
            return redirect(url_for("auth.confirm", next=url_for("auth.enrol")), 303)
    if request.method == "GET":
        return _enrol_page()
    if "begin" in request.form:
        return _begin_enrolment()
    try:
        codes = totp.confirm_totp(
            db_session(),
            guard.services().vault,
            user,
            request.form.get("code", ""),
            guard.now(),
            session_id=g.login.id,
            throttle=guard.services().throttle,
        )
    except Invalid:
        return _enrol_page(error=_("This code does not match. Enter the one shown now.")), 422
    except throttle.Throttled as throttled:
        return _try_later(_enrol_page(too_often=throttled.seconds), throttled)
    guard.sign_in(user, proved=True)
    return render_template("auth/recovery_codes.html", codes=codes)


@blueprint.route("/confirm", methods=["GET", "POST"])
@guard.permission(Permission.SELF)
def confirm() -> BaseResponse | str | tuple[str, int]:
    """Ask for password and code again before a protected action. A page's script sends them from
    a dialog, or what a passkey has signed instead of a code, and gets no page.
    """
    target = guard.safe_next(request.values.get("next")) or url_for("account.account")
    if request.method == "GET":
        return render_template("auth/confirm.html", target=target)
    credential = request.form.get("credential")
    try:
        confirmed = people.confirm_identity(
            db_session(),
            guard.services().vault,
            guard.services().throttle,
            g.login,
            password=request.form.get("password", ""),
            code=request.form.get("code", ""),
            now=guard.now(),
            address=guard.address(),
            passkey=(site(), credential) if credential else None,
        )
    except throttle.Throttled as throttled:
        if wants_problem():
            raise
        page = render_template("auth/confirm.html", target=target, too_often=throttled.seconds)
        return _try_later(page, throttled)
    if not confirmed:
        error = _NOT_CONFIRMED_PASSKEY if credential else _NOT_CONFIRMED
        if wants_problem():
            raise Problem(422, "not_confirmed", error)
        return render_template("auth/confirm.html", target=target, error=error), 422
    return Response(status=204) if wants_problem() else redirect(target, 303)


@blueprint.post("/confirm/passkey/challenge")
@guard.permission(Permission.SELF)
def confirm_challenge() -> Response:
    """What the browser has to have signed by one of the person's passkeys for `confirm`."""
    return jsonify(ask_passkey(db_session(), site(), g.login, guard.now()))


def _sign_in_page(
    target: str | None, email: str = "", *, error: str = "", too_often: int = 0
) -> str:
    return render_template(
        "auth/sign_in.html",
        target=target,
        email=email,
        error=error,
        too_often=too_often,
        signed_out="out" in request.args,
        sso=guard.services().settings.sso is not None,
    )


def _code_page(
    target: str | None, *, error: str = "", passkey_error: str = "", too_often: int = 0
) -> str:
    return render_template(
        "auth/code.html",
        target=target,
        passkeys=has_passkeys(),
        error=error,
        passkey_error=passkey_error,
        too_often=too_often,
    )


def _begin_enrolment() -> BaseResponse:
    totp.begin_totp(
        db_session(), guard.services().vault, g.user, guard.now(), session_id=g.login.id
    )
    return redirect(url_for("auth.enrol"), 303)


def _enrol_page(*, error: str = "", too_often: int = 0) -> str:
    begun = totp.waiting_totp(guard.services().vault, g.user, guard.now(), session_id=g.login.id)
    secret, uri = begun or ("", "")
    return render_template(
        "auth/enrol.html",
        secret=" ".join(secret[i : i + 4] for i in range(0, len(secret), 4)),
        qr=totp.qr_code(uri) if begun else "",
        error=error,
        too_often=too_often,
    )


def has_passkeys() -> bool:
    """Whether the person could use a passkey here instead of a code."""
    return guard.services().settings.passkey_site is not None and bool(
        passkeys_of(db_session(), g.user.id)
    )


def _try_later(page: str, throttled: throttle.Throttled) -> Response:
    response = Response(page, 429, content_type="text/html; charset=utf-8")
    response.headers["Retry-After"] = str(throttled.seconds)
    return response


def _warn_when_codes_run_out() -> None:
    left = totp.recovery_codes_left(db_session(), g.user)
    if left == 0 and totp.has_old_recovery_codes(db_session(), g.user):
        flash(
            _(
                "Recovery codes of an earlier version no longer work. Create new ones under "
                "Account."
            ),
            "warn",
        )
    elif left < 4:
        warning = (
            ngettext(
                "Only one recovery code is left.", "Only %(num)s recovery codes are left.", left
            )
            if left
            else _("No recovery codes are left.")
        )
        flash(" ".join((warning, _("Create new ones under Account."))), "warn")
