"""worker.drift: the job finds what `python -m ml drift` finds."""

import random
from types import SimpleNamespace
from typing import Any

import pytest

from ml.metrics import drift, reference_distribution, reference_shares
from tests.support.drift.predictions import card, numbers
from worker.contract.contents.drift import LEAST, WINDOW, DriftFound, RecentNumbers
from worker.contract.error_codes import ErrorCode
from worker.drift import comparison
from worker.errors import Permanent


def given(count: int = WINDOW, **how: float) -> RecentNumbers:
    draw = random.Random(5)
    rows = [numbers(draw, **how) for _ in range(count)]
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}
    window = {"first": None, "last": None, "predictions": count, "refused": 3}
    return RecentNumbers.parse(
        {"window": window, "reference": card()["reference"], "columns": columns}
    )


def test_the_window_is_that_of_the_command() -> None:
    assert (WINDOW, LEAST) == (drift.ALARM_WINDOW, drift.LEAST)


def test_it_finds_what_the_command_finds() -> None:
    sent = given(shift=0.15, ap=0.7)
    reference = card()["reference"]
    known = reference_distribution.of_reference(reference, "it")
    shares = reference_shares.of_reference(reference, "it")
    rows = [
        dict(zip(sent.columns, values, strict=True))
        for values in zip(*sent.columns.values(), strict=True)
    ]
    theirs = {one.name: one for one in drift.compare(known, rows, shares)}
    found = comparison.found_in(sent)
    assert {one.name for one in found.numbers} == set(theirs)
    for one in found.numbers:
        other = theirs[one.name]
        assert one.psi == pytest.approx(other.psi, abs=1e-6)
        assert (one.p_value, one.state, one.is_alarm) == (
            *(other.p_value, other.status, other.is_alarm),
        )
    assert [one.name for one in found.numbers if one.is_alarm] == [
        one.name for one in found.numbers[:2]
    ]
    assert DriftFound.parse(found.as_json()) == found


def test_the_parts_of_a_distribution_are_all_of_it() -> None:
    for one in comparison.found_in(given(shift=0.3)).numbers:
        assert bool(one.bars) is not one.is_share
        if one.bars:
            assert sum(bar.recent for bar in one.bars) == pytest.approx(1)
            assert sum(bar.reference for bar in one.bars) == pytest.approx(1, abs=1e-6)


def test_of_too_few_predictions_there_is_no_number() -> None:
    assert comparison.found_in(given(LEAST - 1, shift=5.0)).numbers == []
    assert comparison.found_in(given(LEAST)).numbers


@pytest.mark.parametrize(
    "content",
    [
        b"nothing",
        b"{}",
        given().model_copy(update={"reference": {}}).model_dump_json().encode(),
        given()
        .model_copy(update={"reference": card()["reference"] | {"levels": [0, 1]}})
        .model_dump_json()
        .encode(),
        given()
        .model_copy(update={"reference": card()["reference"] | {"shares": {"called": {"n": 0}}}})
        .model_dump_json()
        .encode(),
    ],
    ids=["no json", "empty", "no reference", "other levels", "damaged shares"],
)
def test_what_cannot_be_compared_fails_for_good(content: bytes) -> None:
    attempt: Any = SimpleNamespace(read_input=lambda kind: content)
    with pytest.raises(Permanent) as failed:
        comparison.compare(attempt)
    assert failed.value.code is ErrorCode.INPUT_REFUSED
