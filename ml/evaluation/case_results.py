"""The results of a model on every case: its outline beside the true one, and its probability.

Owns what is measured on one picture; `ml.evaluation.evaluate` is the command.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from tqdm import tqdm

from ml.datasets import cases
from ml.datasets.cases import Case
from ml.images import reader
from ml.images.picture import Picture
from ml.inference import outline, predict, severity
from ml.inference.serving import PreparedPicture, Serving
from ml.metrics import calibration, subgroups, surface_distance
from ml.metrics.calibration import HeldOutPredictions
from ml.metrics.measures import Counts, Results
from ml.preprocessing import image_statistics, transforms
from ml.quality import gate


@dataclass
class CaseResults:
    """One row per picture, in the order of the cases, and the pictures without a result."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    known: list[subgroups.Traits] = field(default_factory=list)
    # For each picture, pixels at every level of calibration.GRID: true positives, outlined, and
    # outlined on the map.
    levels: list[tuple[Counts, Counts, Counts]] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    refused: dict[str, list[str]] = field(default_factory=dict)

    def results(self) -> Results:
        def column(name: str, kind: type) -> NDArray[Any]:
            return np.array([row[name] for row in self.rows], dtype=kind)

        return Results(
            hits=column("hits", np.int64),
            predicted=column("predicted", np.int64),
            truth=column("truth", np.int64),
            pixels=column("pixels", np.int64),
            probability=column("probability", np.float64),
            called=column("called", np.bool_),
        )

    def held_out(self, size: int) -> HeldOutPredictions:
        """The predictions from which thresholds can be chosen; size: of the network's square."""
        results = self.results()
        hits, found, area = (np.array(counts) for counts in zip(*self.levels, strict=True))
        return HeldOutPredictions(
            patients=np.array(self.patients),
            image_logits=logit(np.clip(results.probability, 1e-6, 1 - 1e-6)),
            pixels=results.pixels,
            truth=results.truth,
            hits=hits,
            found=found,
            area_px=area,
            size=size,
        )


def measure(
    listed_cases: list[Case],
    opened: Serving,
    operating_point: predict.OperatingPoint = "balanced",
    shape: tuple[int, int] = cases.MASK_SHAPE,
    leave_out_refused: bool = False,
    listed: dict[str, dict[str, str]] | None = None,
) -> CaseResults:
    """Run the model on every case. leave_out_refused: not on pictures that quality refuses.

    listed: traits of the pictures from an index, by id.
    """
    results = CaseResults()
    batch = 16 if opened.device.startswith("cuda") else 1
    progress = tqdm(total=len(listed_cases), desc="evaluating", unit="picture", disable=None)
    for read in _batches(_read(listed_cases, opened, results, leave_out_refused, progress), batch):
        prepared = [one.prepared for one in read]
        stops = opened.screened_out(prepared)
        masks, images = opened.run(prepared)
        for one, mask, image, stop in zip(read, masks, images, stops, strict=True):
            if stop is not None:
                mask, image = np.zeros_like(mask), stop
            traits = (listed or {}).get(one.case.id, {})
            _add(results, one, mask, float(image), opened, operating_point, shape, traits)
    progress.close()
    return results


