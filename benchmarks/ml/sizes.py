"""What the measurements are worth: pixel spacing, size indices, outlined islands.

    python benchmarks/ml/sizes.py ../shared/data [--only spacing,experts,phantoms,model,islands]

spacing: the field that each DICOM file's own spacing gives its picture, and how many are plausible.
experts: on the pictures with an outline by radiologists, with the lungs that the finder finds: on
how many Light and Collins apply, how often they agree within a factor of two, and how many apply
falsely (`is_false` of outlined_pictures.py). Those pictures' own spacing is wrong, so each is
scaled until lungs and air are as wide as an adult's thorax, and once 15 % smaller and larger.
model: the same with the outlines of the shipped model on its held-out fold.
phantoms: drawn chests on a field of 370 mm, against their true geometry.
islands: what the size floor of the model's card takes away, on the held-out fold.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import outlined_pictures as made
import pydicom
from numpy.typing import NDArray
from tqdm import tqdm

from ml.datasets import cases
from ml.images import dicom_tags, field_size, reader
from ml.inference import hemithorax, measurements, outline, predict, serving, size_indices
from ml.inference.size_indices import Extent
from ml.preparation import phantom
from ml.preprocessing import transforms
from ml.runtime import lung_finder
from ml.runtime.lung_finder import LungFields

FOLD = "0"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with siim/ and dicom-odd/")
    parser.add_argument("--only", default="spacing,phantoms,experts,model,islands")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    parts = {
        "spacing": spacing,
        "phantoms": phantoms,
        "experts": experts,
        "model": model,
        "islands": islands,
    }
    found = {name: parts[name](options.data) for name in options.only.split(",")}
    for name, table in found.items():
        print(f"\n{name}")
        for row in table:
            print("  " + ", ".join(f"{key} {value}" for key, value in row.items()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def spacing(data: Path) -> list[dict[str, Any]]:
    """The field of every DICOM file that has a spacing."""
    finder, rows = lung_finder.Finder(), []
    for folder in ("siim/dicom", "dicom-odd/chest_other"):
        fields, plausible, widths = [], 0, []
        for file in sorted((data / folder).rglob("*")):
            if not file.is_file():
                continue
            raw = file.read_bytes()
            header = pydicom.dcmread(io.BytesIO(raw), force=True, stop_before_pixels=True)
            stated = dicom_tags.spacing(header)
            if stated is None:
                continue
            rows_, columns = int(header.Rows), int(header.Columns)
            fields.append(
                tuple(round(x) for x in (columns * stated.column_mm, rows_ * stated.row_mm))
            )
            if field_size.is_plausible(stated, rows_, columns):
                plausible += 1
                picture = reader.read(raw)
                thorax = hemithorax.thorax(finder.find(_canonical(picture.pixels)))
                if thorax:
                    widths.append(round(thorax.width * columns * stated.column_mm))
        widths_text = f"{min(widths)}–{max(widths)}" if widths else "none"
        sides = [side for field in fields for side in field]
        rows.append(
            {
                "folder": folder,
                "with spacing": len(fields),
                "field mm": f"{min(sides)}–{max(sides)}" if sides else "none",
                "plausible": plausible,
                "lungs' width mm": widths_text,
            }
        )
    return rows


def phantoms(data: Path) -> list[dict[str, Any]]:
    """Drawn chests: the indices by the found lungs against those by the drawn ones."""
    finder, rows = lung_finder.Finder(), []
    for width in (10.0, 20.0, 30.0, 45.0, 60.0):
        errors: dict[str, list[float]] = {"light": [], "collins": [], "fraction": [], "apex": []}
        both = close = 0
        for seed in range(8):
            drawn = phantom.draw(seed, "right" if seed % 2 else "left", width, field_mm=370.0)
            picture = reader.read(phantom.dicom(drawn))
            given = (drawn.spacing, ("L", "F"), "PA")
            fields = finder.find(_canonical(picture.pixels))
            by_found = size_indices.extents(drawn.mask, fields, *given)
            by_drawn = size_indices.extents(drawn.mask, LungFields(drawn.lungs), *given)
            if not by_found:
                continue
            one, true = by_found[0], by_drawn[0]
            errors["apex"].append(abs((one.apex.mm or 0.0) - width))
            if one.fraction is not None and true.fraction is not None:
                errors["fraction"].append(abs(one.fraction - true.fraction) * 100)
            for name in ("light", "collins"):
                a, b = getattr(one, name).percent, getattr(true, name).percent
                if a is not None and b is not None:
                    errors[name].append(abs(a - b))
            ratio = made.ratio(one)
            both += ratio is not None
            close += ratio is not None and ratio <= 2
        rows.append(
            {
                "width mm": width,
                **{f"{name} off by": _off(some) for name, some in errors.items()},
                "Light within twice Collins": f"{close} of {both}",
            }
        )
    return rows


def _off(some: list[float]) -> str:
    if not some:
        return "not applied"
    return f"{statistics.mean(some):.1f} (max {max(some):.1f}, n {len(some)})"


def experts(data: Path) -> list[dict[str, Any]]:
    """The indices on radiologists' outlines."""
    finder = lung_finder.Finder()
    views = _views(data)
    found = [
        _outlined(case, finder, views.get(case.id)) for case in tqdm(_positives(data), disable=None)
    ]
    known = [one for one in found if one]
    return [_limits(known), *_compared(known, "experts' outlines")]


