"""The one base of errors that a user caused and can mend: a wrong path, table, recipe or model."""

from __future__ import annotations


class BadInput(ValueError):
    """What was given cannot be used; the text says in one sentence what and why.

    The command line shows that sentence and no traceback (`ml.__main__`).
    """
