"""``BadFile``: why the header or the structure of a file makes it unacceptable."""

from __future__ import annotations


class BadFile(ValueError):
    """A stable ``code`` and the ``values`` of its sentence; neither contains patient data."""

    def __init__(self, code: str, **values: str | int) -> None:
        super().__init__(code)
        self.code = code
        self.values = values
