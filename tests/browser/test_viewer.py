"""The viewer as one reader uses it: toolbar by keys, what is remembered, rulers, full screen."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import FILM, TWO_FRAMES, Cases, Visitor, draw, still_film, wait_until
from tests.support.pictures import to_greys

pytestmark = pytest.mark.browser

_COLOURS = """() => {
    const canvas = document.querySelector(".film-layer");
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let ai = 0, reader = 0;
    for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] <= 40) continue;
        if (data[i + 1] > data[i] + 40) ai += 1;
        if (data[i] > data[i + 2] + 60 && data[i] > data[i + 1]) reader += 1;
    }
    return [ai, reader];
}"""
_MODULE = """const module = (name) => import(new URL(`./viewer/${name}.js`,
    document.querySelector("script[type=module][src*=case]").src));"""
_GREYS = """async ([bits, centre, width, inverted]) => {
    MODULE
    const { Windowing } = await module("windowing");
    const { Greys } = await module("greys");
    const windowing = new Windowing([[centre, width, "window 1"]], bits);
    if (inverted) windowing.invert();
    return Array.from(new Greys().lookup(windowing.now), (pixel) => pixel & 255);
}""".replace("MODULE", _MODULE)
_SAMPLED = """async ([values, columns, rows, turn, flipped]) => {
    MODULE
    const { Sampler } = await module("sampler");
    const { Geometry } = await module("geometry");
    const geometry = new Geometry(columns, rows);
    geometry.resize(200, 300, { left: 0, right: 0, top: 0, bottom: 0 });
    for (let i = 0; i < turn; i += 1) geometry.rotate(1);
    if (flipped) geometry.flip();
    const sampler = new Sampler([{ data: Uint16Array.from(values), columns, rows }]);
    sampler.sample(0, 0, 1, geometry, geometry.across, geometry.down);
    let farthest = 0;
    for (const [x, y] of [[0, 0], [columns, 0], [3.5, 7.25], [columns, rows]]) {
        const film = geometry.toScreen(x, y);
        const back = geometry.toPicture(film.x, film.y);
        farthest = Math.max(farthest, Math.abs(back.x - x), Math.abs(back.y - y));
    }
    const { width, height } = sampler.rect;
    return { size: [width, height], values: Array.from(sampler.values), farthest };
}""".replace("MODULE", _MODULE)
_WINDOW_OF = """async ([values, columns, rows, box]) => {
    MODULE
    const { windowOf } = await module("greys");
    return windowOf({ data: Uint16Array.from(values), columns, rows }, box);
}""".replace("MODULE", _MODULE)
_PAGE = """const page = import(document.querySelector("script[type=module][src*=case]").src);"""
_STATE = """async () => {
    PAGE
    return (await page).viewerOfPage().state();
}""".replace("PAGE", _PAGE)
_RESTORE = """async (state) => {
    PAGE
    (await page).viewerOfPage().restore(state);
}""".replace("PAGE", _PAGE)
_FOCUSED = "document.activeElement.dataset.action ?? document.activeElement.className"


def _open(visitor: Visitor, study: object, **options: object) -> Page:
    page = visitor.open(f"/studies/{study}", **options)  # type: ignore[arg-type]
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    page.evaluate(TWO_FRAMES)
    return page


def _until(page: Page, so: Callable[[int, int], bool]) -> None:
    """Wait until this many pixels have the AI's and the reader's colour."""
    wait_until(page, lambda: so(*page.evaluate(_COLOURS)))


def _saved(page: Page, path: str) -> Callable[[], None]:
    """Waits until the page has stored something at this path."""
    done: list[int] = []
    page.on("response", lambda r: done.append(r.status) if r.url.endswith(path) else None)
    return lambda: wait_until(page, lambda: bool(done) and done[-1] == 204)


def test_the_toolbar_is_one_stop_of_the_tab_key(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    page.locator(".film-stage").focus()
    page.keyboard.press("Tab")
    assert page.evaluate(_FOCUSED) == "tool-window"
    window = page.inner_text("[data-out=zoom]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(_FOCUSED) == "tool-pan"
    page.keyboard.press("End")
    assert page.evaluate(_FOCUSED) == "full"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(_FOCUSED) == "tool-window"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate(_FOCUSED) == "beside"
    assert page.inner_text("[data-out=zoom]") == window  # the picture has not moved
    page.keyboard.press("Tab")
    inside = page.evaluate("Boolean(document.activeElement.closest('.film-tools'))")
    assert not inside
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(_FOCUSED) == "beside"


def test_after_a_click_on_a_tool_the_arrows_move_the_picture(
    visitor: Visitor, cases: Cases
) -> None:
    page = _open(visitor, cases.likely)
    page.click("[data-action=tool-pan]")
    assert "film-stage" in page.evaluate(_FOCUSED)


def test_at_first_the_outline_has_no_fill(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    expect(page.locator("[data-action=mode-outline]")).to_have_attribute("aria-pressed", "true")
    _until(page, lambda ai, _: ai > 200)
    thin = page.evaluate(_COLOURS)[0]
    page.click("[data-action=mode-fill]")
    _until(page, lambda ai, _: ai > 5 * thin)


def test_what_a_reader_chose_is_there_in_another_browser(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    stored = _saved(page, "/viewer/preferences")
    page.click("[data-action=mode-fill]")
    page.keyboard.press("i")
    before = page.inner_text("[data-out=window]")
    page.click("[data-action=presets]")
    page.click("#film-presets button:has-text('lung')")
    expect(page.locator("[data-out=window]")).not_to_have_text(before)
    chosen = page.inner_text("[data-out=window]")
    page.click("[data-action=overlay-key]")
    stored()
    other = _open(visitor, cases.likely)
    expect(other.locator("[data-out=flags]")).to_have_text("inverted")
    expect(other.locator("[data-out=window]")).to_have_text(chosen)
    assert other.evaluate(_COLOURS)[0] == 0
    other.keyboard.press("o")
    _until(other, lambda ai, _: ai > 1000)
    another_reader = _open(visitor, cases.likely, role=visitor.site.second_reader())
    expect(another_reader.locator("[data-out=flags]")).to_have_text("")


def test_an_overlay_that_is_off_stays_off_and_says_so(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    page.click("[data-action=overlay-off]")
    expect(page.locator("[data-out=flags]")).to_have_text("AI overlay off")
    page.keyboard.press("o")
    page.keyboard.press("h")
    page.evaluate(TWO_FRAMES)
    page.evaluate(TWO_FRAMES)
    assert page.evaluate(_COLOURS)[0] == 0
    page.click("[data-action=overlay-on]")
    page.click("[data-action=mode-outline]")
    _until(page, lambda ai, _: ai > 200)


def test_rulers_survive_a_reload_and_a_reset_removes_them(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(71), patient_name="RULER^READER")
    page = _open(visitor, study)
    stored = _saved(page, "/annotations")
    page.keyboard.press("t")
    page.mouse.move(400, 300)
    page.mouse.down()
    page.mouse.move(560, 420, steps=3)
    page.mouse.up()
    _until(page, lambda _, reader: reader > 100)
    stored()
    page.reload()
    page.wait_for_selector("#film[data-depth=full]")
    _until(page, lambda _, reader: reader > 100)
    gone = _saved(page, "/annotations")
    page.keyboard.press("v")
    gone()
    page.reload()
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    page.evaluate(TWO_FRAMES)
    assert page.evaluate(_COLOURS)[1] == 0


def test_full_screen_names_the_patient_over_the_film(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    strip = page.locator(".film-patient")
    expect(strip).to_be_hidden()
    page.keyboard.press("f")
    expect(strip).to_contain_text("CANARY, ZEBRA")
    expect(strip).to_contain_text("ID")


def test_print_shows_patient_picture_and_result(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    page.emulate_media(media="print")
    expect(page.locator(".film-patient")).to_be_visible()
    expect(page.locator(".film-patient")).to_contain_text("CANARY, ZEBRA")
    expect(page.locator(".film-picture")).to_be_visible()
    expect(page.locator("#ai-panel")).to_contain_text("Pneumothorax likely")
    expect(page.locator(".film-tools")).to_be_hidden()


def test_the_viewers_greys_are_those_of_the_reference_table(visitor: Visitor, cases: Cases) -> None:
    """Of every value of 16 bits, through windows as headers have them; pydicom's greys are equal
    to these (tests/ml/images/test_reference_greys.py)."""
    page = _open(visitor, cases.likely)
    values = np.arange(65536.0)
    windows = ((8, 127.5, 255), (10, 471.6, 627.7), (12, 1842.7, 2511.3), (15, 14745.6, 20087.0))
    for bits, centre, width in (*windows, (16, 29491.2, 40174.1)):
        for inverted in (False, True):
            drawn = page.evaluate(_GREYS, [bits, centre, width, inverted])
            expected = to_greys(values, centre - width / 2, centre + width / 2)
            assert drawn == (255 - expected if inverted else expected).tolist()


def test_a_turned_and_mirrored_picture_is_sampled_pixel_by_pixel(
    visitor: Visitor, cases: Cases
) -> None:
    page = _open(visitor, cases.likely)
    picture = np.random.default_rng(5).integers(0, 65536, (23, 31))
    for turn, flipped in itertools.product(range(4), (False, True)):
        expected = np.rot90(picture, -turn)
        expected = expected[:, ::-1] if flipped else expected
        seen = page.evaluate(_SAMPLED, [picture.ravel().tolist(), 31, 23, turn, flipped])
        assert seen["size"] == [expected.shape[1], expected.shape[0]]
        assert seen["values"] == expected.ravel().tolist()
        assert seen["farthest"] < 1e-9  # there and back by screen coordinates


def test_a_picture_is_turned_by_keys_and_its_sides_go_with_it(
    visitor: Visitor, cases: Cases
) -> None:
    page = _open(visitor, cases.likely)
    flags = page.locator("[data-out=flags]")
    page.keyboard.press("v")
    expect(flags).to_have_text("")
    before = still_film(page)
    page.keyboard.press(">")
    expect(flags).to_have_text("turned 90°")
    wait_until(page, lambda: page.evaluate(FILM) != before)
    page.keyboard.press("<")
    page.keyboard.press("<")
    expect(flags).to_have_text("turned 270°")
    page.keyboard.press("x")
    expect(flags).to_have_text("turned 270°, mirrored")
    page.keyboard.press("v")
    expect(flags).to_have_text("")
    wait_until(page, lambda: page.evaluate(FILM) == before)


def test_a_window_from_an_area_is_that_of_its_pixels(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    picture = np.random.default_rng(6).integers(0, 4096, (40, 50))
    box = picture[5:31, 8:20]
    low, high = np.percentile(box, (1, 99), method="inverted_cdf")
    found = page.evaluate(_WINDOW_OF, [picture.ravel().tolist(), 50, 40, [8.3, 5.0, 19.2, 30.9]])
    assert found == {"centre": (low + high) / 2, "width": high - low}
    assert page.evaluate(_WINDOW_OF, [picture.ravel().tolist(), 50, 40, [3, 3, 5, 5]]) is None
    page.keyboard.press("v")
    window = page.locator("[data-out=window]")
    before = window.inner_text()
    page.keyboard.press("s")
    page.mouse.move(400, 300)
    page.mouse.down()
    page.mouse.move(560, 420, steps=3)
    page.mouse.up()
    expect(window).not_to_have_text(before)
    page.keyboard.press("v")
    expect(window).to_have_text(before)


def test_a_view_is_drawn_again_from_its_state(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    page.locator(".film-stage").focus()
    keys = ("i", "+", "+", "+", "ArrowLeft", "ArrowUp", ">", "x", "k", "]", "]", ".", "Shift+O")
    for key in (*keys, "4"):
        page.keyboard.press(key)
    film = still_film(page)
    state, ai = (page.evaluate(script) for script in (_STATE, _COLOURS))
    assert (state["window"]["inverted"], state["outline"]) == (True, False)
    assert state["place"]["turn"] == 1
    visitor.site.forget_preferences()
    again = _open(visitor, cases.likely)
    assert still_film(again) != film
    again.evaluate(_RESTORE, state)
    wait_until(again, lambda: again.evaluate(FILM) == film and again.evaluate(_COLOURS) == ai)
    restored = again.evaluate(_STATE)
    assert restored["place"] == pytest.approx(state["place"])
    assert {**restored, "place": 0} == {**state, "place": 0}
    again.evaluate(_RESTORE, {"window": {"centre": None}, "threshold": "x"})  # parts that it lacks
    assert again.evaluate(_STATE) == restored
    narrow = _open(visitor, cases.likely, size=(1024, 768))
    narrow.evaluate(_RESTORE, state)
    assert narrow.evaluate(_STATE)["place"] == pytest.approx(state["place"])
