"""The running request: its time, its person and address, and the services of the process."""

import hmac
from datetime import UTC, datetime
from urllib.parse import urlsplit

from flask import current_app, g, request

from portal.access import Actor
from portal.services import Services


def now() -> datetime:
    """The time of this request: read once, the same for everything done in it."""
    if "now" not in g:
        g.now = services().clock().astimezone(UTC)
    moment: datetime = g.now
    return moment


def services() -> Services:
    """Settings, vault, broker, throttle and clock of this process."""
    opened: Services = current_app.extensions["pleura"]
    return opened


def address() -> str:
    """The client's address, as the trusted proxies report it."""
    return (request.remote_addr or "")[:64]


def actor() -> Actor:
    """The person or program that asks. Only for views that declare a permission or a scope."""
    found: Actor = g.actor
    return found


def safe_next(target: str | None) -> str | None:
    """The path to go on to after signing in, if it is one of this site; else None."""
    if not target or not target.startswith("/") or not target.isprintable():
        return None
    if target.startswith("//") or "\\" in target:
        return None
    return urlsplit(target).path


def bearer() -> str:
    """The request's bearer credential, or the empty string."""
    return credential_of(request.headers.get("Authorization", ""))


def credential_of(header: str) -> str:
    """The bearer credential of an Authorization header, or the empty string."""
    kind, _, credential = header.partition(" ")
    return credential.strip() if kind.lower() == "bearer" else ""


def is_worker_token(given: str) -> bool:
    """Compare in constant time with the token that workers share, unless it is switched off."""
    settings = services().settings
    same = hmac.compare_digest(
        given.encode("utf-8", "surrogatepass"), settings.worker_token.encode()
    )
    return same and settings.shared_worker_token
