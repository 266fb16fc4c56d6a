"""The life of a process that talks to other systems: it logs, runs until it is stopped, and gives
signs of life while it can do its work.
"""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Protocol

from portal.listeners import accepting

_log = logging.getLogger(__name__)

SIGN_SECONDS: Final = 10.0
# A statement may not take longer: a sender waits for it.
STATEMENT_SECONDS: Final = 60
GRACE_SECONDS: Final = 20.0


class Listens(Protocol):
    """A listener. `accepts`: the thread in which it accepts connections."""

    accepts: threading.Thread | None

    def stop(self) -> None:
        """Take nothing new, and wait for what is being taken."""


@contextmanager
def accepting_in_thread(listener: Listens, serve: Callable[[], None]) -> Iterator[None]:
    """Let `serve` accept connections in a thread of its own until the end of the block."""
    thread = listener.accepts = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.stop()
        thread.join(GRACE_SECONDS)


def begin(log_level: str, stop: threading.Event) -> None:
    """Log to standard error, and set `stop` on SIGTERM or SIGINT."""
    logging.basicConfig(level=log_level, format="%(asctime)s %(levelname)s %(message)s")

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def give_signs(
    accepts: threading.Thread | None, sign: Callable[[int], None], stop: threading.Event
) -> None:
    """Call `sign` with the number of signs before, again and again until `stop` is set; what fails
    there is tried again. Deaf where the thread that accepts connections has ended.
    """
    rounds = 0
    while True:
        accepting.require(accepts)
        try:
            sign(rounds)
        except Exception as error:
            _log.warning("a sign of life failed: %s", type(error).__name__)
        rounds += 1
        if stop.wait(SIGN_SECONDS):
            break
