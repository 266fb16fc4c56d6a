"""The base of errors that a user caused and can correct: a wrong path, table, recipe or model."""

from __future__ import annotations


class BadInput(ValueError):
    """An input that cannot be used; the text names it and the reason.

    The command line shows that sentence and no traceback (`ml.__main__`).
    """
