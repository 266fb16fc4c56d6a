"""Pages of other origins that may ask DICOMweb: those that the settings name, and no others.

A browser lets them read an answer where it carries these headers (Fetch, CORS protocol). No cookie
goes with such a request: it needs a token like any other.
"""

from flask import Flask, Response, request
from flask.globals import request_ctx

from portal.web.security.errors import DICOMWEB
from portal.web.security.request_context import services

_ONE_HOUR = "3600"


def install(app: Flask) -> None:
    """Answer what browsers ask beforehand; before the guard, as no token comes with that."""
    app.before_request(_preflight)
    app.after_request(_allow)


def _origin() -> str | None:
    """The page's origin, where it may ask; None otherwise, and for all but DICOMweb."""
    if request_ctx.url_adapter is None or not request.path.startswith(DICOMWEB):
        return None
    origin = request.headers.get("Origin", "")
    return origin if origin in services().settings.dicomweb_origins else None


def _preflight() -> Response | None:
    is_asked = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if not is_asked or _origin() is None:
        return None
    response = Response(status=204)
    response.headers["Access-Control-Allow-Methods"] = "GET, HEAD"
    response.headers["Access-Control-Allow-Headers"] = "Authorization, Accept"
    response.headers["Access-Control-Max-Age"] = _ONE_HOUR
    return response


def _allow(response: Response) -> Response:
    origin = _origin()
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "Warning"
        response.vary.add("Origin")
    return response
