"""Which cases a detail names: lists and one other, and nothing of a detail that was damaged."""

import json
from uuid import UUID

import pytest

from portal.audit.subjects import studies_named

ONE, TWO = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(
    ("detail", "named"),
    [
        ({}, set()),
        ({"number": 7}, set()),
        ({"studies": []}, set()),
        ({"studies": [ONE.hex, TWO.hex, ONE.hex]}, {ONE, TWO}),
        ({"same_uid_as": TWO.hex, "studies": [ONE.hex]}, {ONE, TWO}),
        ({"grant": ONE.hex}, set()),
        ({"studies": ["x", None, 7, TWO.hex]}, {TWO}),
        ({"studies": None, "same_uid_as": 5}, set()),
    ],
)
def test_the_cases_of_a_detail(detail: dict[str, object], named: set[UUID]) -> None:
    assert studies_named(detail) == named
    assert studies_named(json.dumps(detail)) == named


@pytest.mark.parametrize("detail", ["", "{", '["studies"]', '"studies"', '{"studies": "'])
def test_what_is_no_detail_names_none(detail: str) -> None:
    assert studies_named(detail) == set()
