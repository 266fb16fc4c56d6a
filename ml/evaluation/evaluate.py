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
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ml import cli_options, output_places
from ml.datasets import cases
from ml.datasets.cases import Cases
from ml.errors import BadInput
from ml.evaluation import case_results, report, report_text
from ml.evaluation.case_results import CaseResults
from ml.inference import predict, serving
from ml.inference.serving import Serving
from ml.metrics import subgroups
from ml.runtime import session

# Exit codes: 1 an error, 2 wrong use, and this one when pictures were missing or unreadable.
INCOMPLETE = 3


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
    cli_options.add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate and report; 0 only when every listed picture was measured."""
    start = time.perf_counter()
    for file in filter(None, (args.json, args.rows)):
        output_places.check_file(file)
    if args.report:
        report_pages = pages()
        for name in report_pages.FILES:
            output_places.check_file(args.report / name)
    try:
        gathered = cases.gather(args.rle, args.dicom, args.index, args.fold)
        report_missing(gathered, args.dicom)
        if not gathered.found:
            return 1
        if gathered.missing and not args.allow_missing:
            print("nothing measured (--allow-missing measures the rest)", file=sys.stderr)
            return INCOMPLETE
        opened = serving.open(args.weights, args.device, args.threads, args.precision, args.engine)
        override(opened.card["thresholds"], args)
        listed = cases.read_traits(args.index, subgroups.COLUMNS) if args.index else {}
        shape = tuple(args.mask_size)
        measured = case_results.measure(
            gathered.found, opened, args.operating_point, shape, args.gate, listed
        )
    except (cases.BadTable, session.ModelMissing, session.TamperedModel) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    for name, reason in measured.unreadable.items():
        print(f"unreadable: {name}: {reason}", file=sys.stderr)
    if not measured.rows:
        print("evaluate: no picture could be measured", file=sys.stderr)
        return 1
    found = facts(args, gathered, opened, measured)
    found["seconds"] = round(time.perf_counter() - start, 1)
    print(report_text.table(found))
    if args.json:
        args.json.write_text(report_text.as_json(found), encoding="utf-8")
    if args.rows:
        write_rows(args.rows, measured)
    if args.report:
        shown = {case.id: case for case in gathered.found}
        report_pages.write(args.report, found, measured.rows, shown, opened, shape, args.gallery)
        print(f"{args.report}: report.html, report.pdf, report.json")
    incomplete = bool(gathered.missing or measured.unreadable)
    return INCOMPLETE if incomplete and not args.allow_missing else 0


def pages() -> ModuleType:
    """The module that draws; BadInput, before anything was measured, without its packages."""
    try:
        return importlib.import_module("ml.evaluation.report_pages")
    except ModuleNotFoundError as error:
        raise BadInput(
            f"--report needs {error.name}: install it with `pip install .[report]`"
        ) from error


def facts(
    args: argparse.Namespace, gathered: Cases, opened: Serving, measured: CaseResults
) -> dict[str, Any]:
    """The report of an evaluation, see ml.evaluation.report."""
    results, patients = measured.results(), np.array(measured.patients)
    thresholds = opened.card["thresholds"]
    border = [[row["border_mean_px"], row["hausdorff95_px"]] for row in measured.rows]
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
            "patients": len(set(measured.patients)),
            "missing": len(gathered.missing),
            "unreadable": len(measured.unreadable),
            "unlisted": gathered.unlisted,
            "repeated": gathered.repeated,
            "refused_by_quality": len(measured.refused),
            "refused_left_out": bool(args.gate),
        },
        **report.measured(
            results,
            patients,
            measured.known,
            thresholds["image"][args.operating_point],
            args.replicates,
        ),
        "borders": report.borders(*np.array(border, dtype=np.float64).T),
        "rules": report.rules(measured.held_out(opened.size), args.replicates),
        "refused": measured.refused,
    }


def report_missing(gathered: Cases, folder: Path) -> None:
    """Print to stderr which listed pictures have no file, and how many files share a name."""
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


def write_rows(path: Path, measured: CaseResults) -> None:
    """One row per picture, for looking at single cases."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(measured.rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(measured.rows)
