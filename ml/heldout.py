"""What a network says about the held-out fold of a cache, and the card's numbers from it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ml import calibrate, data, metrics, model, transforms
from ml.calibrate import HeldOut
from ml.config import Config


@torch.no_grad()
def tables(net: model.Segmenter, pictures: data.Pictures, config: Config) -> HeldOut:
    """Run the network over all pictures and count every outline's pixels.

    Hits and areas are counted on the cached pictures' pixels (longest side 512 for networks up
    to that size), where the outline is put back by the same function as in serving.
    """
    hits, found, area, logits = [], [], [], []
    truth, pixels = [], []
    levels = calibrate.GRID
    for number in tqdm(range(len(pictures.records)), desc="held out", unit="picture"):
        picture, mask = pictures.pictures[number], pictures.masks[number]
        crop = pictures.records[number].crop(config)
        view = torch.from_numpy(transforms.place(picture, config.size, crop))[None, None]
        probability, image_logit = model.answer(net, view, config.mirror)
        square = probability[0, 0].numpy()
        map_ = transforms.to_source(square, picture.shape[0], picture.shape[1], crop)
        drawn = np.zeros(picture.shape, dtype=bool) if mask is None else mask > 127
        hits.append([int((drawn & (map_ >= level)).sum()) for level in levels])
        found.append([int((map_ >= level).sum()) for level in levels])
        # What serving compares with the floor: see ml.serving.Seen.map_of.
        shown = square if crop is None else map_
        area.append([int((shown >= level).sum()) for level in levels])
        logits.append(float(image_logit))
        truth.append(int(drawn.sum()))
        pixels.append(drawn.size)
    return HeldOut(
        patients=np.array([record.patient for record in pictures.records]),
        image_logits=np.array(logits),
        pixels=np.array(pixels),
        truth=np.array(truth),
        hits=np.array(hits),
        found=np.array(found),
        area_px=np.array(area),
        size=config.size,
    )


def outline_report(held_out: HeldOut, replicates: int = 2000) -> dict[str, dict[str, Any]]:
    """Dice and IoU of the outline at 0.5, for a network that outlines and judges nothing."""
    level = int(np.flatnonzero(np.isclose(calibrate.GRID, 0.5))[0])
    everything = np.ones(len(held_out.truth), dtype=bool)
    results = metrics.Results(
        hits=held_out.hits[:, level],
        predicted=held_out.found[:, level],
        truth=held_out.truth,
        pixels=held_out.pixels,
        probability=everything.astype(np.float64),
        called=everything,
    )
    found = metrics.summary(results, held_out.patients, replicates)
    names = {"dice": "positive_dice", "iou": "positive_iou"}
    return {
        name: {**_rounded(asdict(found[measure])), "n": len(results)}
        for name, measure in names.items()
    }


def report(held_out: HeldOut, replicates: int = 2000) -> dict[str, dict[str, Any]]:
    """The card's `metrics` and `calibration`, with 95 % bootstrap intervals over patients.

    Everything that depends on a fitted number (temperature, bias, thresholds) is cross-fitted:
    see calibrate.cross_fitted. The ROC's own numbers are those of the network's plain logits.
    """
    shown = calibrate.cross_fitted(held_out)
    outlined = calibrate.cross_fitted(held_out, gated=False)
    plain = replace(shown, probability=calibrate.Calibration().probability(held_out.image_logits))

    def part(results: metrics.Results, *names: str) -> dict[str, dict[str, float]]:
        found = metrics.summary(results, held_out.patients, replicates)
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


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
