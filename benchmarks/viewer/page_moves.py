"""What a move of the pointer costs the main thread of the case page, by Chromium's own trace.

A portal is served with one drawn chest, the page is opened in the installed Chromium without a
graphics card (software rendering), and the pointer is moved by real input events, one at a time.
They are sent by DevTools' own command: Playwright's mouse also runs scripts of its own in the page
at each move of a drag, which would count as the page's.
The cost of a move is the time of all tasks of the renderer's main thread from the event until the
next one: handlers, drawing, style, layout, paint. It is given twice: by the clock, where the
thread also waits for a processor that others use, and as the processor's time of the thread alone.
What a worker does beside the main thread is given by itself: its processor's time, and how many
pictures it has drawn, which are as many as there were moves unless it is slower than the hand.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

Event = dict[str, Any]  # of a trace
Thread = tuple[int, int]  # its process and its own number


@dataclass(frozen=True)
class Costs:
    """Milliseconds for each move of a drag, and what workers did during all of them."""

    clock: list[float]
    processor: list[float]
    beside: float  # of the processor, by workers, a move
    drawn: int  # pictures, by workers


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


def costs(browser: Browser, page: Page, points: list[tuple[float, float]]) -> Costs:
    """What each move of a drag along these points costs."""
    page.mouse.move(*points[0])
    page.mouse.down()
    devtools = page.context.new_cdp_session(page)
    moved = {"type": "mouseMoved", "button": "left", "buttons": 1}
    browser.start_tracing(page=page, categories=_CATEGORIES)
    for x, y in points[1:]:
        begun = time.monotonic()
        devtools.send("Input.dispatchMouseEvent", {**moved, "x": x, "y": y})
        page.wait_for_timeout(max(0.0, _PAUSE_MS - 1000 * (time.monotonic() - begun)))
    trace = browser.stop_tracing()
    page.mouse.up()
    return _by_move(json.loads(trace)["traceEvents"])


def _thread(event: Event) -> Thread:
    return event["pid"], event["tid"]


def _by_move(events: list[Event]) -> Costs:
    """The tasks of the main thread, added up from each move to the next."""
    moves = [
        event
        for event in events
        if event.get("name") == "EventDispatch"
        and event.get("args", {}).get("data", {}).get("type") == "pointermove"
    ]
    if not moves:
        raise SystemExit("the trace has no move of the pointer")
    main = _thread(moves[0])
    workers = {
        _thread(event)
        for event in events
        if event.get("name") == "thread_name" and "DedicatedWorker" in event["args"]["name"]
    }
    # The same task stands in other categories by another name.
    tasks = [event for event in events if event.get("ph") == "X" and event["name"] == "RunTask"]
    of_main = [task for task in tasks if _thread(task) == main]
    of_workers = [task for task in tasks if _thread(task) in workers]
    clock, processor = [], []
    begins = sorted(event["ts"] for event in moves if _thread(event) == main)
    for begin, end in itertools.pairwise(begins):
        # The task that dispatches the event begins before it.
        those = [one for one in of_main if begin < one["ts"] + one.get("dur", 0) <= end]
        clock.append(sum(one.get("dur", 0) for one in those) / 1000)
        processor.append(sum(one.get("tdur", 0) for one in those) / 1000)
    return Costs(
        clock,
        processor,
        beside=sum(one.get("tdur", 0) for one in of_workers) / 1000 / len(moves),
        drawn=sum(
            event.get("name") == "FireAnimationFrame" and _thread(event) in workers
            for event in events
        ),
    )


def summary(name: str, found: Costs, limit: float) -> str:
    """Lines with median, 95th percentile and most, whether the limit is kept by the clock, and how
    busy the machine was."""
    p95 = _p95(found.clock)
    held = "kept" if p95 < limit else "NOT kept"
    one, _, fifteen = os.getloadavg()
    return "\n".join(
        (
            f"{name}: {len(found.clock)} moves; limit {limit:g} ms {held}",
            f"  main thread, by the clock:    {_spread(found.clock)}",
            f"  main thread, processor alone: {_spread(found.processor)}",
            f"  workers: {found.beside:.1f} ms of the processor a move, "
            f"{found.drawn} pictures drawn",
            f"  load of the machine: {one:.1f} in the last minute, {fifteen:.1f} in fifteen, "
            f"{os.cpu_count()} processors",
        )
    )


def _spread(values: list[float]) -> str:
    return (
        f"median {statistics.median(values):.1f} ms, p95 {_p95(values):.1f} ms, "
        f"most {max(values):.1f} ms"
    )


def _p95(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
