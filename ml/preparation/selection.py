"""Which pictures a training cache is made of: from tables and folders to one list.

Owns how several sources are joined. Of a picture that two sources list, the outlined one is taken
before the one with an image-level label, and that before the one that models outlined.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ml.datasets import cases, rle
from ml.datasets.cases import BadTable
from ml.datasets.catalogue import NO_FOLD
from ml.metrics import subgroups
from ml.preparation import fold_split
from ml.recipe import NAME


class Label(NamedTuple):
    """Whose picture it is, the patient's fold, and whether it shows a pneumothorax."""

    patient: str
    fold: int
    positive: bool


@dataclass
class Selection:
    """Pictures by id: labels, folders, and what is known of their outlines and attributes."""

    labels: dict[str, Label]
    folders: dict[str, Path]
    texts: dict[str, list[str]] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    listed: dict[str, dict[str, str]] = field(default_factory=dict)
    pseudo: frozenset[str] = frozenset()
    # Of other classes, by name: the outlines of each picture, as run-length texts or as a file.
    also: dict[str, dict[str, list[str] | Path]] = field(default_factory=dict)

    def add_class(self, name: str, source: Path) -> None:
        """Add the outlines of another class: a competition's table, or a folder of masks.

        BadTable for a name that is no class's, and for a table that lacks some of the pictures: an
        unlabelled picture would be trained on as one without the finding.
        """
        if not re.fullmatch(NAME, name) or name in self.also or not str(source).strip("."):
            raise BadTable(
                "--also takes NAME=PATH, each NAME once, of small letters, digits and hyphens"
            )
        if source.is_dir():
            self.also[name] = dict(cases.pictures(source)[0])
            return
        listed = cases.read_table(source)
        if missing := [one for one in self.labels if one not in listed]:
            raise BadTable(
                f"{source} does not list {len(missing)} of the pictures, such as {missing[0]}: "
                "every picture needs a label for every class"
            )
        self.also[name] = dict(listed)

    def add_panel(
        self, folder: Path, index: Path, reports: bool = False, unlabelled: bool = False
    ) -> None:
        """Add pictures with an image-level label; reports, unlabelled: see `panel_labels`."""
        folds = {label.patient: label.fold for label in self.labels.values()}
        panel = panel_labels(index, folds, reports, unlabelled)
        self.labels |= {name: label for name, label in panel.items() if name not in self.labels}
        columns = (*subgroups.COLUMNS, "label")
        self.listed = cases.read_traits(index, columns, "id") | self.listed
        self.folders = dict.fromkeys(panel, folder) | self.folders

    def add_pseudo(self, folder: Path, masks: Path) -> None:
        """Add pictures that models outlined: of unknown patients, never held out."""
        outlined = cases.pictures(masks)[0]
        self.pseudo = frozenset(outlined)
        self.masks |= {name: mask for name, mask in outlined.items() if name not in self.labels}
        self.folders = dict.fromkeys(outlined, folder) | self.folders
        self.labels = {name: Label(name, NO_FOLD, True) for name in outlined} | self.labels

    def files(self) -> dict[str, Path]:
        """The file of each picture that has one."""
        found = {
            folder: cases.pictures(folder)[0] for folder in dict.fromkeys(self.folders.values())
        }
        places = {name: found[self.folders[name]].get(name) for name in self.labels}
        return {name: path for name, path in places.items() if path is not None}

    def source(self, name: str) -> str:
        """Where a picture's label comes from: one of ml.recipe.SOURCES."""
        if name in self.texts or name in self.masks:
            models = self.labels[name].fold == NO_FOLD and name in self.pseudo
            return "pseudo" if models else "masks"
        return "unlabelled" if self.listed.get(name, {}).get("label") == "none" else "panel"


def outlined_by_table(table: Path, folder: Path, index: Path | None) -> Selection:
    """The pictures of a competition's table, in a folder."""
    texts = cases.read_table(table)
    labels = outlined_labels(texts, index)
    return Selection(labels, dict.fromkeys(labels, folder), texts=texts, listed=_listed(index))


def outlined_by_masks(masks: Path, folder: Path, index: Path | None) -> Selection:
    """The pictures of a folder for which another one has masks; each counts as positive."""
    files = cases.pictures(masks)[0]
    labels = outlined_labels({name: ["1 1"] for name in files}, index)
    return Selection(labels, dict.fromkeys(labels, folder), masks=files, listed=_listed(index))


def _listed(index: Path | None) -> dict[str, dict[str, str]]:
    return cases.read_traits(index, (*subgroups.COLUMNS, "pneumothorax")) if index else {}


def outlined_labels(texts: Mapping[str, list[str]], index: Path | None) -> dict[str, Label]:
    """The labels of pictures with run-length texts, by ImageId.

    Without an index, folds follow from the pictures' names. Patients of an index without a fold
    are assigned one, balanced by the size of the outlines (see ml.preparation.fold_split).
    """
    patients, given = cases.read_index(index) if index else ({}, {})
    if strange := [fold for fold in given.values() if fold and not fold.isdecimal()]:
        raise BadTable(f"{index}: fold {strange[0]!r} is no number")
    fold_of = {patients[name]: int(fold) for name, fold in given.items() if fold}
    sizes: dict[str, list[float]] = {}
    for name, rows in texts.items():
        if name in patients and patients[name] not in fold_of:
            sizes.setdefault(patients[name], []).append(float(sum(map(rle.area, rows))))
    fold_of |= fold_split.assign(sizes)
    return {
        name: Label(
            patients.get(name, name),
            int(given.get(name) or fold_of.get(patients.get(name, ""), fold_split.by_name(name))),
            any(text != rle.EMPTY for text in rows),
        )
        for name, rows in texts.items()
    }


def panel_labels(
    index: Path, folds: Mapping[str, int], reports: bool = False, unlabelled: bool = False
) -> dict[str, Label]:
    """The image-level labels of a panel, by id; a patient who has a fold already keeps it.

    reports: also labels that a program extracted from the radiologist's report; unlabelled: also
    pictures without a label, as not positive.
    """
    wanted = ("radiologist panel", *["text-mined"] * reports)
    return {
        cases.picture_name(row["id"]): Label(
            row["patient"], folds.get(row["patient"], NO_FOLD), row["pneumothorax"] == "1"
        )
        for _, row in cases.read_rows(index, ("id", "label", "pneumothorax", "patient"))
        if (row["label"].startswith(wanted) and row["pneumothorax"] in ("0", "1"))
        or (unlabelled and row["label"] == "none")
    }
