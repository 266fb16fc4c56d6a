"""The guard: before each request it applies the view's rule, and refuses what has none.

It identifies the person or program, refuses, asks for a fresh proof of identity, checks the form
token and sets `g.actor` (`access.Actor`), `g.user` and `g.login` (the row of the login session).
Views take the rules (`permission`, `public` and the like) and the request's context from here.
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, redirect, request, session, url_for
from flask_login import LoginManager, UserMixin, current_user
from flask_wtf.csrf import CSRFProtect
from werkzeug.routing import RequestRedirect
from werkzeug.wrappers import Response as BaseResponse

from portal.access import Denied, Purged
from portal.accounts import api_tokens, break_glass, people, sessions
from portal.accounts.api_tokens import SCOPES, looks_like_token
from portal.accounts.throttle import BAD_TOKEN, origin
from portal.models import LoginSession, User
from portal.services import UNAVAILABLE, db_session
from portal.web.security import body_check, device_cookie, known_senders, page_language
from portal.web.security.errors import FOR_PROGRAMS, Problem, answer, wants_problem
from portal.web.security.login_cookie import TOKEN_KEY
from portal.web.security.request_context import (
    actor,
    address,
    bearer,
    is_worker_token,
    now,
    safe_next,
    services,
)
from portal.web.security.rules import (
    SMALL_BODY,
    Rule,
    Unguarded,
    check,
    permission,
    public,
    rule_of,
    scope,
    signing_in,
    worker,
)

__all__ = [
    "FRESH",
    "SMALL_BODY",
    "Rule",
    "Unguarded",
    "actor",
    "address",
    "bearer",
    "check",
    "count_export",
    "count_upload",
    "install",
    "is_fresh",
    "is_worker_token",
    "leave",
    "now",
    "permission",
    "public",
    "rule_of",
    "safe_next",
    "scope",
    "services",
    "sign_in",
    "signing_in",
    "worker",
]

FRESH = timedelta(minutes=10)
_NOBODYS = frozenset({"static", "health.live", "health.ready"})  # no query for whoever asks
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

csrf = CSRFProtect()
login_manager = LoginManager()


class SignedIn(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """The person and the login session of the request, for Flask-Login."""

    def __init__(self, user: User, login: LoginSession) -> None:
        self.user = user
        self.login = login

    def get_id(self) -> str:
        """The person's id."""
        return str(self.user.id)


def install(app: Flask) -> None:
    """Put the guard before every request."""
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # the guard decides, from the view's rule
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # as long as the session
    app.config["WTF_CSRF_SSL_STRICT"] = False  # browsers send no referrer here
    csrf.init_app(app)
    login_manager.init_app(app)
    login_manager.session_protection = None  # login sessions are rows, not cookies
    login_manager.request_loader(_load)
    app.before_request(_guard)
    app.after_request(_add_challenge)
    app.register_error_handler(Denied, _denied)
    app.context_processor(_context)


def sign_in(user: User, *, proved: bool, by_passkey: bool = False) -> None:
    """Start a login session and give the browser its key; what the cookie held is dropped.

    `proved`: the second factor has been shown too; the browser gets a device cookie then.
    `by_passkey`: it was one, and no code.
    `g.user` and `g.login` are those of the new session.
    """
    leave()
    raw = sessions.start_session(
        db_session(),
        user,
        address=address(),
        agent=request.user_agent.string,
        now=now(),
        proved=proved,
        by_passkey=by_passkey,
        lifetime=services().settings.session_absolute,
    )
    session[TOKEN_KEY] = raw
    found = sessions.load_session(db_session(), raw, now())
    if found is None:
        raise Problem(401, "signed_out")  # disabled in this very moment
    g.user, g.login = found
    page_language.of_person(g.user)
    if proved:
        known_senders.confirm(known_senders.Sender.PERSON, raw)
        device_cookie.issue(g.user)


