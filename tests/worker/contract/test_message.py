"""worker.contract.message: strict JSON, finite numbers, no unknown field, plain errors."""

import math
from typing import Any

import pytest

from worker.contract.job import InputFile
from worker.contract.message import InvalidMessage
from worker.contract.prediction import MapSize, ModelIdentity, Region

SHA256 = "ab" * 32


def model(**changes: Any) -> dict[str, Any]:
    return {"name": "net", "version": "1", "sha256": SHA256} | changes


@pytest.mark.parametrize(
    "wrong",
    [
        {"more": 1},
        {"name": ""},
        {"name": "x" * 101},
        {"name": 7},
        {"name": None},
        {"name": "a\0b"},
        {"name": "\ud800"},
        {"sha256": SHA256.upper()},
        {"sha256": SHA256 + "\n"},
        {"sha256": SHA256[:-1]},
    ],
)
def test_what_is_no_model_is_refused(wrong: dict[str, Any]) -> None:
    assert ModelIdentity.parse(model()).as_json() == model()
    with pytest.raises(InvalidMessage):
        ModelIdentity.parse(model(**wrong))


@pytest.mark.parametrize("value", [None, 1, "text", [], [model()], {1: 2}, {"name": {"deep"}}])
def test_what_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(InvalidMessage):
        ModelIdentity.parse(value)


@pytest.mark.parametrize("value", [1.0, True, "1", 0, 4097, 10**400, None, math.nan])
def test_whole_numbers_are_whole_and_within_bounds(value: Any) -> None:
    with pytest.raises(InvalidMessage):
        MapSize.parse({"rows": value, "columns": 4})


@pytest.mark.parametrize("value", [True, "0.5", -0.1, 1.1, 10**400, math.nan, math.inf])
def test_shares_are_numbers_from_0_to_1(value: Any) -> None:
    with pytest.raises(InvalidMessage):
        Region.parse({"box": [0, 0, 1, 1], "probability": value})
    found = Region.parse({"box": [0, 0, 1, 1], "probability": 1})
    assert type(found.probability) is float


def test_a_message_may_be_256_kilobytes_and_no_more() -> None:
    with pytest.raises(InvalidMessage, match="larger than 262144 bytes"):
        ModelIdentity.parse(model(name="x" * 262144))


def test_endless_nesting_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidMessage):
        ModelIdentity.parse(model(name=nested))


def test_an_error_names_the_field_and_not_its_value() -> None:
    with pytest.raises(InvalidMessage) as refused:
        ModelIdentity.parse(model(sha256="CANARY"))
    assert refused.value.message.startswith("sha256: ")
    assert "CANARY" not in refused.value.message


def test_workers_pass_over_what_a_newer_portal_sends() -> None:
    found = InputFile.parse({"bytes": 3, "media_type": "image/png", "more": 1})
    assert found.as_json() == {"bytes": 3, "media_type": "image/png"}
