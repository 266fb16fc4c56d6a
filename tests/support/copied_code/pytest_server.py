"""A process that runs pytest again and again, each time in a child of its own that it forks.

What is not Pleura's is loaded once, before; what is, by each child anew. Started in the folder to
be tested, it reads a line of JSON for each run, with pytest's `arguments`, the file of its `output`
and the `seconds` that it may take, and answers with a line when it has ended.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest

_LOADED = (
    *("alembic.command", "argon2", "celery", "cryptography.x509", "cv2", "flask_login"),
    *("flask_migrate", "flask_sqlalchemy", "flask_wtf", "gunicorn.asgi.protocol", "httpx2"),
    *("hypothesis", "kombu", "numpy", "pydantic_settings", "pydicom", "psycopg", "redis"),
    *("sqlalchemy.orm", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite"),
    *("webauthn", "zxcvbn"),
)


def main() -> None:
    """Serve until standard input ends."""
    sys.path[0] = os.getcwd()
    for name in _LOADED:
        with suppress(ImportError):
            import_module(name)
    gc.freeze()
    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(asked)
        print(json.dumps({"in_time": _wait(child, asked["seconds"])}), flush=True)


def _run(asked: dict[str, Any]) -> None:
    os.setsid()
    output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for own, descriptor in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(own, descriptor)
    sys.exit(pytest.main(asked["arguments"]))


def _wait(child: int, seconds: float) -> bool:
    """Whether the child ended by itself; whatever its tests left behind is ended too."""
    end, ended = time.monotonic() + seconds, 0
    while not ended and time.monotonic() < end:
        ended, _ = os.waitpid(child, os.WNOHANG)
        time.sleep(0.02)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
    return bool(ended)


if __name__ == "__main__":
    main()
