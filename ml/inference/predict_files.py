"""Predict on files, without any portal: `python -m ml predict FILE… --out DIR`.

Writes, for each file, ``<stem>.json``, and unless quality refuses it ``<stem>.mask.png`` and
``<stem>.overlay.png``. A file that cannot be read is reported and the others go on.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from ml import cli_options, output_places
from ml.images import overlay, reader
from ml.inference import predict, serving
from ml.quality import gate
from ml.runtime import session

_BANDS = {
    "likely": "pneumothorax likely",
    "possible": "pneumothorax possible",
    "none_found": "none found",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="DICOM, PNG or JPEG")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--operating-point",
        choices=predict.OPERATING_POINTS,
        default="balanced",
        help="which of the model's image thresholds calls a picture positive (default: balanced)",
    )
    parser.add_argument(
        "--age-min",
        type=cli_options.within(float, 0, gate.ADULT_YEARS),
        default=gate.ADULT_YEARS,
        help="from which age on, in years, under-18s get a result, which is marked (default: none)",
    )
    cli_options.add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Predict every file; 1 when any could not be read."""
    output_places.check_folder(args.out)
    try:
        opened = serving.open(args.weights, args.device, args.threads, args.precision, args.engine)
    except (session.ModelMissing, session.TamperedModel) as error:
        tqdm.write(f"predict: {error}", file=sys.stderr)
        return 1
    failed = 0
    taken: set[str] = set()
    for file in tqdm(args.files, desc="predicting", unit="picture", disable=None):
        try:
            picture = reader.read(file.read_bytes())
        except reader.Unreadable as error:
            reason = f"{error.message} ({error.code})"
        except OSError as error:
            reason = error.strerror or "cannot be opened"
        else:
            prediction = predict.predict(
                picture, opened, args.operating_point, age_min=args.age_min
            )
            stem = _stem(file, taken)
            _write(args.out, stem, picture, prediction)
            tqdm.write(f"{file}: {sentence(prediction)}")
            continue
        failed += 1
        tqdm.write(f"{file}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def _stem(file: Path, taken: set[str]) -> str:
    """The file's name without a picture's suffix, numbered where two would share it."""
    known = file.suffix.lower() in (".dcm", ".dicom", ".png", ".jpg", ".jpeg")
    base = file.stem if known else file.name
    stem, number = base, 2
    while stem in taken:
        stem, number = f"{base}-{number}", number + 1
    taken.add(stem)
    return stem


def _write(
    folder: Path, stem: str, picture: reader.Picture, prediction: predict.Prediction
) -> None:
    facts = {"picture": picture.facts(), "prediction": prediction.facts()}
    (folder / f"{stem}.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    if prediction.mask is not None:
        mask = overlay.mask_png(picture.as_in_source(prediction.mask))
        (folder / f"{stem}.mask.png").write_bytes(mask)
        others = [other.mask for other in prediction.other_findings or ()]
        drawn = overlay.overlay_png(picture, prediction.mask, prediction.mark, others)
        (folder / f"{stem}.overlay.png").write_bytes(drawn)


def sentence(prediction: predict.Prediction) -> str:
    """A prediction in one line."""
    if prediction.band is None or prediction.measurements is None:
        reasons = " ".join(reason["message"] for reason in prediction.quality["reasons"])
        return f"no result: {reasons}"
    parts = [_BANDS[prediction.band]]
    found = prediction.measurements
    if found["side"]:
        parts += [found["side"], " and ".join(found["zones"])]
    line = f"{', '.join(parts)}; probability {prediction.probability:.2f}"
    if found["distance_mm"] is not None:
        line += f"; greatest distance {found['distance_mm']:.0f} mm"
    if found.get("spacing_problem") == "not_plausible":
        line += "; no sizes in mm: the pixel spacing is not plausible"
    for other in prediction.other_findings or ():
        where = f", {other.side}" if other.side else ""
        state = f"found{where}" if other.found else "none found"
        line += f"; {other.name}: {state}, probability {other.probability:.2f}"
    return f"{line}; patient under 18" if prediction.mark else line
