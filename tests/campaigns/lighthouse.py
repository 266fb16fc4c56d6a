"""Lighthouse on sign-in, worklist and case page: performance and accessibility, desktop and phone.

The portal runs as in production on SQLite, with exams that its workers have analysed. Performance
is the median of several runs in one theme, accessibility is looked at in both. What Lighthouse
computes follows from how long the page's tasks took on this machine: with other programs beside it
the numbers are worse.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import lighthouse
from benchmarks.peers.portal import ReadingPortal, reading_portal
from ml.preparation import phantom
from tests.campaigns.campaign import Arguments, Row

COLUMNS = (
    "page",
    "on a",
    "runs",
    "performance (least, most)",
    "aim",
    "accessibility, dark and light",
    "aim",
    "first / largest paint, ms",
    "blocked, ms",
    "layout shift",
    "scripts: files, KB, KB sent",
    "load of the machine",
)
ROUNDS = 3
EXAMS = 6
THEMES = ("dark", "light")
FORMS: tuple[lighthouse.Form, ...] = ("desktop", "mobile")


@dataclass(frozen=True)
class Page:
    """A page, its path, who sees it, and the least scores."""

    name: str
    path: str
    signed_in: bool
    performance: int
    accessibility: int = 95


def pages(portal: ReadingPortal) -> tuple[Page, ...]:
    """The pages that a reader meets first."""
    return (
        Page("sign-in", "/sign-in", False, 95),
        Page("worklist", "/worklist", True, 95),
        Page("case", f"/studies/{portal.studies[0]}", True, 90),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this campaign."""
    parser.add_argument("--pictures", type=Path, help="a folder of X-rays; without it: drawn ones")
    parser.add_argument("--only", default="", help="the page of this name alone")


def run(arguments: Arguments) -> list[Row]:
    """A row for each page and form; fails where Lighthouse or Chromium is not installed."""
    missing = lighthouse.missing()
    if missing:
        raise SystemExit(missing)
    with (
        tempfile.TemporaryDirectory() as folder,
        reading_portal(Path(folder) / "portal", _pictures(arguments)) as portal,
    ):
        return [
            arguments.resume.row(
                f"{page.name} {form}",
                lambda page=page, form=form: measured(portal, page, form, arguments.rounds),
            )
            for page in pages(portal)
            if arguments.options.only in ("", page.name)
            for form in FORMS
        ]


def measured(portal: ReadingPortal, page: Page, form: lighthouse.Form, rounds: int) -> Row:
    """Look at one page as often as asked."""
    whole = ("performance", "accessibility")
    runs = [look(portal, page, form, THEMES[0], whole) for _ in range(rounds)]
    light = look(portal, page, form, THEMES[1], whole[1:])
    scores = [run.scores["performance"] for run in runs]
    performance = round(statistics.median(scores))
    access = [min(run.scores["accessibility"] for run in runs), light.scores["accessibility"]]
    passed = performance >= page.performance and min(access) >= page.accessibility
    for run in (*runs, light):
        if run.faults and not passed:
            print(page.name, form, run.scores, run.faults)

    def median(name: str) -> float:
        return statistics.median(run.metrics[name] for run in runs)

    cells = (
        page.name,
        "phone" if form == "mobile" else form,
        str(rounds),
        f"{performance} ({min(scores)}, {max(scores)})",
        str(page.performance),
        f"{access[0]}, {access[1]}",
        str(page.accessibility),
        f"{median('first-contentful-paint'):.0f} / {median('largest-contentful-paint'):.0f}",
        f"{median('total-blocking-time'):.0f}",
        f"{median('cumulative-layout-shift'):.3f}",
        f"{median('scripts'):.0f}, {median('script-bytes') / 1000:.0f},"
        f" {median('script-bytes-sent') / 1000:.0f}",
        f"{os.getloadavg()[0]:.1f}",
    )
    return Row(cells, passed)


def look(
    portal: ReadingPortal,
    page: Page,
    form: lighthouse.Form,
    theme: str,
    categories: Sequence[str],
) -> lighthouse.Report:
    """One run; raises where another page came, as when nobody is signed in."""
    cookies = {"theme": theme} | (dict([portal.cookie]) if page.signed_in else {})
    report = lighthouse.run(portal.address + page.path, form, cookies, categories)
    if not report.url.startswith(portal.address + page.path):
        raise RuntimeError(f"asked for {page.path}, got {report.url}")
    return report


def _pictures(arguments: Arguments) -> list[bytes]:
    if arguments.options.pictures is not None:
        every = sorted(p for p in arguments.options.pictures.rglob("*.dcm") if p.is_file())
        return [path.read_bytes() for path in every[:EXAMS]]
    drawn = (phantom.draw(at, "right", width_mm=25) for at in range(EXAMS))
    return [phantom.dicom(one) for one in drawn]
