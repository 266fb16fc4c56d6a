"""The numbers of a card: of a network on pictures that it was not trained on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ml.datasets import catalogue, dataset
from ml.evaluation import held_out
from ml.metrics import calibration
from ml.metrics.calibration import Calibration, HeldOutPredictions, Thresholds
from ml.network.model import Ensemble, Network
from ml.recipe import Recipe

HOW = (
    "with the float32 network on the cached pictures. `metrics`: temperature, bias and thresholds "
    "chosen on one half of the fold's patients and measured on the other, both ways round, pooled; "
    "positive_dice counts a picture that is not called positive as 0, positive_dice_ungated "
    "measures its outline all the same; auc and sensitivity_at_specificity_0.93 need no chosen "
    "number. Intervals: 95 %, 2,000 bootstrap draws of patients. `thresholds` and "
    "`calibration.temperature` and `.bias`, which ship, were chosen on the whole fold."
)
MEASURED = "On held-out fold {fold}, no patient of which was trained on and which {chose}, " + HOW
CHOSE = ("chose no checkpoint", "chose the checkpoint, so that the numbers are slightly optimistic")
MEMBERS_MEASURED = (
    "Every picture of folds {folds} measured by the one member that held its patient out, not by "
    "the mean of all members that is served and was trained on it: its performance on new pictures "
    "was not measured. " + HOW + " auc is that of the cross-fitted probabilities."
)
OUTLINE_MEASURED = (
    "On held-out fold {fold}, whose pictures were not trained on and chose no checkpoint, with the "
    "float32 network on the cached pictures: Dice and IoU of the outline at 0.5, means over "
    "pictures. Intervals: 95 %, 2,000 bootstrap draws of pictures."
)
_Parts = list[tuple[Network, list[catalogue.Record]]]


def of(
    net: Network,
    recipe: Recipe,
    cache: Path,
    folds: list[int],
    gate: held_out.FirstStage | None = None,
) -> tuple[Calibration, Thresholds, dict[str, Any]]:
    """Calibration, thresholds and the card's measured parts.

    folds: what each of an ensemble's members held out; of a single network, or of members that
    agree, the one. gate: see held_out.predict. BadInput, before anything is predicted, for a fold
    that is too small for thresholds.
    """
    records = catalogue.read_records(cache)
    catalogue.check_crop(records, recipe)
    parts, training = _parts(net, recipe, records, folds)
    measured = [record for _, part in parts for record in part]
    if recipe.image_weight:
        for fold, (_, part) in zip(folds, parts, strict=False):
            check_fold(part, fold, recipe)
    statistics = held_out.ReferenceStatistics() if recipe.image_weight else None
    tables = _tables(parts, recipe, cache, statistics, gate=gate)
    together = held_out.concatenated(tables)
    found: dict[str, Any] = {"data": {"counts": catalogue.counts(training, measured)}}
    if statistics is None:
        found["metrics"] = held_out.outline_report(together)
        found["measured"] = OUTLINE_MEASURED.format(fold=folds[0])
        return Calibration(), Thresholds(), found
    fitted = calibration.fit(together.image_logits, together.positive)
    probability = fitted.probability(together.image_logits)
    found |= held_out.pooled(tables)
    found["subgroups"] = held_out.groups(tables, measured)
    chosen = calibration.choose(together, fitted)
    views = [record.attributes.view or "" for record in measured]
    found["reference"] = statistics.reference(probability, views, chosen.balanced)
    found["measured"] = (
        MEASURED.format(fold=folds[0], chose=CHOSE[recipe.selects_on_held_out])
        if len(parts) == 1
        else MEMBERS_MEASURED.format(folds=", ".join(map(str, folds)))
    )
    found["other_classes"], found["other_points"] = {}, {}
    for number, name in enumerate(recipe.classes[1:], 1):
        others = _tables(parts, recipe, cache, finding=number)
        found["other_classes"][name] = held_out.pooled(others)["metrics"]
        found["other_points"][name] = _points(held_out.concatenated(others))
    return fitted, chosen, found


def _points(predictions: HeldOutPredictions) -> dict[str, float]:
    """The calibration of another class, and the thresholds by which serving shows it."""
    fitted = calibration.fit(predictions.image_logits, predictions.positive)
    chosen = calibration.choose(predictions, fitted)
    return {
        "temperature": fitted.temperature,
        "bias": fitted.bias,
        "mask": chosen.mask,
        "image": chosen.balanced,
        "area_px_min": chosen.area_px_min,
    }


def check_fold(records: list[catalogue.Record], fold: int, recipe: Recipe) -> None:
    """BadInput where a held-out fold is too small for thresholds to be chosen on its halves."""
    patients = np.array([record.patient for record in records], dtype=np.str_)
    for number, name in enumerate(recipe.classes):
        shown = [
            record.source in catalogue.OUTLINED and record.shows(recipe)[number]
            for record in records
        ]
        what = f"held-out fold {fold} is too small" + (f" for {name}" if number else "")
        calibration.check_halves(patients, np.array(shown, dtype=np.bool_), what)


def _parts(
    net: Network, recipe: Recipe, records: list[catalogue.Record], folds: list[int]
) -> tuple[_Parts, list[catalogue.Record]]:
    """Each network with what it has never seen; and all that was trained on."""
    if len(set(folds)) == 1 or not isinstance(net, Ensemble):
        training, measured = catalogue.split(records, folds[0], recipe.data_share)
        return [(net, measured)], catalogue.of_sources(training, recipe)
    parts: _Parts = [
        (member, catalogue.split(records, fold, recipe.data_share)[1])
        for member, fold in zip(net.segmenters, folds, strict=True)
    ]
    everything, _ = catalogue.split(records, -1, recipe.data_share)
    return parts, catalogue.of_sources(everything, recipe)


def _tables(
    parts: _Parts,
    recipe: Recipe,
    cache: Path,
    statistics: held_out.ReferenceStatistics | None = None,
    finding: int = 0,
    gate: held_out.FirstStage | None = None,
) -> list[HeldOutPredictions]:
    one = dataclasses.replace(recipe, members=1)
    return [
        held_out.predict(
            net, dataset.Pictures.read(cache, part, recipe.classes), one, statistics, finding, gate
        )
        for net, part in parts
    ]