def leave() -> None:
    """End the browser's login session, if it has one, and empty the cookie."""
    raw = session.get(TOKEN_KEY)
    if isinstance(raw, str):
        sessions.end_by_token(db_session(), raw, now())
        known_senders.refuse(raw)
    session.clear()


def count_upload(size: int) -> None:
    """Count a file against the quotas of who sends it; QuotaReached. 0: its bytes are counted."""
    services().quotas.upload(size, str(actor().user_id), address(), now())


def _count_sent() -> None:
    """Count a request with a file, before a large one is read; only once where it is read then."""
    counted = request.environ.get(body_check.CHECKED)
    if counted is None or counted < 0:
        count_upload(request.content_length or 0)


def _count_call() -> None:
    """Count a program's call; once, like a request with a file."""
    if body_check.CHECKED not in request.environ:
        services().quotas.call(g.person, address(), now())


def count_export() -> None:
    """Count an export or an overlay against the quotas of the person; QuotaReached."""
    services().quotas.export(str(actor().user_id), address(), now())


def is_fresh() -> bool:
    """Whether the person has given password and code within the last ten minutes."""
    login: LoginSession | None = g.get("login")
    return login is not None and login.step_up_at is not None and now() - login.step_up_at < FRESH


def _load(_request: object) -> SignedIn | None:
    """The person by the login session behind the browser's cookie, for Flask-Login."""
    raw = session.get(TOKEN_KEY)
    if not isinstance(raw, str) or g.get("database_away"):
        return None
    rule = rule_of(current_app, request.endpoint)
    found = sessions.load_session(
        db_session(),
        raw,
        now(),
        idle=services().settings.session_idle,
        active=rule is None or not rule.background,
    )
    if found is None:
        known_senders.refuse(raw)
        return None
    if found[1].step_up_at is not None:  # a password alone makes nobody known
        known_senders.confirm(known_senders.Sender.PERSON, raw)
    return SignedIn(*found)


def _context() -> dict[str, Any]:
    known = {"actor": g.get("actor"), "user": g.get("user"), "now": now()}
    if "actor" in g and "login" in g:
        ends = sessions.remaining(g.login, now(), idle=services().settings.session_idle)
        known["session_ends"] = {"idle": ends[0], "whole": ends[1]}
        known["list_filters"] = g.user.list_filters or {}
    return known


def _guard() -> BaseResponse | None:
    rule = rule_of(current_app, request.endpoint)
    if isinstance(request.routing_exception, RequestRedirect):
        return _within_this_host(request.routing_exception)
    if request.endpoint is None:
        _identify_if_possible()  # the router answers: no such page, no such method
        return None
    if rule is None:
        raise Problem(404, "not_found")
    largest = body_check.largest_upload(services().settings)
    request.max_content_length = largest if rule.upload else rule.most
    match rule.who:
        case "program":
            _admit_program(rule)
            _count_call()
        case "worker":
            pass  # the view checks token or ticket
        case "public":
            if request.endpoint not in _NOBODYS:
                _identify_if_possible()
        case "signing_in" | "person":
            refused = _admit_person(rule)
            if refused is not None:
                return refused
    if rule.upload:
        _count_sent()
    if body_check.CHECK_ONLY in request.environ:
        return body_check.admit_body(rule)
    if rule.who not in ("program", "worker") and request.method not in _SAFE_METHODS:
        _check_origin()
        csrf.protect()
    return None


def _within_this_host(routed: RequestRedirect) -> BaseResponse:
    """The router's redirect to the right number of slashes, without the host that was sent."""
    target = urlsplit(routed.new_url)
    path = "/" + target.path.lstrip("/")
    return redirect(f"{path}?{target.query}" if target.query else path, routed.code)


