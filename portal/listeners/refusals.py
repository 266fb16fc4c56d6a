"""How often something was refused, and when that is due to be written: who tries all day does not
fill the access log, and who tries from many addresses does not either.
"""

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from portal.accounts.throttle import origin

# Of one reason and address a row is due so often, with the number of those between.
_WRITTEN_EVERY: Final = 60.0
# So many rows of addresses within that time. What comes from others is counted together, a row for
# each reason, without an address.
_MOST_ROWS: Final = 60
_OTHERS: Final = ""
_MOST_COUNTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Due:
    """How many to write now, 0 for none yet; `address`: empty where they came from several."""

    count: int
    address: str = _OTHERS


class Refused:
    """Counts what was refused, by reason and address (of IPv6 the network of 64 bits)."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._written: dict[tuple[str, str], float] = {}
        self._between: Counter[tuple[str, str]] = Counter()
        self._rows: deque[float] = deque(maxlen=_MOST_ROWS)
        self._lock = threading.Lock()

    def due(self, reason: str, address: str) -> Due:
        """Count one; what is to be written now."""
        of = (reason, origin(address))
        with self._lock:
            moment = time.monotonic()
            self.counted[reason] += 1
            self._between[of] += 1
            if self._is_written(of, moment):
                return Due(0)
            if len(self._rows) == _MOST_ROWS and moment - self._rows[0] < _WRITTEN_EVERY:
                of = self._with_others(of)
                if self._is_written(of, moment):
                    return Due(0)
            else:
                self._rows.append(moment)
            if len(self._written) >= _MOST_COUNTED:
                self._forget(moment)
            self._written[of] = moment
            return Due(self._between.pop(of), address if of[1] else _OTHERS)

    def _is_written(self, of: tuple[str, str], moment: float) -> bool:
        return moment - self._written.get(of, -_WRITTEN_EVERY) < _WRITTEN_EVERY

    def _with_others(self, of: tuple[str, str]) -> tuple[str, str]:
        others = (of[0], _OTHERS)
        self._between[others] += self._between.pop(of)
        return others

    def _forget(self, moment: float) -> None:
        """Forget the addresses of rows of more than a minute ago: those after which nothing was
        written are counted with others. Not more stay than rows are due within a minute.
        """
        for of in [of for of in self._written if not self._is_written(of, moment)]:
            del self._written[of]
            if of[1] and of in self._between:
                self._with_others(of)
