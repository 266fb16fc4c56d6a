"""The card.json of an exported model: what it is, where its data come from, and its limits."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ml.evaluation.card_sections import OUTLINE_USE, USE
from ml.metrics.calibration import ISLAND_SHARE, Calibration, Thresholds
from ml.preprocessing import transforms
from ml.recipe import Recipe
from ml.runtime import lung_finder, session

TERMS = (
    "SIIM-ACR Pneumothorax Segmentation Challenge data (Society for Imaging Informatics in "
    "Medicine and American College of Radiology, 2019; pictures from NIH ChestX-ray14), under "
    "their terms: research. The pictures are not part of this package."
)
WHAT = (
    "Chest X-rays with radiologists' outlines of pneumothorax (SIIM-ACR), and pictures of the same "
    "hospital with an image-level label by a radiologist panel"
)
# Where a recipe has soft labels, unlabelled pictures have them, too.
SOFT_LABELS_WHAT = (
    ". Also trained on, with soft labels of other networks alone: unlabelled pictures of other "
    "hospitals"
)
SOFT_LABELS_TERMS = (
    " The unlabelled ones are of public collections for research (COVID-19 image data collection, "
    "Cohen et al. 2020; Figure 1 and Actualmed COVID-19 chest X-ray collections; a few others)."
)
LIMITS = [
    "Research use. Not a medical device; every result needs a radiologist's reading.",
    "Outlined and measured on pictures of one hospital (NIH Clinical Center), frontal views of "
    "mostly adults, 8 bit, with disputed labels: two radiologist panels differ on about 15 % of "
    "shared pictures.",
    "A drained pneumothorax, skin folds, the scapula's border and subcutaneous air mislead it.",
    "The outline's area is that of a projection, not a volume.",
]

OUTLINE_TERMS = (
    "Chest X-rays with lung masks that are published for research: JSRT (Japanese Society of "
    "Radiological Technology; masks of the SCR database), Wingspan, OpenIST. The pictures are not "
    "part of this package."
)
OUTLINE_DATA = {"what": "Chest X-rays with lung masks", "terms": OUTLINE_TERMS}
OUTLINE_LIMITS = [
    "Research use. Not a medical device.",
    "Trained on lungs without a pneumothorax, most of them healthy: the border of a collapsed lung "
    "or of an opacity may be drawn beside the pleura.",
]


def build(
    recipe: Recipe,
    calibration: Calibration,
    thresholds: Thresholds,
    facts: dict[str, Any],
    limits: list[str],
    sums: dict[str, str],
) -> dict[str, Any]:
    """The whole card. facts: the parts that do not follow from the rest; sums: sha256 by file."""
    unlabelled = bool(recipe.taught) and "unlabelled" in recipe.sources
    return {
        **facts,
        "architecture": {
            "name": recipe.architecture,
            "encoder": recipe.encoder,
            "decoder_channels": list(recipe.decoder_channels),
            "outline_stride": recipe.outline_stride,
            "size": recipe.size,
        },
        "classes": list(recipe.classes),
        "preprocessing": {
            "function": "ml.inference.serving.Serving.prepare",
            "grey": f"percentiles {transforms.PERCENTILES[0]} to {transforms.PERCENTILES[1]} "
            "of the picture become -1..1, more being denser",
            "denoise": recipe.denoise,
            "clahe": recipe.clahe,
            "crop": recipe.crop,
            **({"lungs_sha256": lung_finder.Finder().card["sha256"]} if recipe.crop else {}),
            "geometry": ("the window around the lungs, else all" if recipe.crop else "all")
            + f" of the picture on {recipe.size} x {recipe.size}, padding -1, by way of "
            f"{transforms.canonical_side(recipe.size, bool(recipe.crop))} px",
        },
        "thresholds": {
            "mask": thresholds.mask,
            "area_px_min": thresholds.area_px_min,
            "island_px_min": round(ISLAND_SHARE * recipe.size**2) if recipe.image_weight else 0,
            "image": {
                "high_sensitivity": thresholds.high_sensitivity,
                "balanced": thresholds.balanced,
                "high_precision": thresholds.high_precision,
            },
        },
        "use": USE if recipe.image_weight else OUTLINE_USE,
        "calibration": asdict(calibration) | facts.get("calibration", {}),
        "metrics": facts.get("metrics", {}),
        "data": {
            "what": WHAT + SOFT_LABELS_WHAT * unlabelled,
            "counts": {},
            "folds": "five folds, no patient in two; held out: "
            + (f"fold {recipe.held_out_fold}" if recipe.held_out_fold >= 0 else "none"),
            "terms": TERMS + SOFT_LABELS_TERMS * unlabelled,
            **facts.get("data", {}),
        },
        "limits": limits,
        "files": sums,
        "sha256": sums[session.TENSORS if recipe.image_weight else session.GRAPH_WEIGHTS],
    }
