"""The results of a model on every case: its outline beside the true one, and its probability.

Owns what is measured on one picture; `ml.evaluation.evaluate` is the command.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from tqdm import tqdm

from ml.datasets import cases
from ml.datasets.cases import Case
from ml.images import reader
from ml.inference import predict
from ml.inference.serving import Seen, Serving
from ml.metrics import calibration, subgroups, surface_distance
from ml.metrics.calibration import HeldOut
from ml.metrics.measures import Counts, Results
from ml.preprocessing import image_statistics, transforms
from ml.quality import gate


@dataclass
class CaseResults:
    """One row per picture, in the order of the cases, and what could not be measured."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    known: list[subgroups.Traits] = field(default_factory=list)
    # For each picture, pixels at every level of calibration.GRID: hits, found, and on the map.
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

    def held_out(self, size: int) -> HeldOut:
        """What thresholds can be chosen from; size: of the network's square."""
        results = self.results()
        hits, found, area = (np.array(counts) for counts in zip(*self.levels, strict=True))
        return HeldOut(
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
    found: list[Case],
    opened: Serving,
    operating_point: predict.OperatingPoint = "balanced",
    shape: tuple[int, int] = cases.MASK_SHAPE,
    leave_out_refused: bool = False,
    listed: dict[str, dict[str, str]] | None = None,
) -> CaseResults:
    """Run the model on every case; leave_out_refused: without pictures that quality refuses.

    listed: traits of the pictures by an index, by id.
    """
    thresholds = opened.card["thresholds"]
    results = CaseResults()
    batch = 16 if opened.device.startswith("cuda") else 1
    progress = tqdm(total=len(found), desc="evaluating", unit="picture", disable=None)
    for prepared in _batches(_prepare(found, opened, results, leave_out_refused, progress), batch):
        views = [one.seen for one in prepared]
        stops = opened.stopped(views)
        masks, images = opened.run(views)
        for one, mask, image, stop in zip(prepared, masks, images, stops, strict=True):
            if stop is not None:
                mask, image = np.zeros_like(mask), stop
            band = predict.band_of(float(image), thresholds["image"], operating_point)
            outlined = np.zeros(shape, dtype=np.bool_)
            map_ = one.seen.map_of(mask)
            if band != "none_found":
                outlined = predict.outline(
                    map_, thresholds["mask"], thresholds["area_px_min"], *shape
                )
            truth = one.case.truth(*shape)
            apart = surface_distance.distances(outlined, truth)
            known = subgroups.traits(
                (listed or {}).get(one.case.id, {}),
                one.view,
                one.sex,
                one.years,
                one.exposure,
                bool(truth.any()),
            )
            results.known.append(known)
            results.levels.append(counted(map_, truth))
            results.rows.append(
                {
                    "id": one.case.id,
                    "probability": float(image),
                    "called": band != "none_found",
                    "hits": int((outlined & truth).sum()),
                    "predicted": int(outlined.sum()),
                    "truth": int(truth.sum()),
                    "pixels": truth.size,
                    "border_mean_px": round(apart.mean, 2),
                    "hausdorff95_px": round(apart.hausdorff95, 2),
                    "quality": one.verdict,
                    **asdict(known),
                }
            )
            results.patients.append(one.case.patient)
    progress.close()
    return results


def counted(map_: NDArray[np.uint8], truth: NDArray[np.bool_]) -> tuple[Counts, Counts, Counts]:
    """Pixels at or above each level of calibration.GRID: right ones, all, and those of the map."""
    levels = (calibration.GRID * 255).astype(np.float32)
    bins = len(levels) + 1
    hits, found = np.zeros(bins, dtype=np.int64), np.zeros(bins, dtype=np.int64)
    for part, large in predict.enlarged(map_, *truth.shape):
        reached = np.searchsorted(levels, large, side="right")
        found += np.bincount(reached.ravel(), minlength=bins)
        hits += np.bincount(reached[truth[part]], minlength=bins)
    on_map = np.bincount(np.searchsorted(levels, map_, side="right").ravel(), minlength=bins)
    # How many reached at least level k: what fell into the bins k + 1 and above.
    return _at_or_above(hits), _at_or_above(found), _at_or_above(on_map)


def _at_or_above(counts: NDArray[Any]) -> Counts:
    above: Counts = counts[::-1].cumsum()[::-1][1:].astype(np.int64)
    return above


@dataclass(frozen=True)
class _Prepared:
    case: Case
    seen: Seen
    verdict: str
    view: str | None
    sex: str | None
    years: float | None
    exposure: str


def _prepare(
    found: list[Case], opened: Serving, results: CaseResults, leave_out_refused: bool, progress: Any
) -> Iterator[_Prepared]:
    """Read and check pictures, one ahead of the network."""

    def read(case: Case) -> tuple[reader.Picture | str, Seen | None]:
        try:
            picture = reader.read(case.file.read_bytes())
        except reader.Unreadable as error:
            return f"{error.code}: {error.message}", None
        except OSError as error:
            return f"cannot be opened: {error.strerror}", None
        return picture, opened.see(picture.pixels)

    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(read, case) for case in found[:2]]
        for number, case in enumerate(found):
            picture, seen = ahead.pop(0).result()
            if number + 2 < len(found):
                ahead.append(pool.submit(read, found[number + 2]))
            progress.update()
            if isinstance(picture, str) or seen is None:
                results.unreadable[case.id] = str(picture)
                continue
            checked = gate.check(picture, seen.look)
            if checked.verdict == "refused":
                results.refused[case.id] = [r.code for r in checked.reasons if r.refuses]
                if leave_out_refused:
                    continue
            looks = image_statistics.of_canonical(transforms.canonical(picture.pixels, 512))
            yield _Prepared(
                case,
                seen,
                checked.verdict,
                picture.view,
                picture.patient_sex,
                picture.patient_age_years,
                image_statistics.exposure(looks),
            )


def _batches(prepared: Iterator[_Prepared], size: int) -> Iterator[list[_Prepared]]:
    batch: list[_Prepared] = []
    for one in prepared:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
