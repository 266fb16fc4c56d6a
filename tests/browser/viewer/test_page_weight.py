"""What the case page loads: named by the page, few enough bytes, kept for the next case."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, Route

from tests.browser.conftest import TWO_FRAMES, Cases, Visitor, wait_until

pytestmark = pytest.mark.browser

MOST_BYTES, MOST_SENT = 250_000, 80_000
# Workers, and what the one that draws imports.
WORKERS = ("/viewer/area.js", "/viewer/painter_worker.js")
PHONE = (390, 844)
OF_WORKERS = tuple(f"/viewer/{name}.js" for name in ("painter", "sampler", "greys", "pyramid"))
_LOADED = """() => performance.getEntriesByType("resource")
    .filter(one => new URL(one.name).pathname.endsWith(".js"))
    .map(one => ({ name: one.name, sent: one.transferSize,
        bytes: one.decodedBodySize, packed: one.encodedBodySize }))"""
_NAMED = """() => [...document.querySelectorAll("script[src], link[rel=modulepreload]")]
    .map(one => one.src || one.href)"""
# The picture may take as long as it likes.
_NO_LIMIT = """
const wait = setTimeout;
window.setTimeout = (act, after, ...given) => after === 3000 ? 0 : wait(act, after, ...given);
"""


def test_the_case_page_names_its_scripts_and_they_weigh_little(
    visitor: Visitor, cases: Cases
) -> None:
    page = opened(visitor, f"/studies/{cases.likely}")
    loaded: list[dict[str, Any]] = page.evaluate(_LOADED)
    named = set(page.evaluate(_NAMED))
    by_name = {one["name"]: one for one in loaded}
    workers = {name for name in by_name if name.endswith(WORKERS + OF_WORKERS)}
    assert set(by_name) - workers == named, "modulepreload names what the scripts import, no more"
    raw, sent = (sum(one[name] for one in by_name.values()) for name in ("bytes", "packed"))
    print(f"scripts of the case page: {len(by_name)}, {raw:,} bytes, {sent:,} as they are sent")
    assert raw <= MOST_BYTES
    assert sent <= MOST_SENT


def test_the_next_case_loads_no_script_again(visitor: Visitor, cases: Cases) -> None:
    page = opened(visitor, f"/studies/{cases.likely}")
    page.goto(f"{visitor.site.url}/studies/{cases.none_found}")
    page.wait_for_selector("#film[data-depth=full]")
    again = page.evaluate(_LOADED)
    assert len(again) > 30
    assert [one["name"] for one in again if one["sent"]] == []


def test_on_a_phone_the_picture_comes_before_what_works_with_it(
    visitor: Visitor, cases: Cases
) -> None:
    page = visitor.open("/worklist", size=PHONE)
    page.add_init_script(_NO_LIMIT)
    held: list[Route] = []
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/blobs/preview*", lambda route: held.append(route))
    # By then the page's own scripts have begun.
    page.goto(f"{visitor.site.url}/studies/{cases.likely}", wait_until="domcontentloaded")
    page.evaluate(TWO_FRAMES)
    assert not [url for url in asked if url.endswith("/js/case.js")]
    wait_until(page, lambda: bool(held))
    held[0].continue_()
    page.wait_for_selector("#film[data-depth=full]")


def test_on_a_phone_a_case_can_be_read_without_its_preview(visitor: Visitor, cases: Cases) -> None:
    visitor.refusals_expected = True
    page = visitor.open("/worklist", size=PHONE)
    page.route("**/blobs/preview*", lambda route: route.abort())
    page.goto(f"{visitor.site.url}/studies/{cases.likely}")
    page.wait_for_selector("#film[data-depth=full]")


def opened(visitor: Visitor, path: str) -> Page:
    """A case's page with its picture at full depth."""
    page = visitor.open(path)
    page.wait_for_selector("#film[data-depth=full]")
    return page
