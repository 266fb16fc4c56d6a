"""The predictions of a network for the held-out fold of a cache, and the card's numbers from them.

The card's `reference`, which `ml.metrics.drift` compares recent predictions with, is that of the
held-out pictures: on training pictures a network is more certain than in service.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ml.datasets import catalogue, dataset
from ml.errors import BadInput
from ml.inference.serving import PreparedPicture
from ml.metrics import (
    bootstrap,
    calibration,
    measures,
    reference_distribution,
    reference_shares,
    subgroups,
)
from ml.metrics.calibration import Calibration, HeldOutPredictions
from ml.network import model
from ml.preprocessing import image_statistics, transforms
from ml.preprocessing.lung_crop import Crop
from ml.recipe import Recipe
from ml.runtime import lung_finder

PER_PIXEL = ("positive_iou", "pixel_iou", "pixel_precision", "pixel_recall", "pixel_accuracy")
FirstStage = Callable[[NDArray[np.uint8]], float | None]


@dataclass(frozen=True)
class PictureResult:
    """One picture as the network's input, and the mask probabilities on that square."""

    picture: NDArray[np.uint8]
    input: NDArray[np.float32]
    crop: Crop | None
    square: NDArray[np.float32]


@torch.no_grad()
def predict(
    net: model.Network,
    pictures: dataset.Pictures,
    recipe: Recipe,
    on_result: Callable[[PictureResult], None] | None = None,
    finding: int = 0,
    gate: FirstStage | None = None,
) -> HeldOutPredictions:
    """Run the network over all pictures and count every outline's pixels; watch sees each answer.

    finding: which of the recipe's classes; gate: the logit of a canonical picture that a first
    network stops, None for one that it does not; on_result: called with each result.

    Hits and areas are counted on the cached pictures' pixels (longest side 512 for networks up
    to that size), where the outline is put back by the same function as in serving.
    """
    hits, found, area, logits = [], [], [], []
    truth, pixels = [], []
    levels = calibration.GRID
    for number in tqdm(range(len(pictures.records)), desc="held out", unit="picture", disable=None):
        picture, mask = pictures.preprocessed(number, recipe), pictures.masks[number]
        crop = pictures.records[number].crop(recipe)
        view = transforms.place(picture, recipe.size, crop)
        probability, image_logit = model.answer(
            net, torch.from_numpy(view)[None, None], recipe.mirror
        )
        square = probability[0, finding].numpy()
        raw = pictures.pictures[number]  # the input of the first network and of the lung finder
        stopped = gate(raw) if gate else None
        if stopped is not None:
            square = np.zeros_like(square)
        if on_result:
            on_result(PictureResult(raw, view, crop, square))
        if mask is not None and mask.ndim == 3:
            mask = mask[..., finding]
        map_ = transforms.to_source(square, picture.shape[0], picture.shape[1], crop)
        drawn = np.zeros(picture.shape, dtype=bool) if mask is None else mask > 127
        hits.append([int((drawn & (map_ >= level)).sum()) for level in levels])
        found.append([int((map_ >= level).sum()) for level in levels])
        # What serving compares with the floor: see ml.inference.serving.PreparedPicture.map_of.
        shown = square if crop is None else map_
        area.append([int((shown >= level).sum()) for level in levels])
        logits.append(float(image_logit[0, finding]) if stopped is None else stopped)
        truth.append(int(drawn.sum()))
        pixels.append(drawn.size)
    return HeldOutPredictions(
        patients=np.array([record.patient for record in pictures.records]),
        image_logits=np.array(logits),
        pixels=np.array(pixels),
        truth=np.array(truth),
        hits=np.array(hits),
        found=np.array(found),
        area_px=np.array(area),
        size=recipe.size,
    )


