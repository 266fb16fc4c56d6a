"""How work can fail. An error carries a stable code and nothing from the picture."""

from __future__ import annotations

from worker.contract.error_codes import ErrorCode


class WorkError(Exception):
    """Work that failed; the portal stores and shows ``code``."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code.value)
        self.code = code


class Permanent(WorkError):
    """The same job would fail again: a file that can't be read, a result that is refused."""


class Transient(WorkError):
    """Another attempt may succeed: the portal is down, time ran out, memory was short."""


class TimeUp(Exception):
    """The job's time is up: it is stopped wherever it is, and reported as failed."""


class AttemptLost(WorkError):
    """The portal has given the job to another attempt, or has ended it: nothing is sent."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.ATTEMPT_LOST)
