"""What a move of the pointer costs the main thread of the case page, by Chromium's own trace.

A portal is served with one drawn chest, the page is opened in the installed Chromium without a
graphics card (software rendering), and the pointer is moved by real input events, one at a time.
The cost of a move is the time of all tasks of the renderer's main thread from the event until the
next one: handlers, drawing, style, layout, paint.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from ml.preparation import phantom
from portal.models import Role
from tests.conftest import launched, redis_server
from tests.support.browser_portal import open_browser_portal

WINDOW = (1440, 900)
_CATEGORIES = ["devtools.timeline", "disabled-by-default-devtools.timeline"]
_PAUSE_MS = 50.0  # between two moves: the next frame has been drawn by then


@contextmanager
def case_page(rows: int, columns: int) -> Iterator[tuple[Browser, Page]]:
    """The page of a drawn chest of this size, its full depth and its outline there."""
    with (
        tempfile.TemporaryDirectory() as folder,
        redis_server(Path(folder)) as redis_url,
        open_browser_portal(Path(folder) / "data", redis_url) as site,
        launched() as browser,
    ):
        site.register_workers()
        drawn = phantom.draw(1, "right", width_mm=25, rows=rows, columns=columns)
        study, _ = site.complete(drawn, patient_name="BENCHMARK^ONE")
        width, height = WINDOW
        context = browser.new_context(viewport={"width": width, "height": height})
        context.add_cookies([site.cookie(Role.READER)])  # type: ignore[list-item]
        page = context.new_page()
        page.goto(f"{site.url}/studies/{study}")
        page.wait_for_selector("#film[data-depth=full][data-overlay=ready]", timeout=120_000)
        page.wait_for_timeout(1500)
        yield browser, page


def costs(browser: Browser, page: Page, points: list[tuple[float, float]]) -> list[float]:
    """Milliseconds of the main thread for each move of a drag along these points."""
    page.mouse.move(*points[0])
    page.mouse.down()
    browser.start_tracing(page=page, categories=_CATEGORIES)
    for x, y in points[1:]:
        begun = time.monotonic()
        page.mouse.move(x, y)
        page.wait_for_timeout(max(0.0, _PAUSE_MS - 1000 * (time.monotonic() - begun)))
    trace = browser.stop_tracing()
    page.mouse.up()
    return _by_move(json.loads(trace)["traceEvents"])


def _by_move(events: list[dict[str, Any]]) -> list[float]:
    """The tasks of the main thread, added up from each move to the next."""
    moves = [
        event
        for event in events
        if event.get("name") == "EventDispatch"
        and event.get("args", {}).get("data", {}).get("type") == "pointermove"
    ]
    if not moves:
        raise SystemExit("the trace has no move of the pointer")
    place = moves[0]["pid"], moves[0]["tid"]
    tasks = sorted(
        (event["ts"], event.get("dur", 0))
        for event in events
        if event.get("ph") == "X"
        and event["name"] == "RunTask"  # the same task stands in other categories by another name
        and (event["pid"], event["tid"]) == place
    )
    begins = sorted(event["ts"] for event in moves if (event["pid"], event["tid"]) == place)
    found = []
    for begin, end in itertools.pairwise(begins):
        # The task that dispatches the event begins before it.
        spent = sum(long for at, long in tasks if at + long > begin and at + long <= end)
        found.append(spent / 1000)
    return found


def summary(name: str, values: list[float], limit: float) -> str:
    """One line: median, 95th percentile, most, and whether the limit is kept."""
    ordered = sorted(values)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    held = "kept" if p95 < limit else "NOT kept"
    return (
        f"{name}: {len(values)} moves, median {statistics.median(values):.1f} ms, "
        f"p95 {p95:.1f} ms, most {ordered[-1]:.1f} ms; limit {limit:g} ms {held}"
    )
