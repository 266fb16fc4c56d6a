"""What ``python -m worker alive`` answers: whether a worker works, or what it can't reach."""

from __future__ import annotations

import socket
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from worker import life
from worker.contract.error_codes import ErrorCode
from worker.settings import Settings

_CONNECT_SECONDS = 2.0


def problem(settings: Settings, queue: str, now: float) -> str:
    """Why the queue's worker of this name (``*``: one of its workers) does not work; "" if it does.

    It works while it does a job, or has had a job or the answer that there is none from the portal
    in the last `life.ALIVE_SECONDS`. `now`: seconds since 1970, as of the files.
    """
    pattern = f"{settings.name}-{queue}"
    found = {
        path.with_suffix("")
        for suffix in (".alive", ".trouble")
        for path in settings.state_dir.glob(f"{pattern}{suffix}")
    }
    if not found:
        of_queue = "" if queue == "*" else f"{queue} "
        return f"no {of_queue}worker of the name {settings.name} has started, or it has ended."
    sentences = [_problem(settings, one, now) for one in sorted(found)]
    return " ".join(sentence for sentence in sentences if sentence)


def _problem(settings: Settings, of_worker: Path, now: float) -> str:
    queue = of_worker.name.removeprefix(f"{settings.name}-")
    turned = _modified(of_worker.with_suffix(".alive"))
    if turned is not None and now - turned < life.ALIVE_SECONDS:
        return ""
    since = "since it started" if turned is None else f"for {now - turned:.0f} seconds"
    code = ""
    with suppress(OSError):
        code = of_worker.with_suffix(".trouble").read_text("ascii")
    if not code:
        return f"the {queue} worker has made no turn {since}: it is stuck, or has ended."
    return f"the {queue} worker has had no answer {since}: {_cause(settings, code)}."


def _cause(settings: Settings, code: str) -> str:
    portal = f"the portal at {settings.portal_url}"
    redis = _answers(settings.redis_url)
    if code == ErrorCode.PORTAL_UNREACHABLE:
        return (
            f"{portal} can't be reached" if redis else f"neither {portal} nor Redis can be reached"
        )
    what = (
        f"{portal} refuses its token"
        if code == ErrorCode.WORKER_TOKEN_REFUSED
        else f"{portal} does not answer as a portal does"
    )
    return what if redis else f"{what}, and Redis can't be reached"


def _answers(redis_url: str) -> bool:
    """Whether something accepts connections at Redis' address."""
    parts = urlsplit(redis_url)
    try:
        if parts.scheme == "redis+socket":
            with closing(socket.socket(socket.AF_UNIX)) as channel:
                channel.settimeout(_CONNECT_SECONDS)
                channel.connect(parts.path)
        else:
            address = (parts.hostname or "localhost", parts.port or 6379)
            socket.create_connection(address, _CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _modified(file: Path) -> float | None:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return None
