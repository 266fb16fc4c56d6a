"""Measure a model: `python -m ml evaluate --rle FILE --dicom DIR --json OUT`.

Every listed picture goes through the same steps as in service; the outline is compared with the
radiologists' in the masks' own geometry (the competition's 1024 x 1024, whatever the size of the
picture), and the measures of ``ml.metrics`` are printed with 95 % intervals.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ml import cases, metrics, pixels, predict, quality, report_text, serving, session
from ml.cases import Case, Cases
from ml.metrics import Results
from ml.serving import Seen, Serving

# Exit codes: 1 an error, 2 wrong use, and this one when pictures were missing or unreadable.
INCOMPLETE = 3


@dataclass
class Evaluated:
    """One row per picture, in the order of the cases, and what could not be measured."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    patients: list[str] = field(default_factory=list)
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--rle", type=Path, required=True, help="CSV: ImageId, EncodedPixels")
    parser.add_argument(
        "--dicom", type=Path, required=True, help="folder of DICOM, PNG or JPEG named by ImageId"
    )
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--rows", type=Path, help="write a CSV with one row per picture here")
    parser.add_argument("--weights", type=Path, help="a model's folder (default: the shipped one)")
    parser.add_argument("--index", type=Path, help="CSV: ImageId, patient, fold")
    parser.add_argument("--fold", help="only the pictures of this fold of the index")
    parser.add_argument(
        "--mask-size",
        type=int,
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
    group.add_argument("--image-threshold", type=float, help="calibrated image probability")
    group.add_argument("--mask-threshold", type=float, help="probability of a pixel")
    group.add_argument("--area-px-min", type=int, help="smallest outline, in pixels of the map")
    parser.add_argument("--gate", action="store_true", help="leave out what quality refuses")
    parser.add_argument(
        "--allow-missing", action="store_true", help="measure although pictures are missing"
    )
    parser.add_argument("--replicates", type=int, default=1000, help="of the bootstrap")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: the GPU where torch sees one, else the CPU (default)",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for all")
    parser.add_argument(
        "--precision",
        choices=("f32", "bf16"),
        default="f32",
        help="of the CPU's arithmetic; bf16 is quicker where the processor has it, and less exact",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate and report; 0 only when every listed picture was measured."""
    start = time.perf_counter()
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
        evaluated = evaluate(
            gathered.found, opened, args.operating_point, tuple(args.mask_size), args.gate
        )
    except (cases.BadTable, session.ModelMissing, session.TamperedModel) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    for name, reason in evaluated.unreadable.items():
        print(f"unreadable: {name}: {reason}", file=sys.stderr)
    if not evaluated.rows:
        print("evaluate: no picture could be measured", file=sys.stderr)
        return 1
    results, patients = evaluated.results(), np.array(evaluated.patients)
    measures = metrics.summary(results, patients, args.replicates)
    report = {
        "model": {key: opened.card[key] for key in ("name", "version", "sha256")},
        "device": opened.device,
        "operating_point": args.operating_point,
        "thresholds": opened.card["thresholds"],
        "data": {
            "table": args.rle.name,
            "fold": args.fold,
            "pictures": len(results),
            "positives": int(results.positive.sum()),
            "patients": len(set(evaluated.patients)),
            "missing": len(gathered.missing),
            "unreadable": len(evaluated.unreadable),
            "unlisted": gathered.unlisted,
            "refused_by_quality": len(evaluated.refused),
            "refused_left_out": bool(args.gate),
        },
        "measures": {name: asdict(measure) for name, measure in measures.items()},
        "by_size": by_size(results),
        "reliability": [
            asdict(bar) for bar in metrics.reliability(results.probability, results.positive)
        ],
        "refused": evaluated.refused,
        "seconds": round(time.perf_counter() - start, 1),
    }
    print(report_text.table(report))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(report_text.as_json(report), encoding="utf-8")
    if args.rows:
        write_rows(args.rows, evaluated)
    incomplete = bool(gathered.missing or evaluated.unreadable)
    return INCOMPLETE if incomplete and not args.allow_missing else 0


def report_missing(gathered: Cases, folder: Path) -> None:
    """Say on stderr which listed pictures have no file."""
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
) -> Evaluated:
    """Run the model on every case; gate leaves out what quality refuses."""
    thresholds = opened.card["thresholds"]
    evaluated = Evaluated()
    batch = 16 if opened.device.startswith("cuda") else 1
    progress = tqdm(total=len(found), desc="evaluating", unit="picture", disable=None)
    for prepared in _batches(_prepare(found, opened, evaluated, gate, progress), batch):
        masks, images = opened.run([one.seen for one in prepared])
        for one, mask, image in zip(prepared, masks, images, strict=True):
            said = predict.band_of(float(image), thresholds["image"], operating_point)
            outlined = np.zeros(shape, dtype=np.bool_)
            if said != "none_found":
                map_ = one.seen.map_of(mask)
                outlined = predict.outline(
                    map_, thresholds["mask"], thresholds["area_px_min"], *shape
                )
            truth = one.case.truth(*shape)
            evaluated.rows.append(
                {
                    "id": one.case.id,
                    "probability": float(image),
                    "called": said != "none_found",
                    "hits": int((outlined & truth).sum()),
                    "predicted": int(outlined.sum()),
                    "truth": int(truth.sum()),
                    "pixels": truth.size,
                    "quality": one.verdict,
                }
            )
            evaluated.patients.append(one.case.patient)
    progress.close()
    return evaluated


@dataclass(frozen=True)
class _Prepared:
    case: Case
    seen: Seen
    verdict: str


def _prepare(
    found: list[Case], opened: Serving, evaluated: Evaluated, gate: bool, progress: Any
) -> Iterator[_Prepared]:
    """Read and check pictures, one ahead of the network."""

    def read(case: Case) -> tuple[pixels.Picture | str, Seen | None]:
        try:
            picture = pixels.read(case.file.read_bytes())
        except pixels.Unreadable as error:
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
            checked = quality.check(picture)
            if checked.verdict == "refused":
                evaluated.refused[case.id] = [r.code for r in checked.reasons if r.refuses]
                if gate:
                    continue
            yield _Prepared(case, seen, checked.verdict)


def _batches(prepared: Iterator[_Prepared], size: int) -> Iterator[list[_Prepared]]:
    batch: list[_Prepared] = []
    for one in prepared:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def by_size(results: Results) -> dict[str, dict[str, float]]:
    """How the smallest, middle and largest third of the pneumothoraces fare."""
    names = ("positive_dice", "sensitivity", "auc")
    return {
        name: {
            "positives": int(part.positive.sum()),
            **{measure: metrics.MEASURES[measure](part) for measure in names},
        }
        for name, part in metrics.size_thirds(results)
        if part.positive.any()
    }


def write_rows(path: Path, evaluated: Evaluated) -> None:
    """One row per picture, for looking at single cases."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(evaluated.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(evaluated.rows)
