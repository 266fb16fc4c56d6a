"""A model's card as people read it: numbers with their intervals, thresholds, limits, data.

A card comes from outside: whatever is missing or of another kind is left out, nothing is believed
to be there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from portal.web import wording

POINTS = wording.OPERATING_POINTS
_METRICS = {
    "positive_dice": "Outline: Dice of pictures with a pneumothorax (missed: 0)",
    "positive_dice_ungated": "Outline: the same, every outline counted",
    "kaggle_dice": "Outline: Dice of all pictures (both empty: 1)",
    "auc": "Picture: area under the ROC curve",
    "sensitivity": "Picture: sensitivity, balanced",
    "specificity": "Picture: specificity, balanced",
    "sensitivity_at_specificity_0.93": "Picture: sensitivity where specificity is 0.93",
    "ece": "Calibration: expected error (ECE)",
    "brier": "Calibration: Brier score",
    "dice": "Outline: Dice",
    "iou": "Outline: intersection over union",
}
_HEADLINE = {"auc": "AUC", "positive_dice": "Dice, positive only", "ece": "ECE"}
_COUNTS = {"training": "Learnt from", "held_out": "Measured on"}


@dataclass(frozen=True)
class Line:
    """One number with its 95 % interval and on how many pictures it was measured."""

    name: str
    value: str
    interval: str
    count: str


@dataclass(frozen=True)
class Card:
    """What the page shows."""

    metrics: list[Line]
    measured: str
    thresholds: list[tuple[str, str]]
    data: list[tuple[str, str]]
    limits: list[str]


def of(card: Mapping[str, Any] | None) -> Card | None:
    """The card in words; None where none is known."""
    if not card:
        return None
    limits = card.get("limits")
    return Card(
        metrics=list(_metrics(card, _METRICS)),
        measured=_text(card.get("measured")),
        thresholds=list(_thresholds(card)),
        data=list(_data(card)),
        limits=[_text(limit) for limit in limits if _text(limit)]
        if isinstance(limits, list)
        else [],
    )


def summary(card: Mapping[str, Any] | None) -> list[Line]:
    """The few numbers of the list."""
    return list(_metrics(card or {}, _HEADLINE))


def _metrics(card: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Line]:
    known = _mapping(card.get("metrics"))
    for name, words in names.items():
        found = _mapping(known.get(name))
        if (value := _number(found.get("value"))) is None:
            continue
        low, high = _number(found.get("low")), _number(found.get("high"))
        interval = f"{low:.3f} – {high:.3f}" if low is not None and high is not None else ""
        count = _number(found.get("n"))
        yield Line(words, f"{value:.3f}", interval, "" if count is None else f"{count:.0f}")


def _thresholds(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = _mapping(card.get("thresholds"))
    image = _mapping(known.get("image"))
    for point, words in POINTS.items():
        if (value := _number(image.get(point))) is not None:
            yield f"Picture called, {words}", f"from {value:.3f} on"
    if (mask := _number(known.get("mask"))) is not None:
        yield "Outlined", f"from {mask:.3f} on"
    if (area := _number(known.get("area_px_min"))) is not None:
        yield "Smaller outlines are dropped", f"below {area:.0f} px of the model’s grid"
    calibration = _mapping(card.get("calibration"))
    if (temperature := _number(calibration.get("temperature"))) is not None:
        yield "Calibration: temperature", f"{temperature:.3f}"


def _data(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = _mapping(card.get("data"))
    if what := _text(known.get("what")):
        yield "Pictures", what
    for name, words in _COUNTS.items():
        counts = _mapping(_mapping(known.get("counts")).get(name))
        parts = [f"{n:,.0f} {unit}" for unit in ("pictures", "positive", "patients")
                 if (n := _number(counts.get(unit))) is not None]  # fmt: skip
        if parts:
            yield words, ", ".join(parts)
    for key, words in (("folds", "Split"), ("terms", "Terms")):
        if said := _text(known.get(key)):
            yield words, said
    trained = _mapping(card.get("trained"))
    if date := _text(trained.get("date")):
        yield "Trained", date


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str:
    return value[:2000] if isinstance(value, str) else ""
