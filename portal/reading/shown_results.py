"""Which results a login session has been shown, so that a live page is one row of the log.

Opening a list or a case writes a row of the access log; polling the states of its cases does not,
except for a result that the session was not shown before. Each process remembers for itself: what
it does not know costs a row more, never one less.
"""

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from typing import Final
from uuid import UUID

_MOST_SESSIONS: Final = 1000
_MOST_CASES: Final = 20_000  # of one session


class Shown:
    """What each session was shown by this process, for the most recent sessions."""

    def __init__(self) -> None:
        self._cases: OrderedDict[UUID, set[UUID]] = OrderedDict()
        self._lock = Lock()

    def unseen(self, session_id: UUID | None, cases: Iterable[UUID]) -> list[UUID]:
        """Those of these cases that the session was not shown."""
        with self._lock:
            known = self._cases.get(session_id, set()) if session_id else set()
            return [case for case in cases if case not in known]

    def add(self, session_id: UUID | None, cases: Iterable[UUID]) -> None:
        """Remember what was shown, once its row is in the log."""
        if session_id is None:
            return
        with self._lock:
            known = self._cases.setdefault(session_id, set())
            self._cases.move_to_end(session_id)
            known.update(cases)
            if len(known) > _MOST_CASES:
                known.clear()
            while len(self._cases) > _MOST_SESSIONS:
                self._cases.popitem(last=False)
