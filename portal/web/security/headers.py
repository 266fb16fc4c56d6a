"""The headers that every answer carries: what a browser may load, keep and reveal."""

from flask import Flask, Response, request

# 'self' only where it is needed; nothing inline, nothing from elsewhere.
_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "font-src 'self'",
        "img-src 'self' data: blob:",
        "worker-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_ALWAYS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=(), midi=()"
    ),
}
_ONE_YEAR = "max-age=31536000; includeSubDomains"


def fixed(*, secure: bool) -> dict[str, str]:
    """The headers of an answer that the server makes itself; `secure`: people use https."""
    https = {"Strict-Transport-Security": _ONE_YEAR} if secure else {}
    return {**_ALWAYS, **https, "Cache-Control": "no-store"}


def install(app: Flask) -> None:
    """Put the headers on every answer of the app, errors and static files included."""

    @app.after_request
    def add(response: Response) -> Response:
        for name, value in _ALWAYS.items():
            response.headers[name] = value
        if request.is_secure:
            response.headers["Strict-Transport-Security"] = _ONE_YEAR
        if request.endpoint == "static" and response.status_code in (200, 206, 304):
            response.headers.setdefault("Cache-Control", "no-cache")
        else:
            response.headers["Cache-Control"] = "no-store"
        return response
