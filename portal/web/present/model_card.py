"""A model card for the pages: performance with intervals, thresholds, limits, data.

A card comes from outside: what is missing or of another type is left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from portal.ai_models import cards
from portal.languages import _, header_day_text, lazy
from portal.web.present import wording
from portal.web.present.other_lines import finding_name

POINTS = wording.OPERATING_POINTS
_METRICS = {
    "positive_dice": lazy("Outline: Dice of pictures with a pneumothorax (missed: 0)"),
    "positive_dice_ungated": lazy("Outline: the same, all outlines counted"),
    "kaggle_dice": lazy("Outline: Dice of all pictures (both empty: 1)"),
    "auc": lazy("Picture: area under the ROC curve"),
    "sensitivity": lazy("Picture: sensitivity, balanced"),
    "specificity": lazy("Picture: specificity, balanced"),
    "sensitivity_at_specificity_0.93": lazy("Picture: sensitivity where specificity is 0.93"),
    "ece": lazy("Calibration: expected error (ECE)"),
    "brier": lazy("Calibration: Brier score"),
    "dice": lazy("Outline: Dice"),
    "iou": lazy("Outline: intersection over union"),
}
_HEADLINE = {"auc": "AUC", "positive_dice": lazy("Dice, positive only"), "ece": "ECE"}
_TRAITS = {
    "size": lazy("Size", context="trait"),
    "view": lazy("View", context="trait"),
    "sex": lazy("Sex", context="trait"),
    "age": lazy("Age", context="trait"),
    "exposure": lazy("Exposure", context="trait"),
    "report": lazy("Report", context="trait"),
}
_OF_GROUPS = ("positive_dice", "sensitivity", "specificity", "auc")
_UNITS = {
    "pictures": lazy("%(num)s pictures", context="data"),
    "positive": lazy("%(num)s positive", context="data"),
    "patients": lazy("%(num)s patients", context="data"),
}
_TEXTS = {"folds": lazy("Split", context="data"), "terms": lazy("Terms", context="data")}
_COUNTS = {"training": lazy("Trained on"), "held_out": lazy("Measured on")}


@dataclass(frozen=True)
class Line:
    """One number with its 95 % interval and on how many pictures it was measured."""

    name: str
    value: str
    interval: str
    count: str


@dataclass(frozen=True)
class Group:
    """One group of the measured pictures; values with their intervals, in the order of the page."""

    name: str
    pictures: str
    positives: str
    values: list[str]


@dataclass(frozen=True)
class Card:
    """The card's content, ready for the page."""

    use: str
    metrics: list[Line]
    measured: str
    groups: list[Group]
    thresholds: list[tuple[str, str]]
    data: list[tuple[str, str]]
    limits: list[str]


def present(card: Mapping[str, Any] | None) -> Card | None:
    """The card for the page; None if there is none."""
    if not card:
        return None
    limits = card.get("limits")
    return Card(
        use=_text(card.get("use")),
        metrics=[*_metrics(card, _METRICS), *_of_other_classes(card)],
        measured=_text(card.get("measured")).replace("`", ""),
        groups=list(_groups(card)),
        thresholds=list(_thresholds(card)),
        data=list(_data(card)),
        limits=[_text(limit) for limit in limits if _text(limit)]
        if isinstance(limits, list)
        else [],
    )


def summary(card: Mapping[str, Any] | None) -> list[Line]:
    """The main numbers, for the list of models."""
    return list(_metrics(card or {}, _HEADLINE))


def _metrics(card: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Line]:
    known = _mapping(card.get("metrics"))
    for name, text in names.items():
        found = _mapping(known.get(name))
        if (value := _number(found.get("value"))) is None:
            continue
        low, high = _number(found.get("low")), _number(found.get("high"))
        interval = ""
        if low is not None and high is not None:
            interval = f"{wording.fixed(low, 3)} – {wording.fixed(high, 3)}"
        count = _number(found.get("n"))
        yield Line(
            str(text), wording.fixed(value, 3), interval, "" if count is None else f"{count:.0f}"
        )


