"""Drift measures against scipy and against changes of known size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ml.__main__ import main
from ml.errors import BadInput
from ml.metrics import drift, recent_predictions, reference_distribution
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


def test_the_distance_is_scipys_for_the_same_cumulated_share():
    for shift in (0.0, 0.3, 1.0):
        values = np.random.default_rng(1).normal(shift, 1, 400)
        ours, _ = reference_distribution.ks(known(), values)
        theirs = stats.ks_1samp(values, lambda x: known().up_to(np.asarray(x))).statistic
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_distance_and_p_value_are_near_scipys_of_the_samples_themselves():
    for shift in (0.0, 0.1, 0.3):
        values = np.random.default_rng(2).normal(shift, 1, 400)
        distance, p_value = reference_distribution.ks(known(), values)
        theirs = stats.ks_2samp(values, KNOWN, method="asymp")
        # Quantiles at every twentieth stand for 5,000 numbers: so exact they are.
        assert distance == pytest.approx(theirs.statistic, abs=0.02)
        if theirs.pvalue < 1e-3:
            assert p_value < 1e-2
        else:
            assert p_value > 1e-3


def test_the_index_is_that_of_its_definition():
    values = np.random.default_rng(3).normal(0.4, 1.2, 3000)
    edges = np.quantile(KNOWN, np.linspace(0.1, 0.9, 9))
    actual = np.bincount(np.searchsorted(edges, values), minlength=10) / len(values)
    slow = sum((a - 0.1) * np.log(a / 0.1) for a in actual)
    assert reference_distribution.psi(known(), values) == pytest.approx(slow, rel=1e-3)


def test_without_change_it_is_below_its_chance_level_nineteen_times_of_twenty():
    random = np.random.default_rng(4)
    level = reference_distribution.psi_by_chance(known(), 200)
    indices = [reference_distribution.psi(known(), random.normal(0, 1, 200)) for _ in range(400)]
    assert 0.91 < np.mean(np.array(indices) < level) < 0.985


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


@pytest.mark.parametrize("other", [0.7, 1.3])
def test_a_number_that_was_always_the_same_may_change_either_way(other):
    square = known(np.ones(500))
    same, changed = np.ones(100), np.where(np.arange(100) % 2, 1.0, other)
    assert reference_distribution.psi(square, same) == pytest.approx(0, abs=1e-3)
    assert reference_distribution.psi(square, changed) > drift.SHIFTED
    assert reference_distribution.ks(square, same)[0] == 0
    assert reference_distribution.ks(square, changed)[0] == pytest.approx(0.5)


def test_values_that_half_of_the_pictures_share_are_no_drift():
    random = np.random.default_rng(6)

    def mixed(n: int) -> np.ndarray:
        return np.where(random.random(n) < 0.5, 0.0, random.random(n))

    reference = known(mixed(4000))
    assert reference_distribution.psi(reference, mixed(4000)) < 0.05
    assert reference_distribution.ks(reference, mixed(4000))[0] < 0.06


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
    assert first.endswith("shifted")
    assert second.startswith("probability")
    assert second.endswith("stable")
    assert "new" not in said
    assert "1 shifted, 0 to watch, of 2 numbers" in said
    assert main([*given, "--strict"]) == drift.DRIFTED


def test_bare_statistics_are_read_too(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input_mean": 0.5}\n')
    assert recent_predictions.read(path).rows == [{"input_mean": 0.5}]


def test_what_commands_and_the_portal_write_is_read(tmp_path):
    told = {"model": {"sha256": "a"}, "statistics": {"input_mean": 0.5}, "probability": 0.25}
    other = {**told, "model": {"sha256": "b"}}
    refused = {"model": {"sha256": "a"}, "statistics": {}, "probability": None}
    path = tmp_path / "many.json"
    path.write_text(
        json.dumps({"picture": "x.dcm", "prediction": told}, indent=2)
        + json.dumps([told, other], indent=2)
        + "\n"
        + json.dumps({"study": 1, "prediction": refused})
        + json.dumps({"study": 2, "prediction": None})
    )
    found = recent_predictions.read(path, "a")
    assert found == ([{"input_mean": 0.5, "probability": 0.25}] * 2, 1, 1)
    assert found.summary == (
        "3 predictions, 1 of them refused by the quality gate (33.3%); 1 of other models left out"
    )
    assert len(recent_predictions.read(path).rows) == 3


def test_a_file_that_is_no_text_is_a_sentence(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="UTF-8"):
        recent_predictions.read(path)


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[1]",
        "3",
        '{"prediction": 3}',
        '{"a": 1' + "0" * 400 + "}",
        "[" * 10**5,
        '{"statistics": {"a": "b"}}',
        '{"a": NaN}',
    ],
)
def test_a_line_of_something_else_is_named(tmp_path, line):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(BadInput, match="line 2"):
        recent_predictions.read(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("nothing", "not a model's card"),
        ("{}", "has no reference"),
        ('{"reference": {"levels": [0, 1], "n": 3, "quantiles": {}}}', "other levels"),
        ('{"reference": {"levels": 1}}', "damaged"),
        ('{"reference": {"n": 1}}', "damaged"),
    ],
)
def test_a_card_without_a_reference_is_a_sentence(tmp_path, content, reason):
    path = tmp_path / "card.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=reason):
        reference_distribution.of_card(path)
