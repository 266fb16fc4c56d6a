"""Describe a training cache: `python -m ml datasheet --cache DIR --out DIR`.

Owns the data sheet: counts by source and fold, sizes, views, ages, hard-case tags, and what the
checks of `prepare` found, as datasheet.html (self-contained) and datasheet.json. It holds numbers
and plots, no picture and no patient. Needs matplotlib (`pip install .[report]`).
"""

from __future__ import annotations

import argparse
import html
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from ml.datasets import catalogue
from ml.datasets.catalogue import NO_FOLD, Record
from ml.errors import BadInput
from ml.evaluation import plots, report_pages
from ml.metrics import subgroups
from ml.preparation import data_checks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--cache", type=Path, required=True, help="folder made by `prepare`")
    parser.add_argument("--out", type=Path, required=True, help="folder for the sheet")


def run(args: argparse.Namespace) -> int:
    """Write the sheet of a cache."""
    records = catalogue.read_records(args.cache)
    if not records:
        raise BadInput(f"{args.cache} holds no picture")
    sheet = describe(records) | {"checks": found(args.cache)}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "datasheet.json").write_text(json.dumps(sheet, indent=2) + "\n", encoding="utf-8")
    (args.out / "datasheet.html").write_text(page(sheet), encoding="utf-8")
    print(f"{args.out}: datasheet.html, datasheet.json")
    return 0


def describe(records: list[Record]) -> dict[str, Any]:
    """Counts and distributions, ready for JSON; without attributes that no picture has."""
    outlined = [record for record in records if record.outlined]
    return {
        "pictures": len(records),
        "patients": len({record.patient for record in records}),
        "parts": {
            f"{source}, fold {fold}" if fold != NO_FOLD else f"{source}, no fold": _part(part)
            for (source, fold), part in _by(records, lambda r: (r.source, r.fold)).items()
        },
        "traits": {
            name: _counts(values)
            for name, values in {
                "view": [record.attributes.view for record in records],
                "sex": [record.attributes.sex for record in records],
                "age": [subgroups.age_group(record.attributes.age) for record in records],
                "side": [record.attributes.side for record in outlined],
                "lesions": [str(record.attributes.lesions or "") for record in outlined],
                "severity": [record.attributes.severity for record in outlined],
                "other findings": [name for record in records for name in record.other_classes],
                "tags": [tag for record in records for tag in record.attributes.tags],
                "lungs found": ["yes" if record.lungs else "no" for record in records],
            }.items()
            if any(values)
        },
        "areas": {
            str(fold): sorted(record.attributes.area for record in part if record.attributes.area)
            for fold, part in _by(outlined, lambda r: r.fold).items()
        },
        "sizes": Counter(f"{record.rows} x {record.columns}" for record in records).most_common(12),
        "spacing_mm": sorted(r.attributes.spacing_mm for r in records if r.attributes.spacing_mm),
    }


def found(cache: Path) -> dict[str, list[Any]] | None:
    """The findings of the checks; None for a cache from a version without checks."""
    try:
        known = json.loads((cache / data_checks.FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return {name: list(names) for name, names in known.items()}


def page(sheet: dict[str, Any]) -> str:
    """The whole HTML page."""
    heads = ["part", "pictures", "patients", "with pneumothorax", "outlined"]
    parts = [
        [name, *(str(part[key]) for key in ("pictures", "patients", "positive", "outlined"))]
        for name, part in sheet["parts"].items()
    ]
    drawn: list[plots.Drawing] = [folds]
    if any(sheet["areas"].values()):  # a cache of an older version has no sizes
        drawn.append(areas)
    drawn += [partial(trait, name=name) for name in sheet["traits"]]
    figures = "".join(plots.svg(plots.single(draw, sheet)) for draw in drawn)
    sizes = [[name, str(count)] for name, count in sheet["sizes"]]
    body = f"""
<p>Numbers and plots only: no picture and no patient is on this page.</p>
<h2>Parts</h2>{report_pages.table(heads, parts)}
<h2>Figures</h2><div class="plots">{figures}</div>
<h2>Sizes of the pictures</h2>{report_pages.table(["rows x columns", "pictures"], sizes)}
<h2>Checks</h2>{_checks(sheet["checks"])}"""
    title = f"{sheet['pictures']} pictures of {sheet['patients']} patients"
    return report_pages.document(f"Data sheet: {title}", body)


def _checks(known: dict[str, list[Any]] | None) -> str:
    if known is None:
        return "<p>Not checked: prepare the cache again.</p>"
    lines = data_checks.Findings(**known).lines() or ["Nothing was found."]
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"


def folds(axes: Axes, sheet: dict[str, Any]) -> None:
    """Pictures of each part, those with a pneumothorax in ink."""
    names = list(sheet["parts"])
    places = range(len(names))
    totals = [part["pictures"] for part in sheet["parts"].values()]
    some = [part["positive"] for part in sheet["parts"].values()]
    axes.barh(places, totals, color=plots.PALE)
    axes.barh(places, some, color=plots.INK)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set(xlabel="pictures", title="Parts; blue: with a pneumothorax")


def areas(axes: Axes, sheet: dict[str, Any]) -> None:
    """How the outlines' sizes are distributed, one line for each fold."""
    for fold, shares in sheet["areas"].items():
        if shares:
            levels = [(place + 1) / len(shares) for place in range(len(shares))]
            name = f"fold {fold}" if int(fold) != NO_FOLD else "no fold"
            axes.plot([100 * share for share in shares], levels, linewidth=1, label=name)
    axes.set_xscale("log")
    axes.legend(frameon=False)
    axes.set(
        xlabel="size of the outline, % of the picture",
        ylabel="share of outlines up to it",
        title="Sizes of the outlines by fold",
    )


def trait(axes: Axes, sheet: dict[str, Any], name: str) -> None:
    """How many pictures have each value of a trait."""
    counts = sheet["traits"][name]
    axes.bar(range(len(counts)), list(counts.values()), color=plots.INK)
    axes.set_xticks(range(len(counts)), list(counts), rotation=30, ha="right")
    axes.set(ylabel="pictures", title=name)


def _by(records: list[Record], key: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    """The records in groups, in the order of the keys."""
    groups: dict[Any, list[Record]] = {}
    for record in sorted(records, key=key):
        groups.setdefault(key(record), []).append(record)
    return groups


def _part(records: list[Record]) -> dict[str, int]:
    return {
        "pictures": len(records),
        "patients": len({record.patient for record in records}),
        "positive": sum(record.positive for record in records),
        "outlined": sum(record.outlined for record in records),
    }


def _counts(values: list[str]) -> dict[str, int]:
    """How often each value comes, 'not known' last."""
    known = sorted(
        set(values) - {""}, key=lambda value: (len(value) if value.isdigit() else 0, value)
    )
    counts = {value: values.count(value) for value in known}
    return counts | ({"not known": missing} if (missing := values.count("")) else {})
