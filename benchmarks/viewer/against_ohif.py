"""First picture and full depth of one film in this portal and in OHIF, over an emulated line.

    python -m benchmarks.viewer.against_ohif FOLDER [--rounds 10] [--minutes 6] [--fresh]

FOLDER has 8-bit chest X-rays as DICOM files. Two of them are made DX files (`films.py`), as they
were sent and at a detector's size, and stored in both: in the portal, whose workers analyse them,
and in Orthanc, beside which OHIF is served (`make peers`). Both viewers are opened by turns in the
same Chromium, without a graphics card: one film with an empty cache ("first"), then another of the
same kind ("next"). Full depth: the portal's page has drawn the picture of all bits; OHIF has no
other, so it is the first that it has drawn. Beside the times: bytes over the line.

It ends after so many minutes; the same command goes on with what is missing, and prints what there
is. What was measured by another commit is not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser

from benchmarks.peers import ohif, orthanc
from benchmarks.peers.portal import ReadingPortal, reading_portal
from benchmarks.viewer.films import Film, kinds
from benchmarks.viewer.page_load import NOTE, WINDOW, Load, Network, Watched
from tests.campaigns.campaign import fingerprint
from tests.conftest import launched
from tests.support.paths import ROOT

NETWORKS = (Network("LAN", 100, 2), Network("WAN", 20, 40))
VIEWERS = ("portal", "OHIF")
STATE = ROOT / "build" / "peers" / "against_ohif.json"


@dataclass(frozen=True)
class Visit:
    """One browser without a cache that opens two films, one after the other."""

    round: int
    network: Network
    kind: str
    viewer: str

    @property
    def key(self) -> str:
        return f"{self.round} {self.network.name} {self.viewer} {self.kind}"


def visits(rounds: int, films: Iterable[str]) -> list[Visit]:
    """All of them, the viewers by turns; every other round begins with the other one."""
    return [
        Visit(number, network, kind, viewer)
        for number in range(rounds)
        for network in NETWORKS
        for kind in films
        for viewer in (VIEWERS if number % 2 == 0 else VIEWERS[::-1])
    ]


def measure(
    browser: Browser,
    visit: Visit,
    films: list[Film],
    address: Callable[[Film], str],
    cookies: list[dict[str, str]],
) -> list[Load]:
    """Open both films in a context of its own."""
    width, height = WINDOW
    context = browser.new_context(viewport={"width": width, "height": height})
    try:
        context.add_cookies(cookies)  # type: ignore[arg-type]
        context.add_init_script(NOTE)
        page = Watched(context, visit.network)
        return [page.load(address(film), film.looks) for film in films]
    finally:
        context.close()


class Results:
    """What was measured, in a file that the next run goes on with."""

    def __init__(self, asked: str, *, fresh: bool) -> None:
        self._fingerprint = fingerprint(asked)
        self.loads: dict[str, list[dict[str, float]]] = {}
        if STATE.exists() and not fresh:
            stored = json.loads(STATE.read_text())
            if stored["fingerprint"] == self._fingerprint:
                self.loads = stored["loads"]

    def add(self, visit: Visit, loads: list[Load]) -> None:
        """Store one visit."""
        self.loads[visit.key] = [load.facts() for load in loads]
        STATE.parent.mkdir(parents=True, exist_ok=True)
        new = STATE.with_suffix(".new")
        new.write_text(json.dumps({"fingerprint": self._fingerprint, "loads": self.loads}))
        new.replace(STATE)


def run(waiting: list[Visit], films: dict[str, list[Film]], results: Results, end: float) -> None:
    """Make visits until none is left or the time is over."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        every = [film for pair in films.values() for film in pair]
        store = stack.enter_context(orthanc.orthanc(folder / "orthanc"))
        for film in every:
            store.store(film.data)
        viewer = stack.enter_context(ohif.ohif(store.url))
        portal = stack.enter_context(reading_portal(folder / "portal", [f.data for f in every]))
        addresses = _addresses(portal, every, viewer)
        name, value = portal.cookie
        cookies = [{"name": name, "value": value, "url": portal.address}]
        browser = stack.enter_context(launched())
        for number, visit in enumerate(waiting):
            if time.monotonic() > end:
                print(f"{len(waiting) - number} visits are left: the same command goes on.")
                return
            if number < len(VIEWERS):  # what is made by the first request is not measured
                measure(browser, visit, films[visit.kind], addresses[visit.viewer], cookies)
            loads = measure(browser, visit, films[visit.kind], addresses[visit.viewer], cookies)
            results.add(visit, loads)
            times = ", ".join(f"{x.first_picture:.0f} / {x.full_depth:.0f} ms" for x in loads)
            print(f"{visit.key}: {times}; load {os.getloadavg()[0]:.1f}", file=sys.stderr)


def _addresses(
    portal: ReadingPortal, films: list[Film], viewer: str
) -> dict[str, Callable[[Film], str]]:
    studies = {film.study_uid: study for film, study in zip(films, portal.studies, strict=True)}
    return {
        "portal": lambda film: f"{portal.address}/studies/{studies[film.study_uid]}",
        "OHIF": lambda film: f"{viewer}/viewer?StudyInstanceUIDs={film.study_uid}",
    }


def table(results: Results, kinds_of_films: Iterable[str]) -> str:
    """Medians with their range, and OHIF's time in the portal's of the same round."""
    taken: dict[tuple[str, ...], dict[int, dict[str, float]]] = defaultdict(dict)
    for key, loads in results.loads.items():
        number, network, viewer, kind = key.split(" ", 3)
        for cache, load in zip(("first", "next"), loads, strict=True):
            taken[network, kind, cache, viewer][int(number)] = load
    lines = [
        "| line | film | opened | rounds | first picture, ms: portal | OHIF | times"
        " | full depth, ms: portal | OHIF | times | MB: portal | OHIF |",
        "|" + "---|" * 12,
    ]
    for one in NETWORKS:
        for kind in kinds_of_films:
            for cache in ("first", "next"):
                ours, theirs = (taken[one.name, kind, cache, viewer] for viewer in VIEWERS)
                both = sorted(set(ours) & set(theirs))
                if not both:
                    continue
                cells: list[str] = [one.name, kind, cache, str(len(both))]
                for what in ("first_picture", "full_depth"):
                    cells += [_spread([side[n][what] for n in both]) for side in (ours, theirs)]
                    ratio = statistics.median(theirs[n][what] / ours[n][what] for n in both)
                    cells.append(f"{ratio:.1f}")
                for side in (ours, theirs):
                    sent = statistics.median(side[n]["bytes_sent"] for n in both)
                    cells.append(f"{sent / 1e6:.2f}")
                lines.append(f"| {' | '.join(cells)} |")
    for viewer in VIEWERS:
        first = [loads[0] for key, loads in results.loads.items() if key.split(" ")[2] == viewer]
        if first:
            raw, sent = (
                statistics.median(load[name] for load in first) / 1000
                for name in ("script_bytes", "script_bytes_sent")
            )
            lines.append(
                f"\nScripts of the page with an empty cache, {viewer}: "
                f"{raw:.0f} KB, {sent:.0f} KB over the line."
            )
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def main() -> int:
    """Measure, then print the table of all that was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    missing = ohif.missing() or orthanc.missing()
    if missing:
        print(missing, file=sys.stderr)
        return 1
    films: dict[str, list[Film]] = dict(kinds(given.folder))
    results = Results(f"against_ohif {given.folder.resolve()}", fresh=given.fresh)
    waiting = [one for one in visits(given.rounds, films) if one.key not in results.loads]
    if waiting:
        run(waiting, films, results, end)
    print(table(results, films))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