def _of_other_classes(card: Mapping[str, Any]) -> Iterator[Line]:
    for name, metrics in _mapping(card.get("other_classes")).items():
        finding = finding_name(_text(name))
        for line in _metrics({"metrics": metrics}, _HEADLINE):
            yield replace(line, name=f"{finding}: {line.name}")


def _groups(card: Mapping[str, Any]) -> Iterator[Group]:
    for trait, text in _TRAITS.items():
        for name, found in _mapping(_mapping(card.get("subgroups")).get(trait)).items():
            group = _mapping(found)
            counts = [_number(group.get(what)) for what in ("pictures", "positives")]
            pictures, positives = ("—" if n is None else wording.fixed(n, 0) for n in counts)
            values = [_interval(_mapping(group.get(measure))) for measure in _OF_GROUPS]
            yield Group(f"{text}: {_text(name)}", pictures, positives, values)


def _interval(found: Mapping[str, Any]) -> str:
    value, low, high = (_number(found.get(part)) for part in ("value", "low", "high"))
    if value is None:
        return "—"
    shown = wording.fixed(value, 2)
    if low is None or high is None:
        return shown
    return f"{shown} ({wording.fixed(low, 2)} – {wording.fixed(high, 2)})"


def _thresholds(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = _mapping(card.get("thresholds"))
    image = _mapping(known.get("image"))
    for point, text in POINTS.items():
        if (value := _number(image.get(point))) is not None:
            yield (
                _("Image operating point, %(name)s", name=text),
                _("picture positive at %(value)s or above", value=wording.fixed(value, 3)),
            )
    if (mask := _number(known.get("mask"))) is not None:
        yield (
            _("Pixel threshold"),
            _("outlined at %(value)s or above", value=wording.fixed(mask, 3)),
        )
    if island := _number(known.get("island_px_min")):
        yield (
            _("Areas not outlined"),
            _("below %(count)s px of the model’s map", count=format(island, ".0f")),
        )
    if area := _number(known.get("area_px_min")):
        yield (
            _("Outlines discarded"),
            _("below %(count)s px of the model’s grid", count=format(area, ".0f")),
        )
    calibration = _mapping(card.get("calibration"))
    if (temperature := _number(calibration.get("temperature"))) is not None:
        yield _("Calibration: temperature"), wording.fixed(temperature, 3)


def _data(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = _mapping(card.get("data"))
    if what := _text(known.get("what")):
        yield _("Pictures"), what
    for name, text in _COUNTS.items():
        counts = _mapping(_mapping(known.get("counts")).get(name))
        parts = [
            form % {"num": wording.fixed(n, 0)}
            for unit, form in _UNITS.items()
            if (n := _number(counts.get(unit))) is not None
        ]
        if parts:
            yield str(text), ", ".join(parts)
    for key, text in _TEXTS.items():
        if content := _text(known.get(key)):
            yield str(text), content
    trained = _mapping(card.get("trained"))
    if date := _text(trained.get("date")):
        yield _("Trained"), header_day_text(date)
    if runs := list(_runs(trained)):
        yield _("Started from"), _("; then ").join(runs)


def _runs(trained: Mapping[str, Any]) -> Iterator[str]:
    """The training runs before the last one."""
    known = trained.get("begun_with")
    earlier = known if isinstance(known, list) else []
    first = _mapping(earlier[0] if earlier else trained.get("config"))
    if pretrained := _text(first.get("pretrained")):
        yield pretrained
    for found in earlier:
        run = _mapping(found)
        name, pictures = _text(run.get("recipe")), _number(run.get("pictures"))
        if name and pictures is not None:
            yield _(
                "%(name)s (%(count)s augmented pictures)",
                name=name,
                count=wording.fixed(pictures, 0),
            )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return cards.number_of(value)


def _text(value: Any) -> str:
    return value[:2000] if isinstance(value, str) else ""