def _identify() -> SignedIn | None:
    """Set g.user, g.login and, once the second factor is shown, g.actor."""
    person = current_user._get_current_object()
    if not isinstance(person, SignedIn):
        return None
    g.user, g.login = person.user, person.login
    page_language.of_person(g.user)
    g.person = str(person.user.id)  # for the log, where rows may no longer be readable
    if person.login.step_up_at is not None and person.user.sealed_totp is not None:
        g.actor = sessions.actor_of(person.user, person.login.id, address())
    return person


def _identify_if_possible() -> None:
    """For public pages: the person is known if possible; the database may be down."""
    try:
        _identify()
    except UNAVAILABLE:
        g.database_away = True


def _admit_person(rule: Rule) -> BaseResponse | None:
    person = _identify()
    if person is None:
        return _send_to("auth.sign_in", "signed_out")
    if rule.who == "signing_in":
        return None
    if "actor" not in g:
        enrolled = person.user.sealed_totp is not None
        return _send_to("auth.code" if enrolled else "auth.enrol", "second_factor")
    assert rule.permission is not None
    if rule.break_glass and request.view_args:
        g.actor = break_glass.under(db_session(), actor(), request.view_args["study_id"], now())
    if not actor().may(rule.permission):
        _note_refusal(rule.permission.value)
        about_a_case = "study_id" in (request.view_args or {})
        raise Problem(404, "not_found") if about_a_case else Problem(403, "forbidden")
    if rule.step_up and request.method not in _SAFE_METHODS and not is_fresh():
        return _send_to("auth.confirm", "confirm", _back_to(rule.step_up))
    return None


def _back_to(endpoint: str) -> str:
    """The page to return to after the proof, of the same case if it is about one."""
    known = request.view_args or {}
    expecting = current_app.url_map.is_endpoint_expecting
    return url_for(endpoint, **{k: v for k, v in known.items() if expecting(endpoint, k)})


def _send_to(endpoint: str, code: str, back_to: str | None = None) -> BaseResponse:
    """Redirect to the page that asks for the missing proof; scripts get a problem document."""
    if wants_problem():
        raise Problem(401, code)
    if back_to is None and request.method in _SAFE_METHODS and request.path != "/":
        back_to = request.path  # without the query: it may hold a search term
    return redirect(url_for(endpoint, next=back_to), 303)


def _check_origin() -> None:
    """Refuse a form that the browser reports as sent from another site, whatever it carries."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Problem(400, "csrf")


def _admit_program(rule: Rule) -> None:
    found = api_tokens.load_token(db_session(), bearer(), now())
    if found is None:
        if looks_like_token(bearer()):  # a guess; a forgotten header is none
            services().throttle.take([(BAD_TOKEN, origin(address()))], now())
        raise Problem(401, "token")
    known_senders.confirm(known_senders.Sender.PROGRAM, bearer())
    user, token = found
    g.user, g.actor, g.person = (
        user,
        api_tokens.actor_of_token(user, token, address()),
        str(user.id),
    )
    if rule.scope is None:
        return
    held = rule.scope in token.scopes
    if not held or not all(actor().may(needed) for needed in SCOPES[rule.scope]):
        _note_refusal(rule.scope)
        raise Problem(403, "forbidden" if held else "scope")


def _denied(denied: Denied) -> Response:
    """Another's object looks like one that does not exist; the log distinguishes them. Who could
    have seen an exam that was purged is informed of that on the pages.
    """
    if "actor" in g:
        _note_refusal(str(denied))
    is_known = isinstance(denied, Purged) and actor().via == "session"
    return answer(Problem(404, "purged" if is_known else "not_found"))


def _note_refusal(what: str) -> None:
    """Log what was refused, and for which case."""
    study_id = (request.view_args or {}).get("study_id")
    people.note_refusal(db_session(), actor(), what, now(), study_id=study_id)


def _add_challenge(response: Response) -> Response:
    """Name the missing credential to a program that was refused."""
    if response.status_code == 401 and request.path.startswith(FOR_PROGRAMS):
        response.headers["WWW-Authenticate"] = 'Bearer realm="pleura"'
    return response
