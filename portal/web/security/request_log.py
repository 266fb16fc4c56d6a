"""The portal's log: one JSON object a line, with the request's id and never with patient data.

A failure is logged by the kind of the exception and the places it passed; its text is left out,
because it may quote what was sent. Paths are left out too: a link to join is a secret. The
name of the route is enough.
"""

import json
import logging
import secrets
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, has_request_context, request

from portal.web.security.body_check import BODY_LIMIT

_FIELDS = ("method", "route", "status", "milliseconds", "person", "code")


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without the text of exceptions."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if has_request_context() and "request_id" in g:
            line["request_id"] = g.request_id
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            line["exception"] = kind.__name__
            line["at"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(trace)[-12:]
            ]
        return json.dumps(line)


def install(app: Flask, level: str) -> None:
    """Number the requests, and log one line for each that is not a static file."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("portal")  # the core's modules too, not the web face alone
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level)

    @app.before_request
    def number() -> None:
        g.request_id = secrets.token_hex(8)
        g.started = time.perf_counter()

    @app.after_request
    def line(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request_id
        # The request whose body may follow is logged when it has been answered.
        if request.endpoint != "static" and BODY_LIMIT not in request.environ:
            app.logger.info(
                "request",
                extra={
                    "method": request.method,
                    "route": request.endpoint or "-",
                    "status": response.status_code,
                    "milliseconds": round((time.perf_counter() - g.started) * 1000, 1),
                    "person": g.get("person"),
                },
            )
        return response
