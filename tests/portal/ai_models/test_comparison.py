"""A card against the active model's: worse than its interval, or silent about what it measured."""

from typing import Any

import pytest

from portal.ai_models import comparison

ACTIVE = {
    "metrics": {
        "auc": {"value": 0.9, "low": 0.85, "high": 0.94},
        "ece": {"value": 0.05, "low": 0.03, "high": 0.08},
    }
}


def card(**values: Any) -> dict[str, Any]:
    known = {"auc": 0.9, "ece": 0.05} | values
    return {"metrics": {k: {"value": v} for k, v in known.items() if v is not None}}


@pytest.mark.parametrize(
    ("values", "worse"),
    [
        ({}, []),
        ({"auc": 0.85, "ece": 0.08}, []),
        ({"auc": 0.849}, ["auc"]),
        ({"auc": 0.99, "ece": 0.0}, []),
        ({"ece": 0.081}, ["ece"]),
        ({"auc": 0.5, "ece": 0.5}, ["auc", "ece"]),
        ({"auc": None}, ["auc"]),
        ({"auc": "high"}, ["auc"]),
        ({"auc": float("nan")}, ["auc"]),
        ({"brier": 0.9}, []),  # the active model was not measured by it
    ],
)
def test_worse_is_outside_of_the_interval_on_the_bad_side(
    values: dict[str, Any], worse: list[str]
) -> None:
    assert [one.measure for one in comparison.worse(card(**values), ACTIVE)] == worse


@pytest.mark.parametrize("active", [None, {}, {"metrics": 3}, {"metrics": {"auc": {"value": 0.9}}}])
def test_there_is_nothing_to_compare_with_an_unmeasured_model(active: Any) -> None:
    assert comparison.worse(card(auc=0.1), active) == []


def test_the_sentence_has_both_numbers() -> None:
    (low,) = comparison.worse(card(auc=0.7), ACTIVE)
    assert low.sentence == "AUC 0.700 is below the active model’s interval (0.850 – 0.940)."
    (none,) = comparison.worse(card(auc=None), ACTIVE)
    assert none.sentence == "AUC is not on its card; the active model’s is 0.850 – 0.940."
