"""Waiting for another thread or process, long enough for a busy machine."""

import time
from collections.abc import Callable


def until(true: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether it has become true within this time; asked every 20 ms."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
