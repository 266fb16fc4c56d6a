"""The picture is drawn in a worker, on the page where that can't be, and alike by both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pypdfium2
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import FILM, Cases, Visitor, still_film, wait_until

pytestmark = pytest.mark.browser

_OUTLINED = """() => {
    const layer = document.querySelector("#film .film-layer");
    const { data } = layer.getContext("2d").getImageData(0, 0, layer.width, layer.height);
    return data.some((byte) => byte > 0);
}"""
_GRAPHICS_RESET = """() => {
    const layer = document.querySelector("#film .film-layer");
    layer.getContext("2d").reset();
    layer.dispatchEvent(new Event("contextrestored"));
}"""
_OLD_BROWSER = "delete HTMLCanvasElement.prototype.transferControlToOffscreen;"
_NOTED_WORKERS = """
window.noted = [];
window.Worker = class extends Worker {
    constructor(...given) { super(...given); noted.push([this, String(given[0])]); }
};
"""
_WORKER_ENDS = """() => {
    const [worker] = noted.find(([, url]) => url.includes("painter_worker"));
    worker.dispatchEvent(new ErrorEvent("error"));
}"""
_DRAWS_ON_PAGE = """() => {
    try {
        return Boolean(document.querySelector("#film .film-picture").getContext("2d"));
    } catch {
        return false;  // it is a worker's
    }
}"""
_LOUPE = """() => {
    const loupe = document.querySelector("#film .film-loupe");
    if (loupe.hidden) return null;
    const at = loupe.width / 2;
    return loupe.getContext("2d").getImageData(at, at, 1, 1).data[0];
}"""


def _open(visitor: Visitor, study: object, script: str = "") -> Page:
    page = visitor.open("/worklist")
    if script:
        page.add_init_script(script)
    page.goto(f"{visitor.site.url}/studies/{study}")
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    return page


def _views(page: Page) -> list[int]:
    """What the film shows as it was opened, and after changes of its place and window."""
    seen = [still_film(page)]
    for keys in (("4",), ("i",), ("+", "+", "ArrowLeft"), (">", "x"), ("Shift+ArrowRight", "9")):
        for key in keys:
            page.keyboard.press(key)
        seen.append(still_film(page))
    return seen


def test_a_browser_without_canvases_for_workers_shows_the_same(
    visitor: Visitor, cases: Cases
) -> None:
    seen = _views(_open(visitor, cases.likely))
    assert len(set(seen)) == len(seen)
    visitor.site.forget_preferences()
    assert _views(_open(visitor, cases.likely, _OLD_BROWSER)) == seen


def test_where_the_worker_cannot_start_the_page_draws_the_picture(
    visitor: Visitor, cases: Cases
) -> None:
    expected = still_film(_open(visitor, cases.likely))
    visitor.refusals_expected = True
    page = visitor.open("/worklist")
    page.route("**/viewer/painter_worker.js", lambda route: route.abort())
    page.goto(f"{visitor.site.url}/studies/{cases.likely}")
    again = page.locator("#film-trouble button")
    full = page.locator("#film[data-depth=full]")
    expect(full.or_(again)).to_have_count(1)
    if again.count():  # the worker had been given the pixels before it was known to be none
        again.click()
    page.wait_for_selector("#film[data-depth=full]")
    assert still_film(page) == expected
    assert page.evaluate(_DRAWS_ON_PAGE)


def test_a_worker_that_ends_is_replaced_and_the_view_stays(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely, _NOTED_WORKERS)
    assert not page.evaluate(_DRAWS_ON_PAGE)
    for key in ("i", "+", "x"):
        page.keyboard.press(key)
    before = still_film(page)
    page.evaluate(_WORKER_ENDS)
    page.wait_for_selector("#film[data-depth=full]")
    wait_until(page, lambda: page.evaluate(FILM) == before)
    assert page.evaluate(_DRAWS_ON_PAGE)
    page.keyboard.press("i")
    wait_until(page, lambda: page.evaluate(FILM) != before)


def test_the_magnifier_follows_the_pointer_and_the_window(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    film: Any = page.locator("#film .film-stage").bounding_box()
    middle = film["x"] + film["width"] / 2, film["y"] + film["height"] / 2

    def lies(right: int, down: int) -> bool:
        box = page.locator("#film .film-loupe").bounding_box()
        return box is not None and (
            abs(box["x"] + box["width"] / 2 - middle[0] - right) < 2
            and abs(box["y"] + box["height"] / 2 - middle[1] - down) < 2
        )

    page.locator("#film .film-stage").focus()
    page.keyboard.press("m")  # by keys alone
    wait_until(page, lambda: lies(0, 0))
    page.mouse.move(middle[0] + 70, middle[1] + 30)
    wait_until(page, lambda: lies(70, 30))
    grey = page.evaluate(_LOUPE)
    page.keyboard.press("i")
    wait_until(page, lambda: page.evaluate(_LOUPE) == 255 - grey)
    page.keyboard.press("w")
    assert page.evaluate(_LOUPE) is None
    page.mouse.move(middle[0], middle[1])
    page.wait_for_timeout(200)
    assert page.evaluate(_LOUPE) is None


def test_an_outline_is_drawn_again_where_the_graphics_card_was_reset(
    visitor: Visitor, cases: Cases
) -> None:
    page = _open(visitor, cases.likely)
    wait_until(page, lambda: page.evaluate(_OUTLINED))
    assert not page.evaluate(
        """() => {
            const layer = document.querySelector("#film .film-layer");
            layer.getContext("2d").reset();
            return OUTLINED();
        }""".replace("OUTLINED", f"({_OUTLINED})")
    )
    page.evaluate(_GRAPHICS_RESET)
    wait_until(page, lambda: page.evaluate(_OUTLINED))


def test_on_paper_the_outline_lies_on_the_picture(visitor: Visitor, cases: Cases) -> None:
    """Regression: what had cleared the outline's canvas cleared the picture on the paper."""
    page = _open(visitor, cases.likely)
    page.keyboard.press("+")  # drawn more than once
    still_film(page)
    paper = pypdfium2.PdfDocument(page.pdf(print_background=True))[0].render(scale=1).to_pil()
    greys = np.asarray(paper.convert("L"))[60:400, 100:500]
    assert (greys < 250).mean() > 0.9  # the film, and its black surround
    assert np.unique(greys).size > 100
