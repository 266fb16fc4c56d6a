"""Who may connect at all, and how many at a time: asked right when a connection is accepted, so
that strangers hold no place, and one system does not hold all of them.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from portal.listeners import peers

_log = logging.getLogger(__name__)

# The networks of nodes are read again after so many seconds; sooner for an address in none of them,
# whose node may be new.
_LASTS: Final = 5.0
_LASTS_FOR_STRANGERS: Final = 0.5


class Places:
    """Places for so many connections; one address has no more than half of them."""

    def __init__(self, most: int) -> None:
        self._most, self._most_of_one = most, max(1, most // 2)
        self._taken = Counter[str]()
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How many are taken."""
        with self._lock:
            return self._taken.total()

    def take(self, address: str) -> bool:
        """Take one for a connection from there; False where none is left for it."""
        with self._lock:
            if self._taken.total() >= self._most or self._taken[address] >= self._most_of_one:
                return False
            self._taken[address] += 1
            return True

    def leave(self, address: str) -> None:
        """The connection has ended."""
        with self._lock:
            self._taken[address] -= 1
            if self._taken[address] <= 0:
                del self._taken[address]


class Known:
    """The networks from which nodes that are switched on call. `read`: gets them; where it fails,
    those of before count on, because nodes are judged once more by who they are.
    """

    def __init__(self, read: Callable[[], Sequence[str]]) -> None:
        self._read = read
        self._networks: Sequence[str] = ()
        self._at: float | None = None

    def has(self, address: str) -> bool:
        """Whether any of them calls from there."""
        self._refresh(_LASTS)
        if peers.lies_in(address, self._networks):
            return True
        return self._refresh(_LASTS_FOR_STRANGERS) and peers.lies_in(address, self._networks)

    def _refresh(self, seconds: float) -> bool:
        if self._at is not None and time.monotonic() - self._at < seconds:
            return False
        try:
            self._networks = self._read()
        except Exception as error:
            _log.warning("the nodes could not be read: %s", type(error).__name__)
        self._at = time.monotonic()
        return True