class ReferenceStatistics:
    """Collects the statistics that a prediction would store, in the order of the pictures."""

    def __init__(self) -> None:
        self._finder = lung_finder.Finder()
        self._rows: list[dict[str, float]] = []

    def __call__(self, answer: PictureResult) -> None:
        fields = self._finder.find(answer.picture)
        map_ = PreparedPicture(answer.input, answer.crop, fields).map_of(answer.square)
        self._rows.append(image_statistics.of_answer(answer.input, map_, fields.mask))

    def reference(
        self, probability: measures.Floats, views: Sequence[str], threshold: float
    ) -> dict[str, Any]:
        """The card's `reference`, with the calibrated image probabilities (n,).

        views: of each picture, empty where it is not known; threshold: the balanced one.
        """
        rows = [
            row | {"probability": float(value)}
            for row, value in zip(self._rows, probability, strict=True)
        ]
        frontal = [
            row | ({reference_shares.VIEW: float(view == "AP")} if view in ("AP", "PA") else {})
            for row, view in zip(rows, views, strict=True)
        ]
        shares = reference_shares.facts(frontal, threshold)
        return reference_distribution.facts(rows) | {"shares": shares}


def groups(
    tables: list[HeldOutPredictions], records: list[catalogue.Record], replicates: int = 500
) -> dict[str, dict[str, Any]]:
    """The card's `subgroups`, cross-fitted like its metrics; records in the tables' order."""
    shown, ranked = _shown(tables)
    known = [_known(record) for record in records]
    plain = replace(shown, probability=ranked.probability)
    found = subgroups.report(plain, concatenated(tables).patients, known, replicates)
    rounded: dict[str, dict[str, Any]] = {}
    for trait, parts in found.items():
        rounded[trait] = {}
        for name, part in parts.items():
            rounded[trait][name] = {
                key: _rounded(value) if isinstance(value, dict) else value
                for key, value in part.items()
            }
    return rounded


def _known(record: catalogue.Record) -> subgroups.Traits:
    known = record.attributes
    exposure = next((tag for tag in known.tags if tag.endswith("_exposed")), "")
    return subgroups.Traits(
        known.view,
        known.sex,
        subgroups.age_group(known.age),
        # A cache of an older version has no tags: then no picture's exposure is known.
        exposure.removesuffix("_exposed") or ("usual" if known.pixels else ""),
        subgroups.agreement(record.positive, known.reported),
    )


def outline_report(
    held_out: HeldOutPredictions, replicates: int = 2000
) -> dict[str, dict[str, Any]]:
    """Dice and IoU of the outline at 0.5, for a network without an image-level output."""
    level = int(np.flatnonzero(np.isclose(calibration.GRID, 0.5))[0])
    everything = np.ones(len(held_out.truth), dtype=bool)
    results = measures.Results(
        hits=held_out.hits[:, level],
        predicted=held_out.found[:, level],
        truth=held_out.truth,
        pixels=held_out.pixels,
        probability=everything.astype(np.float64),
        called=everything,
    )
    found = bootstrap.summary(results, held_out.patients, replicates)
    names = {"dice": "positive_dice", "iou": "positive_iou"}
    return {
        name: {**_rounded(asdict(found[measure])), "n": len(results)}
        for name, measure in names.items()
    }


def concatenated(tables: list[HeldOutPredictions]) -> HeldOutPredictions:
    """The pictures of several folds in one table."""
    arrays = [f.name for f in fields(HeldOutPredictions) if f.name != "size"]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(t, name) for t in tables]) for name in arrays
    }
    return replace(tables[0], **joined)


def pooled(tables: list[HeldOutPredictions], replicates: int = 2000) -> dict[str, dict[str, Any]]:
    """The card's `metrics` and `calibration` over folds, with 95 % intervals over patients.

    Everything that depends on a fitted number (temperature, bias, thresholds) is cross-fitted by
    fold: see calibration.cross_fitted. The ROC's own numbers are those of the plain logits; those
    of different networks are not on one scale, so with several folds they are those of the
    cross-fitted probabilities.
    """
    held_out = concatenated(tables)
    shown, plain = _shown(tables)
    outlined = _outlined(tables)

    def part(results: measures.Results, *names: str) -> dict[str, dict[str, Any]]:
        found = bootstrap.summary(results, held_out.patients, replicates)
        some = int(results.positive.sum())
        counts = {"positive_dice": some, "sensitivity": some, "specificity": len(results) - some}
        counts["sensitivity_at_specificity_0.93"] = some
        return {
            name: {**_rounded(asdict(found[name])), "n": counts.get(name, len(results))}
            for name in names
        }

    measured = part(
        shown, "kaggle_dice", "positive_dice", "sensitivity", "specificity", "ece", "brier"
    )
    measured |= part(plain, "auc", "sensitivity_at_specificity_0.93")
    measured["positive_dice_ungated"] = part(outlined, "positive_dice")["positive_dice"]
    return {
        "metrics": measured,
        "calibration": {"ece": measured["ece"]["value"], "brier": measured["brier"]["value"]},
    }


