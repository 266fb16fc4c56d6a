"""Measure a model: `python -m ml evaluate --rle FILE --dicom DIR --json OUT`.

Every listed picture goes through the same steps as in service; the outline is compared with the
radiologists' in the masks' own geometry (the competition's 1024 x 1024, whatever the size of the
picture), and the measures of ``ml.metrics.measures`` are printed with 95 % intervals. `--report
DIR` writes them as a page and a PDF with plots and a gallery; those hold patients' pictures.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from tqdm import tqdm

from ml import cli_options
from ml.datasets import cases
from ml.datasets.cases import Case, Cases
from ml.errors import BadInput
from ml.evaluation import report, report_text
from ml.images import reader
from ml.inference import predict, serving
from ml.inference.serving import Seen, Serving
from ml.metrics import calibration, subgroups, surface_distance
from ml.metrics.calibration import HeldOut
from ml.metrics.measures import Counts, Results
from ml.preprocessing import image_statistics, transforms
from ml.quality import gate as quality
from ml.runtime import session

# Exit codes: 1 an error, 2 wrong use, and this one when pictures were missing or unreadable.
INCOMPLETE = 3


@dataclass
class Evaluated:
    """One row per picture, in the order of the cases, and what could not be measured."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
    known: list[subgroups.Traits] = field(default_factory=list)
    # For each picture, pixels at every level of calibrate.GRID: hits, found, and on the map.
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--rle", type=Path, required=True, help="CSV: ImageId, EncodedPixels")
    parser.add_argument(
        "--dicom", type=Path, required=True, help="folder of DICOM, PNG or JPEG named by ImageId"
    )
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write report.html, report.pdf and report.json here (needs matplotlib); "
        "the gallery shows pictures: keep the folder where patients' pictures may be",
    )
    parser.add_argument(
        "--gallery",
        type=cli_options.within(int, 0, 100),
        default=6,
        help="pictures of each kind in it",
    )
    parser.add_argument("--rows", type=Path, help="write a CSV with one row per picture here")
    parser.add_argument("--weights", type=Path, help="a model's folder (default: the shipped one)")
    parser.add_argument(
        "--index",
        type=Path,
        help="CSV: ImageId, patient; and fold, view, sex, age, exposure where known",
    )
    parser.add_argument("--fold", help="only the pictures of this fold of the index")
    parser.add_argument(
        "--mask-size",
        type=cli_options.within(int, 1, 20_000),
        nargs=2,
        default=cases.MASK_SHAPE,
        metavar=("ROWS", "COLUMNS"),
        help="of the table's masks, in pixels (default: the competition's, 1024 1024)",
    )
    group = parser.add_argument_group("thresholds, instead of the model's own")
    group.add_argument(
        "--operating-point",
        choices=predict.OPERATING_POINTS,
        default="balanced",
        help="which of the model's image thresholds calls a picture positive (default: balanced)",
    )
    group.add_argument(
        "--image-threshold",
        type=cli_options.within(float, 0, 1),
        help="calibrated image probability",
    )
    group.add_argument(
        "--mask-threshold", type=cli_options.within(float, 0, 1), help="probability of a pixel"
    )
    group.add_argument(
        "--area-px-min",
        type=cli_options.within(int, 0),
        help="smallest outline, in pixels of the map",
    )
    parser.add_argument("--gate", action="store_true", help="leave out what quality refuses")
    parser.add_argument(
        "--allow-missing", action="store_true", help="measure although pictures are missing"
    )
    parser.add_argument(
        "--replicates",
        type=cli_options.within(int, 1, 10**6),
        default=1000,
        help="of the bootstrap",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: the GPU where torch sees one, else the CPU (default)",
    )
    parser.add_argument(
        "--threads", type=cli_options.within(int, 0, 1024), default=0, help="CPU threads, 0 for all"
    )
    parser.add_argument(
        "--precision",
        choices=("f32", "bf16"),
        default="f32",
        help="of the CPU's arithmetic; bf16 is quicker where the processor has it, and less exact",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate and report; 0 only when every listed picture was measured."""
    start = time.perf_counter()
    if args.report:
        report_pages = pages()
    try:
        gathered = cases.gather(args.rle, args.dicom, args.index, args.fold)
        report_missing(gathered, args.dicom)
        if not gathered.found:
            return 1
        if gathered.missing and not args.allow_missing:
            print("nothing measured (--allow-missing measures the rest)", file=sys.stderr)
            return INCOMPLETE
        opened = serving.open(args.weights, args.device, args.threads, args.precision)
        override(opened.card["thresholds"], args)
        listed = cases.read_traits(args.index, subgroups.COLUMNS) if args.index else {}
        shape = tuple(args.mask_size)
        evaluated = evaluate(gathered.found, opened, args.operating_point, shape, args.gate, listed)
    except (cases.BadTable, session.ModelMissing, session.TamperedModel) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    for name, reason in evaluated.unreadable.items():
        print(f"unreadable: {name}: {reason}", file=sys.stderr)
    if not evaluated.rows:
        print("evaluate: no picture could be measured", file=sys.stderr)
        return 1
    found = summed_up(args, gathered, opened, evaluated)
    found["seconds"] = round(time.perf_counter() - start, 1)
    print(report_text.table(found))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(report_text.as_json(found), encoding="utf-8")
    if args.rows:
        write_rows(args.rows, evaluated)
    if args.report:
        shown = {case.id: case for case in gathered.found}
        report_pages.write(args.report, found, evaluated.rows, shown, opened, shape, args.gallery)
        print(f"{args.report}: report.html, report.pdf, report.json")
    incomplete = bool(gathered.missing or evaluated.unreadable)
    return INCOMPLETE if incomplete and not args.allow_missing else 0


def pages() -> ModuleType:
    """The module that draws; BadInput, before anything was measured, without its packages."""
    try:
        return importlib.import_module("ml.evaluation.report_pages")
    except ModuleNotFoundError as error:
        raise BadInput(
            f"--report needs {error.name}: install it with `pip install .[report]`"
        ) from error


def summed_up(
    args: argparse.Namespace, gathered: Cases, opened: Serving, evaluated: Evaluated
) -> dict[str, Any]:
    """The report of an evaluation, see ml.evaluation.report."""
    results, patients = evaluated.results(), np.array(evaluated.patients)
    thresholds = opened.card["thresholds"]
    border = [[row["border_mean_px"], row["hausdorff95_px"]] for row in evaluated.rows]
    return {
        "model": {key: opened.card[key] for key in ("name", "version", "sha256")},
        "device": opened.device,
        "operating_point": args.operating_point,
        "thresholds": thresholds,
        "data": {
            "table": args.rle.name,
            "fold": args.fold,
            "pictures": len(results),
            "positives": int(results.positive.sum()),
            "patients": len(set(evaluated.patients)),
            "missing": len(gathered.missing),
            "unreadable": len(evaluated.unreadable),
            "unlisted": gathered.unlisted,
            "repeated": gathered.repeated,
            "refused_by_quality": len(evaluated.refused),
            "refused_left_out": bool(args.gate),
        },
        **report.measures(
            results,
            patients,
            evaluated.known,
            thresholds["image"][args.operating_point],
            args.replicates,
        ),
        "borders": report.borders(*np.array(border, dtype=np.float64).T),
        "rules": report.rules(evaluated.held_out(opened.size), args.replicates),
        "refused": evaluated.refused,
    }


def report_missing(gathered: Cases, folder: Path) -> None:
    """Say on stderr which listed pictures have no file, and how many files share a name."""
    if gathered.repeated:
        print(
            f"{gathered.repeated} of the files in {folder} have the name of another one: of each "
            "name the DICOM file is measured, else the first by path",
            file=sys.stderr,
        )
    if not gathered.missing:
        return
    total = len(gathered.missing) + len(gathered.found)
    print(
        f"{len(gathered.missing)} of {total} listed pictures are not in {folder}:", file=sys.stderr
    )
    for name in gathered.missing[:5]:
        print(f"  {name}", file=sys.stderr)
    if len(gathered.missing) > 5:
        print(f"  and {len(gathered.missing) - 5} more", file=sys.stderr)


def override(thresholds: dict[str, Any], args: argparse.Namespace) -> None:
    """Put thresholds from the command line in the place of the card's."""
    if args.mask_threshold is not None:
        thresholds["mask"] = args.mask_threshold
    if args.area_px_min is not None:
        thresholds["area_px_min"] = args.area_px_min
    if args.image_threshold is not None:
        thresholds["image"][args.operating_point] = args.image_threshold


def evaluate(
    found: list[Case],
    opened: Serving,
    operating_point: predict.OperatingPoint = "balanced",
    shape: tuple[int, int] = cases.MASK_SHAPE,
    gate: bool = False,
    listed: dict[str, dict[str, str]] | None = None,
) -> Evaluated:
    """Run the model on every case; gate leaves out what quality refuses.

    listed: what an index says of the pictures' traits, by id.
    """
    thresholds = opened.card["thresholds"]
    evaluated = Evaluated()
    batch = 16 if opened.device.startswith("cuda") else 1
    progress = tqdm(total=len(found), desc="evaluating", unit="picture", disable=None)
    for prepared in _batches(_prepare(found, opened, evaluated, gate, progress), batch):
        views = [one.seen for one in prepared]
        stops = opened.stopped(views)
        masks, images = opened.run(views)
        for one, mask, image, stop in zip(prepared, masks, images, stops, strict=True):
            if stop is not None:
                mask, image = np.zeros_like(mask), stop
            said = predict.band_of(float(image), thresholds["image"], operating_point)
            outlined = np.zeros(shape, dtype=np.bool_)
            map_ = one.seen.map_of(mask)
            if said != "none_found":
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
            evaluated.known.append(known)
            evaluated.levels.append(counted(map_, truth))
            evaluated.rows.append(
                {
                    "id": one.case.id,
                    "probability": float(image),
                    "called": said != "none_found",
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
            evaluated.patients.append(one.case.patient)
    progress.close()
    return evaluated


def counted(map_: NDArray[np.uint8], truth: NDArray[np.bool_]) -> tuple[Counts, Counts, Counts]:
    """Pixels at or above each level of calibrate.GRID: right ones, all, and those of the map."""
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
    found: list[Case], opened: Serving, evaluated: Evaluated, gate: bool, progress: Any
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
                evaluated.unreadable[case.id] = str(picture)
                continue
            checked = quality.check(picture, seen.look)
            if checked.verdict == "refused":
                evaluated.refused[case.id] = [r.code for r in checked.reasons if r.refuses]
                if gate:
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


def write_rows(path: Path, evaluated: Evaluated) -> None:
    """One row per picture, for looking at single cases."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(evaluated.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(evaluated.rows)
