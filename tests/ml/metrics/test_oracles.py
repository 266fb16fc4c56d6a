"""Our measures beside those of other libraries, on random masks and on every empty case.

pycocotools and torchmetrics come with the tests (torchmetrics where torch is). MONAI and
DeepMind's surface-distance are the `oracle` extra: `pip install -e '.[oracle]'`.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ml.metrics import curves, measures, surface_distance

SHAPE = (48, 40)
NAN, INF = math.nan, math.inf


def library(name: str) -> ModuleType:
    """A library, or a skipped test that says how to get it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name}: pip install -e '.[train,oracle]'")


def blob(random: np.random.Generator) -> np.ndarray:
    """A mask of a few ellipses, as outlines are: connected, of any size."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mask = np.zeros(SHAPE, dtype=bool)
    for _ in range(random.integers(1, 4)):
        row, column = random.uniform(0, SHAPE[0]), random.uniform(0, SHAPE[1])
        tall, wide = random.uniform(2, 14, 2)
        mask |= ((y - row) / tall) ** 2 + ((x - column) / wide) ** 2 <= 1
    return mask


def pairs(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Non-empty pairs of masks."""
    random = np.random.default_rng(seed)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    while len(found) < count:
        pair = blob(random), blob(random)
        if all(mask.any() for mask in pair):
            found.append(pair)
    return found


EMPTY, SOME = np.zeros(SHAPE, dtype=bool), np.zeros(SHAPE, dtype=bool)
SOME[10:20, 5:25] = True
CASES = {
    "both empty": (EMPTY, EMPTY),
    "truth empty": (SOME, EMPTY),
    "prediction empty": (EMPTY, SOME),
}


def ours_dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    counts = (predicted & truth).sum(), predicted.sum(), truth.sum()
    return float(measures.dice(*(np.array([count]) for count in counts))[0])


def ours_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    counts = (predicted & truth).sum(), predicted.sum(), truth.sum()
    return float(measures.iou(*(np.array([count]) for count in counts))[0])


def tensor(mask: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(mask.astype(np.int64))[None, None]


def monai_dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    compute = library("monai.metrics").compute_dice
    return float(compute(tensor(predicted), tensor(truth), ignore_empty=False))


def monai_dice_by_default(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(library("monai.metrics").compute_dice(tensor(predicted), tensor(truth)))


def monai_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    compute = library("monai.metrics").compute_iou
    return float(compute(tensor(predicted), tensor(truth), ignore_empty=False))


def monai_hausdorff(predicted: np.ndarray, truth: np.ndarray) -> float:
    compute = library("monai.metrics").compute_hausdorff_distance
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of empty masks, which is what we ask about
        found = compute(tensor(predicted), tensor(truth), include_background=True, percentile=95)
    return float(found)


def monai_mean_distance(predicted: np.ndarray, truth: np.ndarray) -> float:
    compute = library("monai.metrics").compute_average_surface_distance
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compute(tensor(predicted), tensor(truth), include_background=True, symmetric=True)
    return float(found)


def torchmetrics_dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    dice = library("torchmetrics.functional.segmentation").dice_score
    return float(dice(tensor(predicted), tensor(truth), num_classes=1, average="none")[0, 0])


def torchmetrics_jaccard(predicted: np.ndarray, truth: np.ndarray) -> float:
    jaccard = library("torchmetrics.functional.classification").binary_jaccard_index
    return float(jaccard(tensor(predicted), tensor(truth)))


def deepmind_dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    theirs = library("surface_distance")
    with pytest.MonkeyPatch.context() as patch:
        # Its release knows only the name that numpy 2 has dropped.
        patch.setattr(np, "NaN", NAN, raising=False)
        return float(theirs.compute_dice_coefficient(truth, predicted))


def deepmind_hausdorff(predicted: np.ndarray, truth: np.ndarray) -> float:
    theirs = library("surface_distance")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances = theirs.compute_surface_distances(truth, predicted, (1.0, 1.0))
        return float(theirs.compute_robust_hausdorff(distances, 95))


def coco_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    codes = library("pycocotools.mask")
    first, second = (
        codes.encode(np.asfortranarray(m.astype(np.uint8))) for m in (predicted, truth)
    )
    return float(codes.iou([first], [second], [0])[0, 0])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (coco_iou, ours_iou),
        pytest.param(torchmetrics_dice, ours_dice, marks=pytest.mark.torch),
        pytest.param(torchmetrics_jaccard, ours_iou, marks=pytest.mark.torch),
        pytest.param(monai_dice, ours_dice, marks=pytest.mark.torch),
        pytest.param(monai_iou, ours_iou, marks=pytest.mark.torch),
        (deepmind_dice, ours_dice),
    ],
    ids=lambda function: function.__name__,
)
def test_overlap_is_the_same_in_every_library(
    theirs: Callable[..., float], ours: Callable[..., float]
) -> None:
    for predicted, truth in pairs(100):
        assert theirs(predicted, truth) == pytest.approx(ours(predicted, truth), abs=1e-6)


