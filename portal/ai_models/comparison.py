"""Whether a model's card is worse than that of the active model.

Owns the measures that decide. Worse is a value outside of the 95 % interval of the active model's,
on the bad side, or a measure that only the active model's card has. Cards are measured on their own
held-out pictures, so a person may decide otherwise, with a reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from portal.ai_models import cards
from portal.languages import _, lazy, number_text

# Of the card's `metrics`: the text, and whether more is better.
_MEASURES: Final = {
    "auc": ("AUC", True),
    "positive_dice": (lazy("Dice of pictures with a pneumothorax"), True),
    "kaggle_dice": (lazy("Dice of all pictures"), True),
    "sensitivity_at_specificity_0.93": (lazy("Sensitivity where specificity is 0.93"), True),
    "ece": (lazy("Calibration error (ECE)"), False),
    "brier": (lazy("Brier score"), False),
}


@dataclass(frozen=True, slots=True)
class Worse:
    """One measure in which a model is worse: its name on the card, and a sentence."""

    measure: str
    sentence: str


def worse(card: Mapping[str, Any] | None, active: Mapping[str, Any] | None) -> list[Worse]:
    """In what a card is worse than the active model's; nothing where that one was not measured."""
    ours, theirs = _metrics(card), _metrics(active)
    found = []
    for name, (text, more_is_better) in _MEASURES.items():
        low, high = _number(theirs, name, "low"), _number(theirs, name, "high")
        if low is None or high is None:
            continue
        value, interval = (
            _number(ours, name, "value"),
            f"{number_text(low, 3)} – {number_text(high, 3)}",
        )
        if value is None:
            sentence = _(
                "%(measure)s is not on its card; the active model’s is %(interval)s.",
                measure=text,
                interval=interval,
            )
        elif (value < low) if more_is_better else (value > high):
            values = {"measure": text, "value": number_text(value, 3), "interval": interval}
            sentence = (
                _(
                    "%(measure)s %(value)s is below the active model’s interval (%(interval)s).",
                    **values,
                )
                if more_is_better
                else _(
                    "%(measure)s %(value)s is above the active model’s interval (%(interval)s).",
                    **values,
                )
            )
        else:
            continue
        found.append(Worse(name, sentence))
    return found


def _metrics(card: Mapping[str, Any] | None) -> Mapping[str, Any]:
    metrics = (card or {}).get("metrics")
    return metrics if isinstance(metrics, Mapping) else {}


def _number(metrics: Mapping[str, Any], name: str, part: str) -> float | None:
    found = metrics.get(name)
    return cards.number_of(found.get(part)) if isinstance(found, Mapping) else None
