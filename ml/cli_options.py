"""Types of command-line options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ml.errors import BadInput


def within(
    kind: type[int] | type[float], least: float, most: float = 10**9
) -> Callable[[str], Any]:
    """An option's type for argparse: a number from `least` to `most`."""

    def read(text: str) -> Any:
        value = kind(text)  # argparse reports a ValueError
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"lies between {least:g} and {most:g}, not {text}")
        return value

    read.__name__ = "whole number" if kind is int else "number"
    return read


def numbers(text: str, kind: type[int] | type[float]) -> list[Any]:
    """The numbers of a list such as 0,2; none of an empty one; BadInput for anything else."""
    try:
        return [kind(part) for part in text.split(",")] if text.strip() else []
    except ValueError as error:
        raise BadInput(f"{text} is not a list of numbers such as 0,2") from error
