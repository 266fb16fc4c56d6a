"""The signed cookie of a login: where its token stands, and what the server can tell from it alone.

Whether the login still lasts is known to the database alone; see `guard`.
"""

from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature
from werkzeug.http import parse_cookie

# Where the cookie keeps the login session's random token.
TOKEN_KEY = "login"  # noqa: S105 - a name


def is_of_a_login(app: Flask, environ: dict[str, str]) -> bool:
    """Whether a request comes from a browser with a login, now or before.

    Costs a signature and no query: the portal alone makes such a cookie, after a right password.
    """
    interface = app.session_interface
    if not isinstance(interface, SecureCookieSessionInterface):
        return False
    signer = interface.get_signing_serializer(app)
    try:
        value = parse_cookie(environ).get(app.config["SESSION_COOKIE_NAME"])
        content = signer.loads(value) if signer and value else None
    except (BadSignature, UnicodeError):
        return False
    return isinstance(content, dict) and TOKEN_KEY in content
