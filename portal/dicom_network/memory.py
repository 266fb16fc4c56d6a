"""What the data sets of all associations may hold in memory together, while they come and until
they are answered.
"""

import threading
from collections import deque
from typing import Final

# So many data sets of the largest size fit; pictures are a fifth of it, and seldom come at once.
LARGEST_AT_ONCE: Final = 4


class DataSets:
    """The memory of all data sets, of so many bytes."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        """How many bytes are left."""
        return self._free

    def take(self, size: int) -> bool:
        """Take so many bytes; False, and none taken, where they are not free."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._free += size


class Held:
    """What one association holds of it: of each data set that is not answered yet, the oldest
    first.
    """

    def __init__(self, data_sets: DataSets) -> None:
        self._data_sets = data_sets
        self._sizes = deque[int]()
        self._is_over = False
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Another data set begins."""
        with self._lock:
            self._sizes.append(0)

    def grow(self, size: int) -> bool:
        """The newest one grows; False where there is no room for it, or the association is over."""
        with self._lock:
            if self._is_over or not self._sizes or not self._data_sets.take(size):
                return False
            self._sizes[-1] += size
            return True

    def drop(self) -> None:
        """Nothing of the newest one is kept."""
        with self._lock:
            if self._sizes:
                self._data_sets.give_back(self._sizes[-1])
                self._sizes[-1] = 0

    def answered(self) -> None:
        """The oldest one was answered."""
        with self._lock:
            if self._sizes:
                self._data_sets.give_back(self._sizes.popleft())

    def end(self) -> None:
        """The association is over."""
        with self._lock:
            self._is_over = True
            self._data_sets.give_back(sum(self._sizes))
            self._sizes.clear()
