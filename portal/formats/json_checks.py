"""Checks of JSON from outside: each gives the value as it is kept, or raises BadResult."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

_JSON_BYTES: Final = 256 * 1024
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# NUL and halves of surrogate pairs.
_NO_TEXT: Final = re.compile("[\\x00\\ud800-\\udfff]")


class BadResult(ValueError):
    """A result that can't be true. `message` says what is wrong with it, for the worker's log."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def mapping(value: Any, name: str) -> dict[str, Any]:
    """A JSON object that is not too large, with finite numbers only."""
    if not isinstance(value, dict):
        raise BadResult(f"{name} must be an object")
    try:
        size = len(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, RecursionError):
        raise BadResult(f"{name} is not plain JSON with finite numbers") from None
    if size > _JSON_BYTES:
        raise BadResult(f"{name} is too large")
    return value


# A check takes a value and its name, and returns the value as it is kept, or raises BadResult.
Check = Callable[[Any, str], Any]


def only(sent: dict[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """What is known of an object, checked; all else is left out. Required is what can't be None."""
    checked = {name: check(sent.get(name), name) for name, check in checks.items()}
    return {name: value for name, value in checked.items() if name in sent}


def object_of(checks: Mapping[str, Check]) -> Check:
    """A check of an object by the checks of its members; see `only`."""
    return lambda value, name: only(mapping(value, name), checks)


def maybe(check: Check) -> Check:
    """The same check, or nothing at all."""
    return lambda value, name: None if value is None else check(value, name)


def whole(low: int, high: int) -> Check:
    """A whole number in low..high."""

    def check(value: Any, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadResult(f"{name} must be a whole number from {low} to {high}")
        return value

    return check


def number(low: float, high: float) -> Check:
    """A finite number in low..high."""

    def check(value: Any, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadResult(f"{name} must be a number")
        if not low <= value <= high:  # nor is "not a number" between any two
            raise BadResult(f"{name} must be from {low} to {high}")
        return float(value)

    return check


def truth(value: Any, name: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise BadResult(f"{name} must be true or false")
    return value


def text(most: int, least: int = 1) -> Check:
    """A text of least..most characters that every database keeps."""

    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise BadResult(f"{name} must be a text of at most {most} characters")
        if _NO_TEXT.search(value):  # no database keeps it, no page can be written with it
            raise BadResult(f"{name} has characters that are none")
        return value

    return check


def one_of(values: Iterable[str]) -> Check:
    """One of these words."""
    allowed = [str(value) for value in values]

    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise BadResult(f"{name} is unknown")
        return value

    return check


def list_of(check: Check, most: int, least: int = 0) -> Check:
    """A list of least..most items, each passing the check."""

    def check_all(value: Any, name: str) -> list[Any]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise BadResult(f"{name} must be a list of {least} to {most}")
        return [check(item, name) for item in value]

    return check_all


def sha256(value: Any, name: str) -> str:
    """A SHA-256 in small hexadecimal digits."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise BadResult(f"{name} is not a SHA-256")
    return value
