"""What programs and scripts send: JSON bodies, read so that no body is a fault of ours."""

from typing import Any

from flask import request


def json_or_none() -> Any:
    """The body's JSON value; None where there is none, or one that is nested without end."""
    try:
        return request.get_json(silent=True)
    except RecursionError:
        return None
