"""Marking texts for translation. The English text is the message's id.

What varies has a name in it: `_("%(count)s of %(all)s", count=3, all=9)`. Without such a value the
text is taken as it is, so a percent sign stands alone there and is doubled (`%%`) otherwise.
"""

from collections.abc import Mapping
from typing import Any

from portal.languages.catalogues import catalogue
from portal.languages.current import current
from portal.languages.formats import number_text


def _(message: str, /, **values: object) -> str:
    """A text in the language spoken now."""
    return filled(catalogue(current()).text(message), values)


def pgettext(context: str, message: str, /, **values: object) -> str:
    """A text that is another word elsewhere in another language; `context` says which one it is."""
    return filled(catalogue(current()).text(message, context), values)


def ngettext(singular: str, plural: str, number: int, /, **values: object) -> str:
    """One of two texts by a number, which they name `%(num)s`: written as the language does."""
    return form_for(singular, plural, number) % {"num": number_text(number), **values}


def form_for(singular: str, plural: str, number: int) -> str:
    """The text for a number, with its places still empty."""
    return catalogue(current()).counted(singular, plural, number)


def lazy(message: str, *, context: str | None = None) -> str:
    """A text for a constant of a module: translated each time that it is shown.

    It is a `str` with the English text. Templates, f-strings, `format` and `str()` give the
    translation; what builds on the letters themselves (`+`, `join`, JSON, `==`) has the English
    ones, so give those `str(text)`. `lazy("Right", context="side")` is `pgettext`'s.
    """
    return _Lazy(message, context)


class _Lazy(str):
    context: str | None

    def __new__(cls, message: str, context: str | None = None) -> "_Lazy":
        made = super().__new__(cls, message)
        made.context = context
        return made

    def __str__(self) -> str:
        return catalogue(current()).text(str.__str__(self), self.context)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __mod__(self, values: object) -> str:
        return str(self) % values


def filled(text: str, values: Mapping[str, Any]) -> str:
    """The text with its values in their places."""
    return text % values if values else text
