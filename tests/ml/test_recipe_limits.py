"""Limits in the types of a dataclass's fields."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

import pytest

from ml import recipe_limits
from ml.recipe_limits import BadRecipe, Between, OneOf


@dataclass(frozen=True)
class Settings:
    share: Annotated[float, Between(0, 1)] = 0.5
    sides: Annotated[tuple[int, ...], Between(1, 8)] = (1, 8)
    part: Annotated[float, Between(0, 1, above=True)] = 1.0
    begin: Annotated[float, Between(0, 1, below=True)] = 0.0
    factor: Annotated[float, Between(0, 1, above=True, below=True)] = 0.5
    end: Annotated[str, OneOf(("last", "best"))] = "last"
    filter: Annotated[str, OneOf(("", "median", "nlm"))] = ""
    free: str = "anything"


def test_values_at_the_limits_pass() -> None:
    recipe_limits.check(Settings())
    recipe_limits.check(Settings(share=0, sides=(), begin=0.999, end="best", filter="nlm"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 1.5}, "share lies between 0 and 1, not 1.5"),
        ({"share": math.nan}, "share lies between 0 and 1, not nan"),
        ({"sides": (4, 9)}, "sides lies between 1 and 8, not 9"),
        ({"part": 0.0}, "part lies above 0 and is at most 1"),
        ({"begin": 1.0}, "begin lies in 0..1, below 1"),
        ({"factor": 0.0}, "factor lies between 0 and 1"),
        ({"factor": 1.0}, "factor lies between 0 and 1"),
        ({"end": "first"}, 'end must be "last" or "best", not \'first\''),
        ({"filter": "gauss"}, "unknown filter 'gauss': one of median, nlm"),
    ],
    ids=str,
)
def test_a_value_outside_names_its_setting_and_the_limits(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRecipe) as caught:
        recipe_limits.check(replace(Settings(), **wrong))
    assert str(caught.value) == message
