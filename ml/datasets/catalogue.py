"""The table of a training cache: its pictures with their attributes, patients and folds.

`records.csv` is what `ml.preparation.prepare` writes; ml.datasets.dataset reads the pictures
themselves.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ml.datasets.cases import BadTable
from ml.errors import BadInput
from ml.preprocessing.lung_crop import Crop
from ml.recipe import Recipe

OUTLINED = ("masks", "pseudo")
FIELDS = ("id", "source", "patient", "fold", "positive", "rows", "columns", "lungs", "also")
# A picture's attributes; caches of older versions have none of these columns.
MORE_FIELDS = (
    "view", "sex", "age", "spacing_mm", "lesions", "area", "side", "tags", "pixels", "reported",
    "severity",
)  # fmt: skip
RECORDS = "records.csv"
NO_FOLD = -1  # a patient outside of the folds: always trained on, never evaluated


@dataclass(frozen=True)
class Attributes:
    """Attributes of a picture beside its label, "" or None where unknown.

    spacing_mm: of rows, by the header; lesions, area, side: separate outlines, their share of
    the picture, and the patient's side; tags: see ml.preprocessing.image_statistics; pixels: the
    start of their sha256; reported: whether the radiologist's report names a pneumothorax;
    severity: see ml.inference.severity, "" without an outline or where lungs were not looked for.
    """

    view: str = ""
    sex: str = ""
    age: float | None = None
    spacing_mm: float | None = None
    lesions: int = 0
    area: float = 0.0
    side: str = ""
    tags: tuple[str, ...] = ()
    pixels: str = ""
    reported: bool | None = None
    severity: str = ""


@dataclass(frozen=True)
class Record:
    """One picture of the cache. rows, columns: of the original picture; lungs: around them.

    positive: it shows a recipe's first class (pneumothorax).
    """

    id: str
    source: str
    patient: str
    fold: int
    positive: bool
    rows: int
    columns: int
    lungs: Crop | None = None
    other_classes: tuple[str, ...] = ()
    attributes: Attributes = Attributes()

    def shows(self, recipe: Recipe) -> tuple[bool, ...]:
        """Whether the picture shows each of a recipe's classes."""
        return (self.positive, *(name in self.other_classes for name in recipe.classes[1:]))

    def crop(self, recipe: Recipe) -> Crop | None:
        """The part of the picture in the input of a network of this recipe."""
        return self.lungs if recipe.crop == "lungs" else None

    @property
    def outlined(self) -> bool:
        """Whether there is a non-empty mask to learn from."""
        return self.positive and self.source in OUTLINED


def read_records(cache: Path) -> list[Record]:
    """The cache's table, in its own order; BadTable where it is not what `prepare` writes."""
    path = cache / RECORDS
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Record(
                    row["id"],
                    row["source"],
                    row["patient"],
                    int(row["fold"] or NO_FOLD),
                    row["positive"] == "1",
                    int(row["rows"]),
                    int(row["columns"]),
                    _crop(row.get("lungs") or ""),
                    tuple((row.get("also") or "").split()),
                    _attributes(row),
                )
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise BadTable(f"{path} is not the table of a cache that `prepare` made") from error


def write_records(cache: Path, records: Iterable[Record]) -> None:
    """The table that read_records reads."""
    with (cache / RECORDS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS + MORE_FIELDS)
        for r in records:
            fold = "" if r.fold == NO_FOLD else r.fold
            lungs = f"{r.lungs.left} {r.lungs.top} {r.lungs.side}" if r.lungs else ""
            row = (r.id, r.source, r.patient, fold, int(r.positive), r.rows, r.columns, lungs)
            writer.writerow((*row, " ".join(r.other_classes), *_written(r.attributes)))


def _attributes(row: dict[str, str]) -> Attributes:
    def number(name: str) -> float | None:
        text = row.get(name)
        return float(text) if text else None

    return Attributes(
        row.get("view") or "",
        row.get("sex") or "",
        number("age"),
        number("spacing_mm"),
        int(number("lesions") or 0),
        number("area") or 0.0,
        row.get("side") or "",
        tuple((row.get("tags") or "").split()),
        row.get("pixels") or "",
        {"1": True, "0": False}.get(row.get("reported") or ""),
        row.get("severity") or "",
    )


def _written(attributes: Attributes) -> tuple[object, ...]:
    """The columns of MORE_FIELDS, empty where nothing is known."""
    return tuple(_cell(getattr(attributes, name)) for name in MORE_FIELDS)


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        return " ".join(value)
    return int(value) if isinstance(value, bool) else value


def _crop(text: str) -> Crop | None:
    return Crop(*(float(part) for part in text.split())) if text else None


def split(
    records: list[Record], fold: int, share: float = 1.0
) -> tuple[list[Record], list[Record]]:
    """(training, held out): no patient of the held-out fold is trained on, from any source.

    share: of the training patients; those of a smaller share are among those of a larger one.

    A negative fold holds nothing out; BadInput where another one has no picture to hold out.
    """
    if fold < 0:
        return _of_some_patients(records, share), []
    held_out_patients = {r.patient for r in records if r.fold == fold}
    training = _of_some_patients([r for r in records if r.patient not in held_out_patients], share)
    held_out = [r for r in records if r.fold == fold and r.source == "masks"]
    if not held_out:
        raise BadInput(f"fold {fold} holds no outlined picture of this cache out (-1: none)")
    return training, held_out


def of_sources(training: list[Record], recipe: Recipe) -> list[Record]:
    """Those of a training part that the recipe uses: of its sources, and unlabelled ones only with
    soft labels or for masked image modelling."""
    unlabelled = bool(recipe.taught or recipe.hidden)
    return [
        record
        for record in training
        if record.source in recipe.sources and (unlabelled or record.source != "unlabelled")
    ]


def check_crop(records: list[Record], recipe: Recipe) -> None:
    """BadInput where a recipe crops to lungs that were not found in these pictures."""
    if recipe.crop == "lungs" and not any(record.lungs for record in records):
        raise BadInput("the cache was prepared without --lungs, which this recipe crops to")


def without(records: list[Record], folds: Iterable[int]) -> list[Record]:
    """The pictures of patients who have none in these folds; BadInput for an unknown fold."""
    left_out = set(folds)
    if unknown := left_out - {r.fold for r in records if r.fold != NO_FOLD}:
        raise BadInput(f"this cache has no fold {', '.join(map(str, sorted(unknown)))}")
    patients = {record.patient for record in records if record.fold in left_out}
    return [record for record in records if record.patient not in patients]


def _of_some_patients(records: list[Record], share: float) -> list[Record]:
    """The same share of the patients with a positive picture and of those without one."""
    positive = {r.patient for r in records if r.positive}
    chosen: set[str] = set()
    for group in (positive, {r.patient for r in records} - positive):
        ordered = sorted(group, key=lambda name: hashlib.sha256(name.encode()).digest())
        chosen.update(ordered[: math.ceil(share * len(ordered))])
    return [r for r in records if r.patient in chosen]


def counts(training: list[Record], held_out: list[Record]) -> dict[str, dict[str, int]]:
    """Pictures, positives, outlines and patients of both parts, for a card."""
    return {
        name: {
            "pictures": len(part),
            "positive": sum(record.positive for record in part),
            "outlined": sum(record.outlined for record in part),
            "patients": len({record.patient for record in part}),
        }
        for name, part in (("training", training), ("held_out", held_out))
    }
