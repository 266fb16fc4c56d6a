"""How often something was refused, and when that is due to be written: who tries all day does not
fill the access log.
"""

import threading
import time
from collections import Counter
from typing import Final

# Of one reason and address a row is due so often, with the number of those between.
_WRITTEN_EVERY: Final = 60.0
_MOST_COUNTED: Final = 1000


class Refused:
    """Counts what was refused, by reason and address."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._written: dict[tuple[str, str], float] = {}
        self._between: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def due(self, reason: str, address: str) -> int:
        """Count one. How many are to be written now, 0 where the last time is not a minute ago."""
        of = (reason, address)
        with self._lock:
            self.counted[reason] += 1
            self._between[of] += 1
            moment = time.monotonic()
            if moment - self._written.get(of, -_WRITTEN_EVERY) < _WRITTEN_EVERY:
                return 0
            if len(self._written) >= _MOST_COUNTED:
                self._written.clear()
                self._between = Counter({of: self._between[of]})
            self._written[of] = moment
            return self._between.pop(of)
