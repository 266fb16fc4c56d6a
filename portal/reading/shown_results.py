"""Which cases a login session has been shown, so that a page that keeps itself fresh is one look.

Opening a list or a case is a row of the access log; asking again where its cases stand is not. A
result that the session was not shown before is a look like any other. Each process remembers for
itself: what it does not know costs a row, never the other way round.
"""

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from typing import Final
from uuid import UUID

_MOST_SESSIONS: Final = 1000
_MOST_CASES: Final = 20_000  # of one session


class Shown:
    """What each session was shown by this process; the sessions that asked last are kept."""

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