def _add(
    results: CaseResults,
    read: _ReadCase,
    mask: NDArray[np.float32],
    probability: float,
    opened: Serving,
    operating_point: predict.OperatingPoint,
    shape: tuple[int, int],
    traits: dict[str, str],
) -> None:
    """Outline one case and add its results."""
    thresholds = opened.card["thresholds"]
    band = predict.band_of(probability, thresholds["image"], operating_point)
    outlined = np.zeros(shape, dtype=np.bool_)
    map_ = read.prepared.map_of(mask)
    if band != "none_found":
        outlined = outline.mask(
            map_,
            thresholds["mask"],
            thresholds["area_px_min"],
            *shape,
            island_px_min=outline.island_floor(thresholds),
        )
    truth = read.case.truth(*shape)
    distances = surface_distance.distances(outlined, truth)
    known = subgroups.traits(
        traits, read.view, read.sex, read.years, read.exposure, bool(truth.any())
    )
    results.known.append(known)
    results.levels.append(counted(map_, truth))
    results.rows.append(
        {
            "id": read.case.id,
            "probability": probability,
            "called": band != "none_found",
            "hits": int((outlined & truth).sum()),
            "predicted": int(outlined.sum()),
            "truth": int(truth.sum()),
            "pixels": truth.size,
            "border_mean_px": round(distances.mean, 2),
            "hausdorff95_px": round(distances.hausdorff95, 2),
            "lesions": cv2.connectedComponents(outlined.astype(np.uint8))[0] - 1,
            "severity": severity.of_mask(outlined, read.prepared.fields) or "",
            "quality": read.verdict,
            **asdict(known),
        }
    )
    results.patients.append(read.case.patient)


def counted(map_: NDArray[np.uint8], truth: NDArray[np.bool_]) -> tuple[Counts, Counts, Counts]:
    """Pixels at or above each level of calibration.GRID.

    Those of the enlarged map inside of the true mask, all of it, and those of the map itself.
    """
    levels = (calibration.GRID * 255).astype(np.float32)
    bins = len(levels) + 1
    hits, outlined = np.zeros(bins, dtype=np.int64), np.zeros(bins, dtype=np.int64)
    for part, large in outline.enlarged(map_, *truth.shape):
        reached = np.searchsorted(levels, large, side="right")
        outlined += np.bincount(reached.ravel(), minlength=bins)
        hits += np.bincount(reached[truth[part]], minlength=bins)
    on_map = np.bincount(np.searchsorted(levels, map_, side="right").ravel(), minlength=bins)
    return _at_or_above(hits), _at_or_above(outlined), _at_or_above(on_map)


def _at_or_above(counts: NDArray[Any]) -> Counts:
    """Pixels at or above level k: the sum of the bins k + 1 and above."""
    above: Counts = counts[::-1].cumsum()[::-1][1:].astype(np.int64)
    return above


@dataclass(frozen=True)
class _ReadCase:
    case: Case
    prepared: PreparedPicture
    verdict: str
    view: str | None
    sex: str | None
    years: float | None
    exposure: str


def _read(
    listed_cases: list[Case],
    opened: Serving,
    results: CaseResults,
    leave_out_refused: bool,
    progress: Any,
) -> Iterator[_ReadCase]:
    """Read and check pictures, ahead of the network."""

    def read(case: Case) -> tuple[Picture, PreparedPicture] | str:
        try:
            picture = reader.read(case.file.read_bytes()).without_hidden()
        except reader.Unreadable as error:
            return f"{error.code}: {error.message}"
        except OSError as error:
            return f"cannot be opened: {error.strerror}"
        return picture, opened.prepare(picture.pixels)

    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(read, case) for case in listed_cases[:2]]
        for number, case in enumerate(listed_cases):
            found = ahead.pop(0).result()
            if number + 2 < len(listed_cases):
                ahead.append(pool.submit(read, listed_cases[number + 2]))
            progress.update()
            if isinstance(found, str):
                results.unreadable[case.id] = found
                continue
            picture, prepared = found
            checked = gate.check(picture, partial(getattr, prepared, "typicality"))
            if checked.verdict == "refused":
                results.refused[case.id] = [r.code for r in checked.reasons if r.refuses]
                if leave_out_refused:
                    continue
            numbers = image_statistics.of_canonical(transforms.canonical(picture.pixels, 512))
            yield _ReadCase(
                case,
                prepared,
                checked.verdict,
                picture.view,
                picture.patient_sex,
                picture.patient_age_years,
                image_statistics.exposure(numbers),
            )


def _batches(read: Iterator[_ReadCase], size: int) -> Iterator[list[_ReadCase]]:
    while batch := list(itertools.islice(read, size)):
        yield batch