def _limits(found: list[made.Outlined]) -> dict[str, Any]:
    """Field and lungs, were each thorax as wide as an adult's: what the limits let through."""
    sizes = []
    for one in found:
        thorax = hemithorax.thorax(one.fields, one.mask)
        rows, columns = one.mask.shape
        if thorax:
            sizes.append((columns * one.mm, rows * one.mm, thorax.height * rows * one.mm))
    low, middle, high = np.percentile(np.array(sizes), (1, 50, 99), axis=0).round().astype(int)
    names = ("field's width", "field's height", "lungs' height")
    return {
        f"{name} mm (1st, 50th, 99th percentile)": f"{low[i]}, {middle[i]}, {high[i]}"
        for i, name in enumerate(names)
    }


def model(data: Path) -> list[dict[str, Any]]:
    """The indices on the shipped model's outlines, on positives of the fold that it held out."""
    opened, views, seen, wrong = serving.open(device="cpu"), _views(data), [], 0
    for case in tqdm(_positives(data, FOLD), disable=None):
        picture = reader.read(case.file.read_bytes())
        prediction = predict.predict(picture, opened, refuse=False)
        truth = made.truth(case, picture)
        if prediction.mask is None or not prediction.mask.any():
            continue
        fields = opened.prepare(picture.pixels).fields
        one = made.scaled(case.id, prediction.mask, fields, views.get(case.id))
        true = made.scaled(case.id, truth, fields, views.get(case.id))
        if one is None or true is None:
            continue
        seen.append(one)
        at = {extent.side: extent for extent in true.extents(1.0, "PA")}
        for extent in one.extents(1.0, "PA"):
            for name in ("light", "collins"):
                percent = getattr(extent, name).percent
                wrong += percent is not None and _is_off(percent, name, at.get(extent.side), true)
    rows = [*_compared(seen, "the model's outlines, held-out fold")]
    applied = sum(
        getattr(extent, name).applies
        for one in seen
        for extent in one.extents(1.0, "PA")
        for name in ("light", "collins")
    )
    rows.append(
        {"of indices that apply": applied, "15 points off the experts' or on no air": wrong}
    )
    return rows


def _is_off(percent: float, name: str, truth: Extent | None, true: made.Outlined) -> bool:
    """Whether an index of the model's outline is one that the radiologists' can't have."""
    expected = made.by_chest(truth, name, true) if truth else []
    low, high = min(expected, default=0.0), max(expected, default=-1.0)
    return not low - made.POINTS <= percent <= high + made.POINTS if expected else True


