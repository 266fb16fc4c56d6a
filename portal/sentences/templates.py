"""Templates of the findings sentence: what one may hold, its default, and how it is filled.

Pure functions. A template is a text with placeholders in braces. A part in square brackets is left
out where one of its placeholders has nothing to say, so that a sentence has no holes.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from portal.errors import Invalid
from portal.languages import _, lazy, speaking
from portal.models import Language

LENGTH: Final = 400
_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_PART: Final = re.compile(r"\[([^\[\]]*)\]")


class Kind(StrEnum):
    """Which finding a template is for."""

    ONE_SIDE = "one_side"
    BOTH_SIDES = "both_sides"
    NONE = "none"
    UNSURE = "unsure"


_SIZED: Final = ("zones", "size", "measurement", "drain", "quality")
# What each may hold.
PLACEHOLDERS: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.ONE_SIDE: ("side", *_SIZED),
        Kind.BOTH_SIDES: _SIZED,
        Kind.NONE: ("drain", "quality"),
        Kind.UNSURE: ("drain", "quality"),
    }
)
# What each must hold outside of square brackets: without the side a sentence would be dangerous.
_NEEDED: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType({Kind.ONE_SIDE: ("side",)})
_DEFAULTS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.ONE_SIDE: lazy(
            "{side}[ {zones}] pneumothorax[, {size}][, {measurement}].[ {drain}][ {quality}]"
        ),
        Kind.BOTH_SIDES: lazy(
            "Bilateral[ {zones}] pneumothorax[, {size}][, {measurement}].[ {drain}][ {quality}]"
        ),
        Kind.NONE: lazy("No pneumothorax is seen.[ {drain}][ {quality}]"),
        Kind.UNSURE: lazy(
            "A pneumothorax can be neither confirmed nor excluded.[ {drain}][ {quality}]"
        ),
    }
)


def default(language: Language, kind: Kind) -> str:
    """The text where a team has none of its own."""
    with speaking(language):
        return str(_DEFAULTS[kind])


def check(kind: Kind, text: str) -> str:
    """The template, without spaces around it; Invalid with the reason why it can't be one."""
    found = text.strip()
    if not found:
        raise Invalid("template", _("A sentence needs a text."))
    if len(found) > LENGTH:
        raise Invalid("template", _("At most %(most)s characters.", most=LENGTH))
    if any(not one.isprintable() for one in found):
        raise Invalid("template", _("On one line, without characters that can’t be seen."))
    allowed = PLACEHOLDERS[kind]
    for name in _PLACE.findall(found):
        if name not in allowed:
            listed = ", ".join(map(_braced, allowed))
            raise Invalid(
                "template",
                _("There is no %(name)s here, only %(listed)s.", name=_braced(name), listed=listed),
            )
    if any(one in _PLACE.sub("", found) for one in "{}"):
        raise Invalid("template", _("A brace is left open, or closed without a beginning."))
    outside = _PART.sub("", found)
    if any(one in outside for one in "[]"):
        raise Invalid("template", _("Square brackets must be closed, and not lie in each other."))
    for part in _PART.findall(found):
        if not _PLACE.search(part):
            raise Invalid("template", _("A part in square brackets needs a placeholder."))
    for name in _NEEDED.get(kind, ()):
        if _braced(name) not in outside:
            raise Invalid(
                "template",
                _("%(name)s must be there, outside of square brackets.", name=_braced(name)),
            )
    for name in set(_PLACE.findall(outside)) - set(_NEEDED.get(kind, ())):
        raise Invalid(
            "template",
            _("%(name)s may be empty: put it into square brackets.", name=_braced(name)),
        )
    return found


def _braced(name: str) -> str:
    return f"{{{name}}}"


def fill(template: str, phrases: Mapping[str, str]) -> str:
    """The sentence of these phrases, of which an empty one has nothing to say."""

    def part(match: re.Match[str]) -> str:
        return _filled(match[1], phrases) if _says(match[1], phrases) else ""

    text = " ".join(_filled(_PART.sub(part, template), phrases).split())
    return text[:1].upper() + text[1:]


def _says(part: str, phrases: Mapping[str, str]) -> bool:
    return all(phrases.get(name) for name in _PLACE.findall(part))


def _filled(text: str, phrases: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: phrases.get(match[1], ""), text)