def compare(
    tables: list[HeldOutPredictions], others: list[HeldOutPredictions], replicates: int = 2000
) -> dict[str, dict[str, Any]]:
    """The difference of each measure to other networks on the same pictures, paired.

    Both are cross-fitted like `pooled`. BadInput where the pictures are not the same.
    """
    ours, theirs = concatenated(tables), concatenated(others)
    if not all(
        np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in ("patients", "truth")
    ):
        raise BadInput("the two were measured on different pictures, or in different sizes")
    names = ("kaggle_dice", "positive_dice", "sensitivity", "specificity", "ece", "brier")
    roc = ("auc", "sensitivity_at_specificity_0.93")
    (shown, plain), (their_shown, their_plain) = _shown(tables), _shown(others)
    found = bootstrap.difference(shown, their_shown, ours.patients, replicates, names=names)
    found |= bootstrap.difference(plain, their_plain, ours.patients, replicates, names=roc)
    outlined, their_outlined = (_outlined(part) for part in (tables, others))
    dice = "positive_dice"
    found[f"{dice}_ungated"] = bootstrap.difference(
        outlined, their_outlined, ours.patients, replicates, names=[dice]
    )[dice]
    return {name: _rounded(asdict(value)) for name, value in found.items()}


def pixels(tables: list[HeldOutPredictions], replicates: int = 2000) -> dict[str, dict[str, Any]]:
    """Measures per pixel, of what is shown: cross-fitted, of called pictures, like `pooled`."""
    found = bootstrap.summary(
        _shown(tables)[0], concatenated(tables).patients, replicates, names=PER_PIXEL
    )
    return {name: _rounded(asdict(value)) for name, value in found.items()}


def for_kaggle(
    tables: list[HeldOutPredictions], replicates: int = 2000
) -> dict[str, dict[str, Any]]:
    """Kaggle Dice with thresholds that are chosen for it, cross-fitted; and with no outline at all.

    As in the competition, whose scores are largely those of an empty prediction.
    """
    results = measures.concatenated(
        [calibration.cross_fitted(table, chosen=calibration.choose_for_kaggle) for table in tables]
    )
    nothing = np.zeros_like(results.truth)
    empty = replace(results, hits=nothing, predicted=nothing)
    patients = concatenated(tables).patients
    return {
        name: _rounded(
            asdict(
                bootstrap.summary(one, patients, replicates, names=["kaggle_dice"])["kaggle_dice"]
            )
        )
        for name, one in (("kaggle_dice_chosen_for", results), ("kaggle_dice_empty", empty))
    }


def _shown(tables: list[HeldOutPredictions]) -> tuple[measures.Results, measures.Results]:
    """The shown results, cross-fitted by fold; and the same with the probabilities of the ROC.

    Those are from the plain logits of one network, or the cross-fitted ones of several.
    """
    shown = measures.concatenated([calibration.cross_fitted(table) for table in tables])
    if len(tables) > 1:
        return shown, shown
    logits = Calibration().probability(tables[0].image_logits)
    return shown, replace(shown, probability=logits)


def _outlined(tables: list[HeldOutPredictions]) -> measures.Results:
    """Every outline, whether its picture is called or not, cross-fitted by fold."""
    return measures.concatenated(
        [calibration.cross_fitted(table, called_only=False) for table in tables]
    )


def _rounded(values: dict[str, float]) -> dict[str, float | None]:
    """As JSON has it: a number that is not defined is null."""
    return {name: None if math.isnan(value) else round(value, 4) for name, value in values.items()}