def islands(data: Path) -> list[dict[str, Any]]:
    """Positive Dice and outlined healthy pictures with and without the card's size floor."""
    opened = serving.open(device="cpu")
    floor, rows = outline.island_floor(opened.card["thresholds"]), []
    gathered = cases.gather(*_tables(data), FOLD).found
    dice: dict[int, list[float]] = {0: [], floor: []}
    regions: dict[int, int] = {0: 0, floor: 0}
    lost = 0
    for case in tqdm(gathered, disable=None):
        picture = reader.read(case.file.read_bytes())
        prediction = predict.predict(picture, opened, refuse=False)
        if prediction.probability_map is None or prediction.band == "none_found":
            continue
        truth = made.truth(case, picture)
        masks = {
            least: outline.mask(
                prediction.probability_map,
                opened.card["thresholds"]["mask"],
                opened.card["thresholds"]["area_px_min"],
                picture.rows,
                picture.columns,
                least,
            )
            for least in (0, floor)
        }
        for least, mask in masks.items():
            regions[least] += _regions(mask)
            if truth.any():
                whole = int(mask.sum() + truth.sum())
                dice[least].append(2 * int((mask & truth).sum()) / whole if whole else 0.0)
        lost += bool(masks[0].any() and not masks[floor].any())
    for least in (0, floor):
        rows.append(
            {
                "floor px": least,
                "regions": regions[least],
                "Dice of called positives": round(statistics.mean(dice[least]), 4),
                "of": len(dice[least]),
            }
        )
    rows.append({"called pictures without any outline for the floor": lost})
    return rows


def _compared(found: list[made.Outlined], name: str) -> Iterator[dict[str, Any]]:
    for view, whose in (("PA", "all views, as if PA"), (None, "PA alone, as served")):
        for scale in made.SCALES:
            sides = [
                (one, extent) for one in found for extent in one.extents(scale, view or one.view)
            ]
            lights = [e.light.percent for _, e in sides if e.light.percent is not None]
            ratios = [r for _, e in sides if (r := made.ratio(e)) is not None]
            applied = [(o, e) for o, e in sides if e.light.applies or e.collins.applies]
            false = sum(made.is_false(one, extent, scale) for one, extent in applied)
            yield {
                "outlines": name,
                "views": whose,
                "scale": scale,
                "pictures": len(found),
                "border found": sum(extent.border_found for _, extent in sides),
                "Light": len(lights),
                "Light >= 95": sum(one >= 95 for one in lights),
                "Collins": sum(extent.collins.applies for _, extent in sides),
                "both": len(ratios),
                "within twice": sum(ratio <= 2 for ratio in ratios),
                "median of larger to smaller": round(statistics.median(ratios), 2)
                if ratios
                else None,
                "sides with an index": len(applied),
                "false": false,
            }


def _positives(data: Path, fold: str | None = None) -> list[cases.Case]:
    return [
        case
        for case in cases.gather(*_tables(data), fold).found
        if case.truth(*cases.MASK_SHAPE).any()
    ]


def _tables(data: Path) -> tuple[Path, Path, Path]:
    siim = data / "siim"
    return siim / "train-rle.csv", siim, siim / "index.csv"


def _outlined(
    case: cases.Case, finder: lung_finder.Finder, view: str | None
) -> made.Outlined | None:
    picture = reader.read(case.file.read_bytes())
    fields = finder.find(_canonical(picture.pixels))
    return made.scaled(case.id, made.truth(case, picture), fields, view)


def _views(data: Path) -> dict[str, str | None]:
    """The view of each picture by the index, which also has those without a DICOM header."""
    traits = cases.read_traits(_tables(data)[2], ("view",))
    return {name: one.get("view") or None for name, one in traits.items()}


def _canonical(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    return transforms.canonical(pixels, transforms.canonical_side(384, cropped=True))


def _regions(mask: NDArray[np.bool_]) -> int:
    return len(measurements.components(mask))


if __name__ == "__main__":
    raise SystemExit(main())
