"""Which language is spoken here and now: one per thread or task, English unless chosen."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

from babel import Locale

Code = str  # ISO 639-1, such as "de"

DEFAULT: Final[Code] = "en"
NAMES: Final[Mapping[Code, str]] = MappingProxyType({"en": "English", "de": "Deutsch"})
"""The languages there are, each by its own name."""

_current: ContextVar[Code] = ContextVar("language", default=DEFAULT)


def current() -> Code:
    """The language that texts are in now."""
    return _current.get()


def choose(code: Code | None) -> None:
    """Speak this language from now on, in this thread or task; None or an unknown one: English."""
    _current.set(known(code))


def known(code: Code | None) -> Code:
    """The language if there is one of this code, else English."""
    return code if code is not None and code in NAMES else DEFAULT


@contextmanager
def speaking(code: Code | None) -> Iterator[None]:
    """Within, texts are in this language: that of the team a message or a report goes to."""
    before = _current.set(known(code))
    try:
        yield
    finally:
        _current.reset(before)


def direction() -> str:
    """`ltr` or `rtl`: how lines run in the language spoken now."""
    return Locale.parse(current()).text_direction
