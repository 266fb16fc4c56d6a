"""Possible errors of a data set, found while its cache is made.

Owns the checks: the same pixels under two names, outlines that contradict their label or another
row, and masks of another shape than their picture. Pictures with the same pixels are assigned to
one patient in one fold, because a split between them would put training pictures into the held-out
fold; the rest is listed, never corrected.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ml.datasets import rle
from ml.datasets.catalogue import NO_FOLD, Record

FILE = "checks.json"
# How far the aspect of a mask may be from that of its picture.
ASPECT = 0.02


@dataclass
class Findings:
    """Names of pictures, by what was found."""

    duplicates: list[list[str]] = field(default_factory=list)
    duplicates_across_folds: list[list[str]] = field(default_factory=list)
    contradictory: list[str] = field(default_factory=list)
    empty_masks: list[str] = field(default_factory=list)
    mismatched_masks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """A sentence for each kind of finding."""
        sentences = {
            "duplicates": "groups of pictures have the same pixels under several names",
            "duplicates_across_folds": "of those groups lay in several folds or patients: joined",
            "contradictory": "pictures whose outline contradicts their label or another row",
            "empty_masks": "masks that were given are empty",
            "mismatched_masks": "masks have another shape than their picture",
        }
        return [
            f"{len(found)} {sentence}: {_shown(found)}"
            for name, sentence in sentences.items()
            if (found := getattr(self, name))
        ]

    def write(self, cache: Path) -> None:
        """Everything, by name, beside the cache's table."""
        (cache / FILE).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def contradictions(texts: Mapping[str, Sequence[str]], labels: Mapping[str, str]) -> list[str]:
    """Pictures listed both empty and outlined, or labelled ('0', '1') otherwise than outlined."""
    found = []
    for name, rows in texts.items():
        outlined = {text.strip() != rle.EMPTY for text in rows}
        label = labels.get(name)
        if len(outlined) > 1 or (label in ("0", "1") and (label == "1") not in outlined):
            found.append(name)
    return found


def fits(mask: tuple[int, int], picture: tuple[int, int]) -> bool:
    """Whether a mask (rows, columns) has the aspect of its picture."""
    return abs(mask[0] * picture[1] / (mask[1] * picture[0]) - 1) <= ASPECT


def joined(records: Sequence[Record], findings: Findings) -> list[Record]:
    """The records with the patients of equal pictures made one, in the fold of the first of them.

    Adds the groups to the findings.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.attributes.pixels:
            groups[record.attributes.pixels].append(record)
    same = [group for group in groups.values() if len(group) > 1]
    patient_of: dict[str, str] = {}
    folds = {record.patient: record.fold for record in records}

    def first_of(patient: str) -> str:
        while patient in patient_of:
            patient = patient_of[patient]
        return patient

    for group in same:
        names = [record.id for record in group]
        findings.duplicates.append(names)
        if len({(record.patient, record.fold) for record in group}) > 1:
            findings.duplicates_across_folds.append(names)
        # A held-out fold must not lose its pictures to one that is only ever trained on.
        kept = min(group, key=lambda record: record.source != "masks")
        for record in group:
            one, other = first_of(kept.patient), first_of(record.patient)
            if folds[one] == NO_FOLD:
                one, other = other, one
            if one != other:
                patient_of[other] = one
    return [
        dataclasses.replace(record, patient=patient, fold=folds[patient])
        if (patient := first_of(record.patient)) != record.patient
        else record
        for record in records
    ]


def _shown(found: Sequence[object], most: int = 3) -> str:
    names = [", ".join(one) if isinstance(one, list) else str(one) for one in found[:most]]
    return "; ".join(names) + ("; ..." if len(found) > most else "")
