"""The gallery of an evaluation."""

from __future__ import annotations

from ml.evaluation import gallery


def row(name: str, hits: int, predicted: int, truth: int, probability: float) -> dict:
    return {
        "id": name,
        "hits": hits,
        "predicted": predicted,
        "truth": truth,
        "probability": probability,
        "called": predicted > 0,
    }


def test_the_largest_missed_ones_and_the_surest_false_alarms_come_first():
    rows = [
        row("found", 90, 100, 100, 0.9),
        row("small", 0, 0, 50, 0.1),
        row("large", 0, 0, 900, 0.1),
        row("sure", 0, 10, 0, 0.8),
        row("unsure", 0, 10, 0, 0.3),
        row("right", 0, 0, 0, 0.05),
    ]
    found = gallery.worst(rows, 2)
    assert [one["id"] for one in found["miss"]] == ["large", "small"]
    assert [one["id"] for one in found["false alarm"]] == ["sure", "unsure"]
