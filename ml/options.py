"""What the command line's options have in common."""

from __future__ import annotations

from typing import Any

from ml.errors import BadInput


def numbers(text: str, kind: type[int] | type[float]) -> list[Any]:
    """The numbers of a list such as 0,2; none of an empty one; BadInput for anything else."""
    try:
        return [kind(part) for part in text.split(",")] if text.strip() else []
    except ValueError as error:
        raise BadInput(f"{text} is no list of numbers such as 0,2") from error
