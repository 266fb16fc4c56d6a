"""The cases of an evaluation: the competition's table, a folder of pictures, an index."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.datasets import rle
from ml.errors import BadInput

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")
# The pictures of the competition, and so its masks, have this many rows and columns.
MASK_SHAPE = (1024, 1024)


class BadTable(BadInput):
    """A table that cannot be used; the text names the error and its place."""


@dataclass(frozen=True)
class Case:
    """One picture with its true outline as run-length texts, and its patient."""

    id: str
    file: Path
    texts: tuple[str, ...]
    patient: str

    def truth(self, rows: int, columns: int) -> NDArray[np.bool_]:
        """The true mask; BadTable names the picture when its text does not fit."""
        try:
            return rle.combine(self.texts, rows, columns)
        except ValueError as error:
            raise BadTable(f"the mask of {self.id}: {error}") from error


@dataclass(frozen=True)
class Cases:
    """The cases, and what did not match."""

    found: list[Case]
    # Listed in the table, but no such picture in the folder.
    missing: list[str] = field(default_factory=list)
    # Pictures in the folder that the table does not list: how many.
    unlisted: int = 0
    # Pictures whose name appears more than once in the folder: how many.
    repeated: int = 0


def read_table(table: Path) -> dict[str, list[str]]:
    """The competition's CSV as run-length texts per picture.

    Columns ImageId and EncodedPixels (the original's second is spelt with a leading space; copies
    have small letters, or names with the suffix .dcm); several rows of one picture are several
    outlines of it.
    """
    texts: dict[str, list[str]] = defaultdict(list)
    for number, row in read_rows(table, ("ImageId", "EncodedPixels")):
        name = picture_name(row["ImageId"])
        if not name:
            raise BadTable(f"{table}, line {number}: no ImageId")
        texts[name].append(row["EncodedPixels"])
    if not texts:
        raise BadTable(f"{table} lists no picture")
    return dict(texts)


def read_index(index: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Patient and fold of each picture, from a CSV with ImageId, patient and, if any, fold."""
    patients, folds = {}, {}
    for _, row in read_rows(index, ("ImageId", "patient")):
        name = picture_name(row["ImageId"])
        patients[name] = row["patient"] or name
        folds[name] = row.get("fold") or ""
    return patients, folds


def read_traits(
    index: Path, columns: tuple[str, ...], key: str = "ImageId"
) -> dict[str, dict[str, str]]:
    """The values of each picture in an index, of those columns that it has."""
    return {
        picture_name(row[key]): {name: row[name] for name in columns if name in row}
        for _, row in read_rows(index, (key,))
    }


def gather(table: Path, folder: Path, index: Path | None = None, fold: str | None = None) -> Cases:
    """Match table, pictures and patients; without an index every picture is its own patient."""
    texts = read_table(table)
    listed = set(texts)
    patients, folds = read_index(index) if index else ({}, {})
    if fold is not None:
        if not index:
            raise BadTable("a fold needs an index with the fold of each picture")
        texts = {name: rows for name, rows in texts.items() if folds.get(name) == fold}
        if not texts:
            raise BadTable(f"no picture of {table} is in fold {fold}")
    files, repeated = pictures(folder)
    found = [
        Case(name, files[name], tuple(rows), patients.get(name, name))
        for name, rows in texts.items()
        if name in files
    ]
    missing = [name for name in texts if name not in files]
    return Cases(found, missing, len(files.keys() - listed), repeated)


def pictures(folder: Path) -> tuple[dict[str, Path], int]:
    """Every picture below a folder by its name without suffix, and how many names came twice.

    A file without a known suffix keeps its whole name (DICOM files often have none). Of two with
    one name the DICOM is taken, then the first by path.
    """
    if not folder.is_dir():
        raise BadTable(f"{folder} is not a folder")
    found: dict[str, Path] = {}
    repeated = 0
    for path in sorted(folder.rglob("*")):
        suffix = path.suffix.lower()
        known = suffix in SUFFIXES
        if path.name.startswith(".") or not path.is_file() or not (known or _bare(path)):
            continue
        name = path.name[: -len(suffix)] if known else path.name
        if name in found:
            repeated += 1
            if not (suffix == ".dcm" and found[name].suffix.lower() != ".dcm"):
                continue
        found[name] = path
    return found, repeated


def _bare(path: Path) -> bool:
    """No suffix, or only the last number of a UID."""
    return path.suffix == "" or path.suffix[1:].isdigit()


def read_rows(table: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV with stripped names and values, and their line numbers.

    Columns are recognised in any case and spacing: `imageid` and `Image_Id` are ImageId. Those in
    `columns` have that spelling in the rows, the others small letters. Of a picture's name
    (`picture_name`) the caller takes care. BadTable where the file cannot be read, lacks one of
    `columns`, or has a column twice.
    """
    wanted = {_plain(name): name for name in columns}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            given = [name.strip() for name in reader.fieldnames or ()]
            names = [wanted.get(_plain(name), name.lower()) for name in given]
            if missing := set(columns) - set(names):
                raise BadTable(f"{table} has no column {' and no '.join(sorted(missing))}")
            if twice := {name for name in columns if names.count(name) > 1}:
                raise BadTable(f"{table} has the column {min(twice)} twice")
            reader.fieldnames = names
            return [
                (reader.line_num, {name: (row[name] or "").strip() for name in names})
                for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadTable(f"{table} cannot be read: {error}") from error


def picture_name(text: str) -> str:
    """A picture's name in a table as `pictures` has it: without a known suffix such as .dcm."""
    suffix = Path(text).suffix
    return text[: -len(suffix)] if suffix.lower() in SUFFIXES else text


def _plain(column: str) -> str:
    """A column's letters and digits alone, in small letters."""
    return "".join(filter(str.isalnum, column.lower()))
