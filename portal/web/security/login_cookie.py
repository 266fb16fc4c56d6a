"""The signed cookie of a login: where its token stands, and how the server reads it without a view.

Whether the login still lasts is known to the database alone; see `guard` and `known_senders`.
"""

from datetime import timedelta

from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature
from werkzeug.http import parse_cookie

# Where the cookie keeps the login session's random token.
TOKEN_KEY = "login"  # noqa: S105 - a name


def token_of(app: Flask, environ: dict[str, str], most_age: timedelta) -> str | None:
    """The token of the login in a request's cookie; None without one.

    Costs a signature and no query: the portal alone makes such a cookie, after a right password.
    None also for a cookie older than `most_age`: no login lasts longer than that.
    """
    interface = app.session_interface
    if not isinstance(interface, SecureCookieSessionInterface):
        return None
    signer = interface.get_signing_serializer(app)
    try:
        value = parse_cookie(environ).get(app.config["SESSION_COOKIE_NAME"])
        age = int(most_age.total_seconds())
        content = signer.loads(value, max_age=age) if signer and value else None
    except (BadSignature, UnicodeError):
        return None
    token = content.get(TOKEN_KEY) if isinstance(content, dict) else None
    return token if isinstance(token, str) else None
