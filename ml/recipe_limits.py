"""What a recipe's setting may be: limits that stand in the type of a dataclass's field.

`rate: Annotated[float, Between(0, 10)] = 1e-3` declares one; `check` compares a dataclass's values
with all that its fields declare.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

from ml.errors import BadInput


class BadRecipe(BadInput):
    """A recipe with settings that are impossible or do not go together; the text names them."""


@dataclass(frozen=True)
class Between:
    """The least and the most that a number can be; of a tuple, that each of its numbers can be.

    above: the least itself is excluded; below: the most itself is excluded.
    """

    least: float
    most: float
    above: bool = False
    below: bool = False

    def check(self, name: str, value: Any) -> None:
        """BadRecipe, naming the setting, where a number lies outside, or is NaN."""
        for number in value if isinstance(value, tuple) else (value,):
            inside = self.least <= number <= self.most
            if (self.above and number == self.least) or (self.below and number == self.most):
                inside = False
            if not inside:
                raise BadRecipe(self._message(name, number))

    def _message(self, name: str, number: float) -> str:
        least, most = f"{self.least:g}", f"{self.most:g}"
        if self.above and self.below:
            return f"{name} lies between {least} and {most}"
        if self.above:
            return f"{name} lies above {least} and is at most {most}"
        if self.below:
            return f"{name} lies in {least}..{most}, below {most}"
        return f"{name} lies between {least} and {most}, not {number!r}"


@dataclass(frozen=True)
class OneOf:
    """The texts that a setting can be; "" among them is one that a message leaves out."""

    texts: tuple[str, ...]

    def check(self, name: str, value: Any) -> None:
        """BadRecipe, naming the setting and what it can be."""
        if value in self.texts:
            return
        if len(self.texts) == 2:
            first, second = self.texts
            raise BadRecipe(f'{name} must be "{first}" or "{second}", not {value!r}')
        raise BadRecipe(f"unknown {name} {value!r}: one of {', '.join(filter(None, self.texts))}")


def check(settings: object) -> None:
    """BadRecipe where a value of a dataclass is outside of what its field declares."""
    for name, limit in _declared(type(settings)):
        limit.check(name, getattr(settings, name))


def _declared(kind: type) -> list[tuple[str, Between | OneOf]]:
    """The limits in the types of a dataclass's fields, by field."""
    return [
        (name, limit)
        for name, hint in typing.get_type_hints(kind, include_extras=True).items()
        for limit in getattr(hint, "__metadata__", ())
    ]
