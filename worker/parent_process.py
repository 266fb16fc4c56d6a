"""A process that ends with the one that started it, however that ends.

The parent gives its child a pipe as standard input and keeps the other end.
"""

from __future__ import annotations

import os
import threading


def end_with_it() -> None:
    """From now on, end this process at once when the parent's end of the pipe is closed."""
    threading.Thread(target=_wait, name="parent", daemon=True).start()


def _wait() -> None:
    # Not by sys.stdin: its lock, held while it waits, would be held in every fork for ever.
    while os.read(0, 1):
        pass
    os._exit(0)
