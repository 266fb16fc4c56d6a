"""The cookie that tells a screen: a random number, of no use but to find its last check."""

import re
import secrets
from datetime import timedelta
from typing import Final

from flask import current_app, request
from werkzeug.wrappers import Response

_LIFETIME: Final = timedelta(days=400)  # the most that browsers keep one
_NUMBER: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


def number() -> str:
    """What the browser has sent; "" for none, and for what is no such number."""
    sent = request.cookies.get(_name(), "")
    return sent if _NUMBER.fullmatch(sent) else ""


def new_number() -> str:
    """A number for a screen that has none."""
    return secrets.token_hex(16)


def keep(response: Response, kept: str) -> None:
    """Have the browser keep a number, also beyond the end of the login."""
    response.set_cookie(
        _name(),
        kept,
        max_age=_LIFETIME,
        secure=current_app.config["SESSION_COOKIE_SECURE"],
        httponly=True,
        samesite="Strict",
        path="/",
    )


def _name() -> str:
    name: str = current_app.config["SESSION_COOKIE_NAME"]
    return f"{name}-screen"
