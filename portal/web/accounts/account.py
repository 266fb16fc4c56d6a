"""One's own account: password, second factor, recovery codes, sessions, tokens."""

from datetime import timedelta
from uuid import UUID

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from portal import languages
from portal.access import Permission
from portal.accounts import api_tokens, people, sessions
from portal.accounts.factors import passkeys, totp
from portal.accounts.role_names import ROLES
from portal.errors import Invalid
from portal.languages import _, lazy, ngettext
from portal.models import ApiToken, Language, ProofMethod, Role
from portal.services import db_session
from portal.web.security import device_cookie, guard, page_language
from portal.web.security.errors import Problem

blueprint = Blueprint("account", __name__, url_prefix="/account")

_PAGE = "account.account"
_BROWSERS = ("Edg", "OPR", "Firefox", "Chrome", "Safari")
_SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "Mac OS", "Linux")
_SCOPES = {
    "studies:write": lazy("send X-rays"),
    "studies:read": lazy("list and read cases"),
    "reviews:write": lazy("write reviews"),
    "dicomweb:read": lazy("fetch DICOM files with the patient’s name, for viewers"),
    "dicomweb:write": lazy("send DICOM files (STOW-RS)"),
}
_DAYS = {"30": lazy("30 days"), "90": lazy("90 days"), "365": lazy("one year")}
_NAMES = {"Edg": "Edge", "OPR": "Opera", "Mac OS": "macOS"}


@blueprint.app_template_filter("browser")
def browser(agent: str) -> str:
    """A short name for a browser's User-Agent, such as "Firefox on Linux"."""
    known = (next((n for n in names if n in agent), "") for names in (_BROWSERS, _SYSTEMS))
    names = [_NAMES.get(name, name) for name in known if name]
    if len(names) == 2:
        return _("%(browser)s on %(system)s", browser=names[0], system=names[1])
    return names[0] if names else _("another browser")


@blueprint.app_template_filter("role")
def role(held: Role) -> str:
    """What a role is called."""
    return str(ROLES[held])


@blueprint.get("")
@guard.permission(Permission.SELF)
def account() -> str:
    """One's own data and sessions."""
    return page()


@blueprint.post("/password")
@guard.permission(Permission.SELF, step_up=_PAGE)
def password() -> BaseResponse | tuple[str, int]:
    """Change one's own password; all other sessions and the API tokens end."""
    errors: dict[str, str] = {}
    try:
        changed = people.change_password(
            db_session(),
            guard.services().throttle,
            g.login,
            request.form.get("old", ""),
            request.form.get("new", ""),
            guard.now(),
            address=guard.address(),
        )
        if not changed:
            errors["old"] = _("This is not your current password.")
    except Invalid as bad:
        errors["new"] = bad.message
    if errors:
        return page(errors), 422
    method = g.login.step_up_method
    guard.sign_in(g.user, proved=True, by_passkey=method is ProofMethod.PASSWORD_PASSKEY)
    flash(_("Your password is changed. Your other sessions and your API tokens have ended."), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/recovery-codes")
@guard.permission(Permission.SELF, step_up=_PAGE)
def recovery_codes() -> str:
    """Make ten new recovery codes and show them once."""
    codes = totp.new_recovery_codes(db_session(), g.user, guard.now())
    return render_template("auth/recovery_codes.html", codes=codes)


@blueprint.post("/language")
@guard.permission(Permission.SELF)
def language() -> BaseResponse:
    """Choose the language of one's own pages; nothing: that of the team."""
    chosen = request.form.get("language", "")
    if chosen not in ("", *Language):
        raise Problem(422, "language", _("Choose one of the languages in the list."))
    sessions.choose_language(
        db_session(), guard.actor(), Language(chosen) if chosen else None, guard.now()
    )
    page_language.of_person(g.user)
    flash(_("The language is chosen."), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/sessions/<uuid:session_id>/end")
@guard.permission(Permission.SELF)
def end_session(session_id: UUID) -> BaseResponse:
    """End one of one's own sessions."""
    sessions.end_session(db_session(), guard.actor(), session_id, guard.now())
    flash(_("The session has ended."), "ok")
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/sessions/end-others")
@guard.permission(Permission.SELF)
def end_others() -> BaseResponse:
    """End all of one's own sessions but this one."""
    count = sessions.end_other_sessions(db_session(), guard.actor(), guard.now())
    device_cookie.issue(g.user)  # the one before has ended with the sessions
    flash(
        ngettext("One other session has ended.", "%(num)s other sessions have ended.", count),
        "ok",
    )
    return redirect(url_for(_PAGE), 303)


@blueprint.post("/tokens")
@guard.permission(Permission.SELF, step_up=_PAGE)
def make_token() -> str | tuple[str, int]:
    """Make an API token and show it once."""
    chosen = request.form.get("days", "")
    try:
        token, raw = api_tokens.create_token(
            db_session(),
            g.user,
            scopes=request.form.getlist("scope"),
            name=request.form.get("name", ""),
            lifetime=timedelta(days=int(chosen) if chosen in _DAYS else 0),
            now=guard.now(),
            actor=guard.actor(),
        )
    except Invalid as bad:
        return page({"token": bad.message}), 422
    return page(made=(token, raw))


@blueprint.post("/tokens/<uuid:token_id>/revoke")
@guard.permission(Permission.SELF)
def revoke_token(token_id: UUID) -> BaseResponse:
    """End one of one's own API tokens."""
    api_tokens.revoke_token(db_session(), guard.actor(), token_id, guard.now())
    flash(_("The token no longer works."), "ok")
    return redirect(url_for(_PAGE), 303)


def page(errors: dict[str, str] | None = None, *, made: tuple[ApiToken, str] | None = None) -> str:
    """The account page, with what was wrong in a form, or with the token that was just made."""
    return render_template(
        "account/account.html",
        errors=errors or {},
        sessions=sessions.sessions_of(
            db_session(), g.user.id, guard.now(), idle=guard.services().settings.session_idle
        ),
        here=g.login.id,
        tokens=api_tokens.tokens_of(db_session(), g.user.id, guard.now()),
        scopes={name: _SCOPES[name] for name in api_tokens.scopes_of(g.user.role)},
        days=_DAYS,
        made=made,
        languages=[("", _("That of the team")), *languages.NAMES.items()],
        codes_left=totp.recovery_codes_left(db_session(), g.user),
        passkeys=passkeys.passkeys_of(db_session(), g.user.id),
        passkey_site=guard.services().settings.passkey_site,
        fresh=guard.is_fresh(),
    )
