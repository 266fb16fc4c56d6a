"""The case page: picture, overlay, threshold, and live updates."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pydicom
import pytest
from playwright.sync_api import Page, Route, expect

from ml.inference import outline
from ml.preparation import phantom
from portal.models import Role
from tests.browser.conftest import TWO_FRAMES, Cases, Visitor, draw, wait_until
from tests.support.browser_portal import BrowserPortal

pytestmark = pytest.mark.browser

# The picture's own canvas belongs to a worker: what it shows is copied.
_GREY = """([x, y]) => {
    const film = document.querySelector(".film-picture");
    const copy = new OffscreenCanvas(1, 1).getContext("2d");
    copy.drawImage(film, -x, -y, film.clientWidth, film.clientHeight);
    return copy.getImageData(0, 0, 1, 1).data[0];
}"""
_PAINTED = """() => {
    const canvas = document.querySelector(".film-layer");
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let painted = 0;
    for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] > 40 && data[i + 1] > data[i] + 40) painted += 1;
    }
    return painted;
}"""
# Each in one go: O counts as held after 350 ms, and G is forgotten after 900.
_TAP_O = """() => {
    for (const type of ["keydown", "keyup"]) {
        document.body.dispatchEvent(new KeyboardEvent(type, { key: "o", bubbles: true }));
    }
}"""
_TYPE = """keys => {
    for (const key of keys) {
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }
}"""


def _until(page: Page, so: Callable[[int], bool]) -> None:
    """Wait until this many pixels are painted."""
    wait_until(page, lambda: so(page.evaluate(_PAINTED)))


def _open(visitor: Visitor, study: object) -> Page:
    """The case page once picture and map have loaded and been painted."""
    page = visitor.open(f"/studies/{study}")
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    page.wait_for_selector("[data-measure=area][data-pixels]", state="attached")
    page.evaluate(TWO_FRAMES)
    return page


def _area(page: Page) -> int:
    """The area beside the picture, in pixels, as soon as it is counted."""
    shown = page.get_attribute(
        "[data-measure=area][data-pixels]:not([data-pixels=''])", "data-pixels"
    )
    assert shown is not None
    return int(shown)


def test_the_finding_comes_first_and_the_numbers_are_the_servers(
    visitor: Visitor, cases: Cases
) -> None:
    page = _open(visitor, cases.likely)
    measured = cases.likely_prediction.measurements
    assert measured is not None
    panel = page.inner_text("#ai-panel")
    assert panel.index("Pneumothorax likely") < panel.index("right")
    # One size at first; the rest unfolds.
    share = measured["extents"][0]["fraction"]
    assert f"Share of the right hemithorax {100 * share:.0f} %" in " ".join(panel.split())
    distance = f"{measured['distance_mm']:.0f} mm"
    assert distance not in panel
    page.click("#sizes summary")
    assert distance in page.inner_text("#sizes")
    assert _area(page) == measured["area_px"]
    assert "phantom 1.0" in (page.text_content("#ai-panel") or "")


def test_none_found_is_never_shown_as_no_pneumothorax(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.none_found)
    assert "None found" in page.inner_text("#ai-panel")
    assert "no pneumothorax" not in page.inner_text("body").lower()
    assert page.evaluate(_PAINTED) == 0


@pytest.mark.parametrize("position", [12, 30, 45, 62, 90])
def test_a_moved_threshold_has_exactly_the_servers_area(
    visitor: Visitor, cases: Cases, position: int
) -> None:
    page = _open(visitor, cases.likely)
    page.fill("#threshold-input", str(position / 100))
    name = "the model’s" if position == 45 else "your threshold"
    expect(page.locator("[data-threshold=name]")).to_have_text(name)
    area = page.text_content("[data-measure=area]")
    beside = "" if position == 45 else f"Area {area} at your threshold"
    expect(page.locator("[data-threshold=area]")).to_have_text(beside)
    map_ = cases.likely_prediction.probability_map
    assert map_ is not None
    mask = outline.mask(map_, position / 100, 0, 720, 640)
    assert _area(page) == int(mask.sum())


def test_an_area_that_is_not_counted_yet_comes_by_itself(visitor: Visitor, cases: Cases) -> None:
    page = visitor.open("/worklist")
    held: list[Route] = []
    page.route("**/viewer/area.js", lambda route: held.append(route))
    page.goto(f"{visitor.site.url}/studies/{cases.likely}")
    page.wait_for_selector("#film[data-overlay=ready]")
    page.fill("#threshold-input", "0.3")
    expect(page.locator("[data-measure=area]")).to_have_text("…")
    wait_until(page, lambda: len(held) > 0)  # the page shows it before its request arrives here
    held.pop().continue_()
    assert _area(page) > 0
    expect(page.locator("[data-measure=area]")).not_to_have_text("…")


def test_the_browser_counts_every_threshold_as_the_server_does(
    visitor: Visitor, cases: Cases
) -> None:
    page = visitor.open("/worklist")
    random = np.random.default_rng(7)
    thresholds = [round(0.01 * k, 2) for k in range(1, 100)]
    for rows, columns, tall, wide in [(40, 33, 311, 173), (5, 7, 23, 41), (64, 64, 50, 49)]:
        map_ = random.integers(0, 256, (rows, columns)).astype(np.uint8)
        map_[: rows // 3] = 102  # flat, and exactly at a threshold
        counted = page.evaluate(
            """async ([map, rows, columns, tall, wide, thresholds]) => {
                const { countAtThresholds } = await import("/static/js/viewer/upsample.js");
                const bytes = Uint8Array.from(map);
                return [...countAtThresholds(bytes, rows, columns, tall, wide, thresholds)];
            }""",
            [map_.ravel().tolist(), rows, columns, tall, wide, thresholds],
        )
        expected = [int(outline.mask(map_, t, 0, tall, wide).sum()) for t in thresholds]
        assert counted == expected


def test_the_browser_leaves_out_the_islands_that_the_server_leaves_out(visitor: Visitor) -> None:
    page = visitor.open("/worklist")
    random = np.random.default_rng(11)
    thresholds = [round(0.05 * k, 2) for k in range(1, 20)]
    for rows, columns, tall, wide in [(40, 33, 311, 173), (5, 7, 23, 41), (64, 64, 50, 49)]:
        map_ = random.integers(0, 256, (rows, columns)).astype(np.uint8)
        counted = page.evaluate(
            """async ([map, rows, columns, tall, wide, thresholds]) => {
                const { countAtThresholds } = await import("/static/js/viewer/upsample.js");
                const islands = await import("/static/js/viewer/islands.js");
                const { islandPixels, withoutIslands } = islands;
                const bytes = Uint8Array.from(map);
                const all = countAtThresholds(bytes, rows, columns, tall, wide, thresholds);
                return thresholds.map((t, k) => {
                    const kept = withoutIslands(bytes, rows, columns, t * 255, 6);
                    const [count] = countAtThresholds(kept, rows, columns, tall, wide, [t]);
                    return [all[k] - islandPixels(bytes, rows, columns, tall, wide, t, 6), count];
                });
            }""",
            [map_.ravel().tolist(), rows, columns, tall, wide, thresholds],
        )
        expected = [
            int(outline.mask(map_, t, 0, tall, wide, island_px_min=6).sum()) for t in thresholds
        ]
        assert counted == [[count, count] for count in expected]


def test_pixel_threshold_and_image_operating_point_are_named_apart(
    visitor: Visitor, cases: Cases
) -> None:
    panel = _open(visitor, cases.likely).inner_text("#ai-panel")
    assert "Possible: probability from 0.40 (image operating point: balanced)" in panel
    assert "Likely: from 0.70" in panel
    assert "Pixel threshold" in panel
    assert "0.45 · the model’s" in " ".join(panel.split())


def test_threshold_keys_move_and_give_back_the_models(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    before = _area(page)
    for _ in range(3):
        page.keyboard.press("[")
    expect(page.locator("[data-threshold=value]")).to_have_text("0.42")
    assert _area(page) > before
    page.keyboard.press("\\")
    expect(page.locator("[data-threshold=name]")).to_have_text("the model’s")
    assert _area(page) == before


def test_a_drag_changes_window_and_level(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    line = page.locator("[data-out=window]")
    before, grey = line.inner_text(), page.evaluate(_GREY, [560, 300])
    page.mouse.move(500, 400)
    page.mouse.down()
    page.mouse.move(430, 520, steps=4)
    page.mouse.up()
    expect(line).not_to_have_text(before)
    page.wait_for_function(f"() => ({_GREY})([560, 300]) !== {grey}")
    page.keyboard.press("v")
    expect(line).to_have_text(before)
    page.wait_for_function(f"() => ({_GREY})([560, 300]) === {grey}")


def test_what_the_sender_hides_is_black_until_the_reader_asks_for_it(
    visitor: Visitor, site: BrowserPortal
) -> None:
    drawn = draw(31)
    file = pydicom.dcmread(io.BytesIO(phantom.dicom(drawn, patient_name="PHANTOM^SHUTTER")))
    file.ShutterShape = "RECTANGULAR"
    file.ShutterLeftVerticalEdge, file.ShutterRightVerticalEdge = 65, 640
    file.ShutterUpperHorizontalEdge, file.ShutterLowerHorizontalEdge = 1, 720
    stream = io.BytesIO()
    file.save_as(stream)
    study = site.submit(stream.getvalue())
    site.segment(study, site.render(study), drawn.mask, 0.9)
    page = _open(visitor, study)
    box = page.locator(".film-preview").bounding_box()
    assert box is not None
    hidden, shown = ([round(box["x"] + box["width"] * at / 640), 400] for at in (40, 90))
    grey = page.evaluate(_GREY, shown)
    assert (page.evaluate(_GREY, hidden), grey > 0) == (0, True)
    expect(page.locator("[data-out=flags]")).to_have_text("edges hidden")
    page.keyboard.press("j")
    page.wait_for_function(f"() => ({_GREY})({hidden}) > 0")
    expect(page.locator("[data-action=shutter]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-out=flags]")).to_have_text("")
    assert page.evaluate(_GREY, shown) == grey
    page.keyboard.press("v")
    page.wait_for_function(f"() => ({_GREY})({hidden}) === 0")


def test_the_full_picture_replaces_the_preview_without_a_jump(
    visitor: Visitor, cases: Cases
) -> None:
    page = _open(visitor, cases.likely)
    preview = page.locator(".film-preview").bounding_box()
    assert preview is not None
    scale = page.evaluate("document.querySelector('.film-stage').clientHeight") / 720
    assert preview["height"] == pytest.approx(720 * scale, abs=1)
    inside = [round(preview["x"] + 3), 400]
    outside = [round(preview["x"] - 4), 400]
    assert page.evaluate(_GREY, outside) == 0
    assert page.evaluate(_GREY, inside) > 0


def test_keys_hide_the_overlay_invert_zoom_and_mirror(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    page.wait_for_function(f"() => ({_PAINTED})() > 500")
    page.evaluate(_TAP_O)
    page.wait_for_function(f"() => ({_PAINTED})() === 0")
    page.evaluate(_TAP_O)
    page.wait_for_function(f"() => ({_PAINTED})() > 500")
    page.keyboard.press("h")
    expect(page.locator("#film-legend")).to_be_visible()
    grey = page.evaluate(_GREY, [560, 300])
    page.keyboard.press("i")
    page.wait_for_function(f"() => ({_GREY})([560, 300]) === {255 - grey}")
    page.keyboard.press("x")
    expect(page.locator("[data-out=flags]")).to_have_text("inverted, mirrored")
    zoom = page.locator("[data-out=zoom]")
    before = zoom.inner_text()
    page.keyboard.press("+")
    expect(zoom).not_to_have_text(before)
    page.keyboard.press("8")
    expect(zoom).to_have_text(before)


def test_the_readout_names_the_density_under_the_cursor(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    page.mouse.move(600, 450)
    line = page.locator("[data-out=pixel]")
    expect(line).to_have_text(re.compile(r"x \d+ y \d+ = \d+"))
    x, y, value = (int(n) for n in re.findall(r"\d+", line.inner_text()))
    assert value == int(draw(1).pixels[y, x])


def test_a_ruler_measures_in_millimetres_and_names_the_spacing(
    visitor: Visitor, cases: Cases
) -> None:
    page = _open(visitor, cases.likely)
    before = page.evaluate(
        """async () => {
            const { Annotations } = await import("/static/js/viewer/annotations.js");
            const spacing = { row_mm: 0.5, column_mm: 0.25, source: "detector" };
            const text = (known, line) => new Annotations(known).textOf({ kind: "ruler", line });
            return [text(spacing, [0, 0, 40, 0]), text(spacing, [0, 0, 0, 40]),
                    text(null, [0, 0, 30, 40])];
        }"""
    )
    assert before == ["10.0 mm (detector)", "20.0 mm (detector)", "50 px"]


def test_full_screen_gives_the_picture_the_whole_window(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    page.keyboard.press("f")
    expect(page.locator("#panel")).to_be_hidden()
    page.keyboard.press("f")
    expect(page.locator("#panel")).to_be_visible()


def test_a_case_updates_itself_without_a_reload(visitor: Visitor) -> None:
    site, drawn = visitor.site, draw(31)
    study = site.submit(phantom.dicom(drawn, patient_name="LIVE^CASE"))
    page = visitor.open(f"/studies/{study}")
    page.evaluate("window.stayed = true")
    expect(page.locator("#film-wait")).to_contain_text("being prepared")
    assert page.locator("#review button").first.is_disabled()
    site.register_workers()
    picture = site.render(study)
    expect(page.locator("#ai-panel")).to_contain_text("Analysing for pneumothorax")
    page.wait_for_selector("#film[data-depth=full]")
    site.segment(study, picture, drawn.mask, 0.9)
    expect(page.locator("#ai-panel")).to_contain_text("Pneumothorax likely")
    page.wait_for_selector("#film[data-overlay=ready]")
    page.wait_for_function(f"() => ({_PAINTED})() > 500")
    assert page.evaluate("window.stayed") is True
    # Regression: after a live update every key was handled twice and undid itself.
    page.evaluate(_TAP_O)
    page.wait_for_function(f"() => ({_PAINTED})() === 0")
    page.keyboard.press("x")
    expect(page.locator("[data-out=flags]")).to_have_text("mirrored")
    expect(page.locator("[data-act=agree]")).to_have_text("Agree: right A")
    page.keyboard.press("a")
    expect(page.locator("#review-current")).to_have_text("Right · agreed")


def test_caps_lock_and_other_keyboards_reach_the_same_keys(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.likely)
    page.keyboard.press("X")
    expect(page.locator("[data-out=flags]")).to_have_text("mirrored")
    before = page.inner_text("[data-threshold=value]")
    press = """([key, code, altGr]) => document.body.dispatchEvent(new KeyboardEvent("keydown", {
        key, code, ctrlKey: altGr, altKey: altGr, modifierAltGraph: altGr, bubbles: true }))"""
    page.evaluate(press, ["[", "Digit8", True])
    expect(page.locator("[data-threshold=value]")).not_to_have_text(before)
    page.evaluate(press, ["ч", "KeyX", False])
    expect(page.locator("[data-out=flags]")).to_have_text("")
    page.goto(f"{visitor.site.url}/worklist")
    page.evaluate(_TYPE, ["G", "H"])
    page.wait_for_url("**/history")


def test_full_screen_ends_for_a_comment(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(27), patient_name="IMMERSED^READER")
    page = visitor.open(f"/studies/{study}")
    page.wait_for_selector("#film[data-depth=full]")
    page.keyboard.press("f")
    expect(page.locator("#panel")).to_be_hidden()
    page.keyboard.press("c")
    expect(page.locator("#review-comment")).to_be_focused()


def test_a_ruler_removed_while_it_is_drawn_leaves_the_others_alone(
    visitor: Visitor, cases: Cases
) -> None:
    page = _open(visitor, cases.likely)
    page.keyboard.press("t")
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(400, 300)
    page.keyboard.press("Delete")
    page.mouse.move(420, 320)
    page.mouse.up()
    page.keyboard.press("w")
    page.mouse.move(500, 400)
    page.mouse.down()
    page.mouse.move(430, 520, steps=3)
    page.mouse.up()
    expect(page.locator("[data-out=window]")).not_to_have_text("W 4095 L 2048")


def test_a_missing_overlay_is_reported_and_blocks_nothing(visitor: Visitor, cases: Cases) -> None:
    visitor.refusals_expected = True
    page = visitor.open("/worklist")
    page.route("**/blobs/probability", lambda route: route.fulfill(status=503))
    page.goto(f"{visitor.site.url}/studies/{cases.likely}")
    page.wait_for_selector("#film[data-depth=full]")
    expect(page.locator("#film-trouble")).to_contain_text("The AI overlay could not be loaded.")
    before = page.inner_text("[data-out=window]")
    page.mouse.move(500, 400)
    page.mouse.down()
    page.mouse.move(430, 520, steps=4)
    page.mouse.up()
    expect(page.locator("[data-out=window]")).not_to_have_text(before)
    page.unroute("**/blobs/probability")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector("#film[data-overlay=ready]")
    expect(page.locator("#film-trouble")).to_be_empty()


def test_a_picture_and_an_overlay_that_a_busy_portal_refused_come_by_themselves(
    visitor: Visitor, cases: Cases
) -> None:
    visitor.refusals_expected = True
    page = visitor.open("/worklist")
    asked: Counter[str] = Counter()

    def refuse_once(route: Route) -> None:
        asked[route.request.url] += 1
        if asked[route.request.url] == 1:
            route.fulfill(status=503)
        else:
            route.continue_()

    for file in ("pixels", "probability"):
        page.route(f"**/blobs/{file}*", refuse_once)
    page.goto(f"{visitor.site.url}/studies/{cases.likely}")
    for cause in ("pixels", "layer"):
        expect(page.locator(f"#film-trouble [data-cause={cause}]")).to_be_visible()
    page.keyboard.press("a")
    expect(page.locator("#review-status")).to_contain_text("so no finding can be saved")
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    expect(page.locator("#film-trouble")).to_be_empty()
    assert sorted(asked.values()) == [2, 2]


def test_pictures_without_a_result_show_the_reason(visitor: Visitor, cases: Cases) -> None:
    page = visitor.open(f"/studies/{cases.lateral}")
    panel = page.inner_text("#ai-panel")
    assert "No AI result" in panel
    assert "unaided" in panel
    assert "lateral" in panel.lower()
    page = visitor.open(f"/studies/{cases.failed}")
    assert "could not be decoded" in page.inner_text("#ai-panel")


def test_a_technologist_reads_the_reviews_but_writes_none(visitor: Visitor, cases: Cases) -> None:
    page = visitor.open(f"/studies/{cases.likely}", Role.TECHNOLOGIST)
    assert page.locator("#review").count() == 0
    assert "not read yet" in page.inner_text("#panel")


def test_a_warning_is_shown_only_when_two_readings_differ(visitor: Visitor, cases: Cases) -> None:
    page = _open(visitor, cases.hostile)
    panel = page.inner_text("#ai-panel")
    assert "the model’s two readings of this picture differ" in panel
    assert "0.31 apart, outlines overlap by 42 %" in panel
    agreed = _open(visitor, cases.likely).inner_text("#ai-panel")
    assert "0.03 apart" in agreed
    assert "readings of this picture differ" not in agreed


def test_the_region_that_drives_the_probability_can_be_shown(
    visitor: Visitor, cases: Cases
) -> None:
    page = _open(visitor, cases.likely)
    before = page.evaluate(_PAINTED)
    button = page.locator("[data-action=region]")
    expect(button).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("g")
    expect(button).to_have_attribute("aria-pressed", "true")
    _until(page, lambda painted: painted > before)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert _open(visitor, cases.none_found).locator("[data-action=region]").count() == 0


def test_the_levels_of_a_size_are_drawn_while_they_can_be_read(
    visitor: Visitor, cases: Cases
) -> None:
    page = _open(visitor, cases.likely)
    layer = "() => document.querySelector('.film-layer').toDataURL()"
    before = page.evaluate(layer)
    page.click("#sizes summary")
    page.wait_for_function(f"before => ({layer})() !== before", arg=before)
    page.click("#sizes summary")
    page.wait_for_function(f"before => ({layer})() === before", arg=before)