# What each library says of empty masks, beside ours. They agree nowhere, so this is written down.
TABLE = [
    # measure, both empty, truth empty, prediction empty
    (ours_dice, 1, 0, 0),
    (ours_iou, 1, 0, 0),
    (coco_iou, 0, 0, 0),
    (torchmetrics_dice, NAN, 0, 0),
    (torchmetrics_jaccard, 0, 0, 0),
    (monai_dice, 1, 0, 0),
    (monai_dice_by_default, NAN, NAN, 0),
    (monai_iou, 1, 0, 0),
    (deepmind_dice, NAN, 0, 0),
    (monai_hausdorff, NAN, NAN, NAN),
    (deepmind_hausdorff, INF, INF, INF),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0].__name__)
def test_empty_masks_are_what_this_table_says(row: tuple[Any, ...]) -> None:
    measure, *expected = row
    if measure.__name__.startswith(("torchmetrics", "monai")):
        pytest.importorskip("torch", reason="torch is not installed")
    said = [measure(*masks) for masks in CASES.values()]
    assert said == pytest.approx(expected, nan_ok=True)


def test_ours_has_no_distance_to_an_empty_mask() -> None:
    for masks in CASES.values():
        assert math.isnan(surface_distance.distances(*masks).hausdorff95)
        assert math.isnan(surface_distance.distances(*masks).mean)


@pytest.mark.torch
def test_border_distances_are_those_of_monai() -> None:
    for predicted, truth in pairs(40, seed=1):
        found = surface_distance.distances(predicted, truth)
        assert found.hausdorff95 == pytest.approx(monai_hausdorff(predicted, truth), abs=1e-4)
        assert found.mean == pytest.approx(monai_mean_distance(predicted, truth), abs=1e-4)


def test_border_distances_are_within_a_pixel_of_deepminds() -> None:
    """Theirs lie between pixels and are weighted by the border's length: they differ a little."""
    for predicted, truth in pairs(40, seed=2):
        found = surface_distance.distances(predicted, truth).hausdorff95
        assert found == pytest.approx(deepmind_hausdorff(predicted, truth), abs=1.5)


def answers(count: int, seed: int, grid: bool = False) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    positive = random.random(count) < 0.3
    probability = np.clip(0.3 + 0.3 * positive + random.normal(0, 0.2, count), 0, 1)
    return (np.round(probability, 1) if grid else probability), positive


@pytest.mark.torch
@pytest.mark.parametrize("grid", [False, True], ids=["all different", "many ties"])
def test_image_measures_are_those_of_torchmetrics(grid: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = library("torchmetrics.functional.classification")
    for seed in range(5):
        probability, positive = answers(300, seed, grid)
        said, true = torch.from_numpy(probability), torch.from_numpy(positive.astype(np.int64))
        assert measures.auc(probability, positive) == pytest.approx(
            float(theirs.binary_auroc(said, true)), abs=1e-6
        )
        assert curves.average_precision(probability, positive) == pytest.approx(
            float(theirs.binary_average_precision(said, true)), abs=1e-6
        )
        if not grid:  # on bin edges the libraries put a probability on different sides
            assert measures.ece(probability, positive) == pytest.approx(
                float(theirs.binary_calibration_error(said, true, n_bins=15)), abs=1e-6
            )
        found, _ = theirs.binary_sensitivity_at_specificity(said, true, min_specificity=0.93)
        assert measures.sensitivity_at_specificity(probability, positive) == pytest.approx(
            float(found), abs=1e-6
        )


@pytest.mark.torch
def test_pixel_measures_are_those_of_torchmetrics() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    theirs = library("torchmetrics.functional.classification")
    masks = [*pairs(20, seed=3), *CASES.values()]
    predicted, truth = (np.stack(part) for part in zip(*masks, strict=True))
    said, true = torch.from_numpy(predicted * 1), torch.from_numpy(truth * 1)

    def sums(flags: np.ndarray) -> np.ndarray:
        return flags.sum((1, 2))

    results = measures.Results(
        sums(predicted & truth),
        sums(predicted),
        sums(truth),
        np.full(len(masks), truth[0].size),
        np.full(len(masks), 0.5),
        sums(predicted) > 0,
    )
    for ours, name in (
        (measures.pixel_precision, "binary_precision"),
        (measures.pixel_recall, "binary_recall"),
        (measures.pixel_accuracy, "binary_accuracy"),
        (measures.pixel_iou, "binary_jaccard_index"),
    ):
        assert ours(results) == pytest.approx(float(getattr(theirs, name)(said, true)), abs=1e-6)


def test_the_brier_score_is_the_mean_square() -> None:
    probability, positive = answers(500, 9)
    slow = sum((p - y) ** 2 for p, y in zip(probability, positive, strict=True)) / 500
    assert measures.brier(probability, positive) == pytest.approx(slow)


def test_libraries_of_the_tests_are_there() -> None:
    """pycocotools always, and torchmetrics wherever torch is: never only skipped oracles."""
    importlib.import_module("pycocotools.mask")
    try:
        importlib.import_module("torch")
    except ModuleNotFoundError:
        return
    importlib.import_module("torchmetrics")
