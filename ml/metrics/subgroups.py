"""Measures by subgroup: view, sex, age, exposure, report and size.

Owns the groups. Pictures whose trait is unknown are in no group of it; a group's numbers have a
count and an interval, because small groups differ by chance alone.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.metrics import bootstrap, measures
from ml.metrics.measures import Results

# Age groups by their last year.
AGES = ((39, "18–39"), (59, "40–59"), (74, "60–74"), (200, "75+"))
ADULT_YEARS = 18
YOUNG = "under 18"
MEASURES = ("positive_dice", "kaggle_dice", "sensitivity", "specificity", "auc")
TRAITS = ("view", "sex", "age", "exposure", "report")
# Columns of an index that may hold more than the header does. The last one, ChestX-ray14's name,
# holds the findings that a program took from the radiologist's report, parted by |.
REPORTED = "nih_labels"
COLUMNS = ("view", "sex", "age", "exposure", REPORTED)
# Bootstrap draws for the intervals of groups: enough for a comparison by eye.
REPLICATES = 500
_AGE = re.compile(r"0*(\d{1,3})(?:\.\d+)?\s*Y?", re.IGNORECASE)


@dataclass(frozen=True)
class Traits:
    """The traits of one picture; "" where unknown."""

    view: str = ""
    sex: str = ""
    age: str = ""
    exposure: str = ""
    report: str = ""


def traits(
    index: dict[str, str],
    view: str | None,
    sex: str | None,
    years: float | None,
    exposure: str,
    positive: bool = False,
) -> Traits:
    """From an index's row, which goes first, from the header and pixels, and from the outline."""
    listed = {name: (index.get(name) or "").strip() for name in COLUMNS}
    age = years_of(listed["age"])
    return Traits(
        view=(listed["view"] or view or "").upper(),
        sex=(listed["sex"] or sex or "").upper()[:1],
        age=age_group(years if age is None else age),
        exposure=listed["exposure"] or exposure,
        report=agreement(positive, reported(listed[REPORTED])),
    )


def reported(findings: str) -> bool | None:
    """Whether a report names a pneumothorax; None where its findings are unknown."""
    return "pneumothorax" in findings.lower().split("|") if findings else None


def agreement(positive: bool, named: bool | None) -> str:
    """Whether the report agrees with the outline, of which there is one or none; "": unknown.

    Two readings of one picture that differ bound what any model can reach.
    """
    if named is None:
        return ""
    return "agrees" if named == positive else "differs"


def years_of(text: str) -> float | None:
    """An age as '57', '57.0' or '057Y'; None for anything else."""
    match = _AGE.fullmatch(text)
    return float(match[1]) if match else None


def age_group(years: float | None) -> str:
    """The group of an age, "" where it is unknown."""
    if years is None:
        return ""
    if years < ADULT_YEARS:
        return YOUNG
    return next((name for last, name in AGES if int(years) <= last), "")


def groups(known: list[Traits]) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Trait → group → which pictures; only traits with at least two groups."""
    found = {}
    for trait in TRAITS:
        values = np.array([getattr(one, trait) for one in known])
        names = sorted(set(values.tolist()) - {""}, key=lambda name: (name != YOUNG, name))
        if len(names) > 1:
            found[trait] = {name: values == name for name in names}
    return found


def report(
    results: Results,
    patients: NDArray[np.str_],
    known: list[Traits],
    replicates: int = REPLICATES,
) -> dict[str, dict[str, Any]]:
    """Trait → group → counts and measures with intervals; size thirds are the trait 'size'."""
    chosen: dict[str, dict[str, NDArray[Any]]] = {}
    sizes = {
        name: part for name, part in measures.size_thirds(results) if results.positive[part].any()
    }
    if sizes:
        chosen["size"] = dict(sizes)
    for trait, found in groups(known).items():
        chosen[trait] = dict(found)
    return {
        trait: {
            name: _measured(results.take(part), patients[part], trait, replicates)
            for name, part in parts.items()
        }
        for trait, parts in chosen.items()
    }


def _measured(
    part: Results, patients: NDArray[np.str_], trait: str, replicates: int
) -> dict[str, Any]:
    # Every third has all negatives: measures of negatives alone do not depend on the size.
    names = ("positive_dice", "sensitivity", "auc") if trait == "size" else MEASURES
    found = bootstrap.summary(part, patients, replicates, names=names)
    return {
        "pictures": len(part),
        "positives": int(part.positive.sum()),
        **{name: asdict(measure) for name, measure in found.items()},
    }
