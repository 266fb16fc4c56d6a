"""Drift measures against scipy and against changes of known size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ml.__main__ import main
from ml.metrics import drift, reference_distribution
from ml.metrics.reference_distribution import LEVELS, Reference

KNOWN = np.random.default_rng(0).normal(0, 1, 5000)


def known(values: np.ndarray = KNOWN) -> Reference:
    return Reference(np.quantile(values, LEVELS), len(values))


def card(folder: Path, **columns: np.ndarray) -> Path:
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    path = folder / "card.json"
    path.write_text(json.dumps({"name": "tiny", "reference": reference_distribution.facts(rows)}))
    return path


@pytest.mark.parametrize(
    ("shift", "n", "word"),
    [
        (0.0, 2000, "stable"),
        (0.4, 2000, "watch"),
        (1.0, 2000, "shifted"),
        (1.0, 40, "too few"),
        (0.1, 60, "stable"),
    ],
)
def test_words_follow_the_size_of_the_change_and_of_the_sample(shift, n, word):
    values = np.random.default_rng(5).normal(shift, 1, n)
    (found,) = drift.compare({"x": known()}, [{"x": value} for value in values])
    assert found.status == word


@pytest.mark.parametrize(("shift", "alarms"), [(0.0, False), (0.3, False), (0.8, True)])
def test_an_alarm_needs_more_than_a_year_of_days_would_show_by_chance(shift, alarms):
    random = np.random.default_rng(11)
    for _ in range(365 if shift == 0 else 20):
        values = random.normal(shift, 1, drift.ALARM_WINDOW)
        (found,) = drift.compare({"x": known()}, [{"x": value} for value in values])
        assert found.is_alarm is alarms
    assert (", alarm" in drift.table([found])) is alarms


def test_a_small_but_certain_change_is_no_alarm_nor_is_a_large_one_of_few_pictures():
    for shift, n in ((0.3, 20_000), (2.0, drift.LEAST - 1)):
        values = np.random.default_rng(5).normal(shift, 1, n)
        (found,) = drift.compare({"x": known()}, [{"x": value} for value in values])
        assert found.p_value < drift.ALARM_P
        assert not found.is_alarm


def test_predictions_are_compared_with_the_card_in_words(tmp_path, capsys):
    random = np.random.default_rng(7)
    path = card(tmp_path, input_mean=random.normal(0, 0.1, 400), probability=random.random(400))
    lines = [
        {"statistics": {"input_mean": 0.3 + value, "new": 1.0}, "probability": chance}
        for value, chance in zip(random.normal(0, 0.1, 300), random.random(300), strict=True)
    ]
    lines.append({"statistics": None, "probability": None})  # refused
    recent = tmp_path / "recent.jsonl"
    recent.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    given = ["drift", "--card", str(path), "--statistics", str(recent)]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert said.startswith("301 predictions, 1 of them refused")
    first, second = said.splitlines()[2:4]
    assert first.startswith("input_mean")
    assert first.endswith("shifted, alarm")
    assert second.startswith("probability")
    assert second.endswith("stable")
    assert "new" not in said
    assert "1 shifted, 0 to watch, of 2 numbers" in said
    assert main([*given, "--strict"]) == drift.DRIFTED
