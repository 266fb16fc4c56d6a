"""How work can end badly. Each error carries a stable code and nothing from the picture."""

from __future__ import annotations


class WorkError(Exception):
    """Work that did not end well; ``code`` is what the portal keeps and shows."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Permanent(WorkError):
    """The same job would fail again: a file that can't be read, a result that is refused."""


class Transient(WorkError):
    """Another attempt may succeed: the portal is away, time ran out, memory was short."""


class Lost(Exception):
    """The attempt is no longer ours (another one was begun, or the job is over): stop quietly."""
