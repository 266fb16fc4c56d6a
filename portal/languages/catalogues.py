"""The translations of each language, read from its `.po` files when it is first spoken.

A language has a folder with one file for each part of the code (`PARTS`), so that several people
can translate at once; `make messages` writes them. `scripts` is also what pages hand to scripts.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from gettext import c2py
from pathlib import Path
from typing import Final, Protocol

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from portal.languages.current import DEFAULT, Code

FOLDER: Final = Path(__file__).parent
PARTS: Final = ("admin", "clinic", "lists", "report", "scripts")
Key = tuple[str | None, str]


class Catalogue(Protocol):
    """The texts of one language."""

    def text(self, message: str, context: str | None = None) -> str:
        """The translation, or the message itself where there is none."""

    def counted(self, singular: str, plural: str, number: int) -> str:
        """The form of the translation for a number."""


class English:
    """The language that messages are written in."""

    def text(self, message: str, context: str | None = None) -> str:
        """The message."""
        return message

    def counted(self, singular: str, plural: str, number: int) -> str:
        """The singular for one, else the plural."""
        return singular if number == 1 else plural


class Translated:
    """Translations by context and English text; `form_of` gives a number's form."""

    def __init__(self, texts: Mapping[Key, tuple[str, ...]], form_of: Callable[[int], int]) -> None:
        self.texts = texts
        self._form_of = form_of

    def text(self, message: str, context: str | None = None) -> str:
        """The translation, or the message itself where there is none."""
        found = self.texts.get((context, message))
        return found[0] if found else message

    def counted(self, singular: str, plural: str, number: int) -> str:
        """The form of the translation for a number, or the English one where there is none."""
        found = self.texts.get((None, singular))
        if not found or len(found) < 2:
            return singular if number == 1 else plural
        return found[self._form_of(number)]


_replaced: dict[Code, Catalogue] = {}


def catalogue(code: Code) -> Catalogue:
    """The texts of a language."""
    return _replaced.get(code) or _read(code)


def put_in_place(code: Code, texts: Catalogue | None) -> None:
    """Speak these texts instead of the language's own; None: its own again. For tests."""
    if texts is None:
        _replaced.pop(code, None)
    else:
        _replaced[code] = texts


def read_part(code: Code, part: str) -> Catalog:
    """One `.po` file of a language, as Babel has it."""
    with (FOLDER / code / f"{part}.po").open("rb") as file:
        return read_po(file, locale=code, abort_invalid=True)


@lru_cache
def texts_for_scripts(code: Code) -> dict[str, str | tuple[str, ...]]:
    """What scripts show, by English text: a translation, or its forms. Empty for English."""
    if code == DEFAULT:
        return {}
    return {
        (f"{context}\u0004{message}" if context else message): forms if len(forms) > 1 else forms[0]
        for (context, message), forms in _texts_of(read_part(code, "scripts")).items()
    }


@lru_cache
def _read(code: Code) -> Catalogue:
    if code == DEFAULT:
        return English()
    texts: dict[Key, tuple[str, ...]] = {}
    for part in PARTS:
        texts.update(_texts_of(read_part(code, part)))
    return Translated(texts, c2py(Catalog(locale=code).plural_expr))


def _texts_of(read: Catalog) -> dict[Key, tuple[str, ...]]:
    found: dict[Key, tuple[str, ...]] = {}
    for message in read:
        if not message.id or message.fuzzy:
            continue
        string = message.string or ""
        forms = (string,) if isinstance(string, str) else tuple(string)
        if all(forms):
            name = message.id if isinstance(message.id, str) else message.id[0]
            found[(message.context or None, name)] = forms
    return found
