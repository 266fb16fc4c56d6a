"""Accepting connections for good: what fails for a moment (no file, no thread, no memory left) is
waited out, and a port at which nothing can be accepted any more is no sign of life.
"""

import logging
import threading
import time
from typing import Final

_log = logging.getLogger(__name__)

_PAUSE_SECONDS: Final = 0.5
_GIVE_UP_SECONDS: Final = 60.0


class Deaf(Exception):
    """The thread that accepts connections has ended, or none could be accepted for a minute."""


class Failures:
    """How long nothing could be accepted."""

    def __init__(self) -> None:
        self._since: float | None = None

    def over(self) -> None:
        """A connection was accepted, or none was waiting."""
        self._since = None

    def wait(self, error: OSError, stopping: threading.Event) -> None:
        """Pause, because accepting has failed; Deaf where it has failed for a minute."""
        moment = time.monotonic()
        if self._since is None:
            self._since = moment
            _log.error("no connection could be accepted: %s", type(error).__name__)
        if moment - self._since >= _GIVE_UP_SECONDS:
            raise Deaf
        stopping.wait(_PAUSE_SECONDS)


def require(accepts: threading.Thread | None) -> None:
    """Deaf where the thread that accepts connections has ended."""
    if accepts is None or not accepts.is_alive():
        raise Deaf
