"""The device cookie in requests and answers; what it is for is in `portal.accounts`."""

from flask import Response, after_this_request, current_app, request

from portal.accounts.device_cookies import LIFETIME, DeviceCookie
from portal.models import User
from portal.web.security.request_context import now, services


def sent() -> DeviceCookie:
    """What the browser has sent, if anything."""
    return DeviceCookie(request.cookies.get(_name(), ""), services().settings.secret_key)


def issue(user: User) -> None:
    """Give the browser an entry for a person who has shown both factors."""
    value = sent().with_person(user, now())

    def add(response: Response) -> Response:
        response.set_cookie(
            _name(),
            value,
            max_age=LIFETIME,
            secure=current_app.config["SESSION_COOKIE_SECURE"],
            httponly=True,
            samesite="Strict",
            path="/",
        )
        return response

    after_this_request(add)


def _name() -> str:
    name: str = current_app.config["SESSION_COOKIE_NAME"]
    return f"{name}-device"
