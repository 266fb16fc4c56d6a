"""Pictures of every page, at three sizes and in both themes, to be looked at:

    python -m tests.browser.photograph --out FOLDER [--only NAME ...] [--quick] [--language de]

For each it also checks that nothing is wider than the window or cut off, that axe finds nothing and
that the console has no error, and prints what does not hold; then the exit status is 1. A sheet for
each page shows its pictures side by side. `scenes` lists the pages.
For 85 pages on two busy cores: nine minutes with `--quick`, about 25 with axe.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page
from playwright.sync_api import Error as BrowserError
from sqlalchemy import update

from portal.languages import NAMES
from portal.models import Language, LoginSession, Role, User
from tests.browser.conftest import TWO_FRAMES
from tests.browser.scenes import Scene, scenes
from tests.browser.test_layout import STILL
from tests.browser.world import World, make_world
from tests.conftest import launched, redis_server
from tests.support.browser_portal import open_browser_portal

SIZES = ((1440, 900), (1024, 768), (390, 844))
THEMES = ("dark", "light")
_TALLEST = 2400  # of a picture, in pixels; a list goes on like its beginning
_NARROW = 760  # where a case becomes one column, which scrolls
_SHEET = 2000  # its width in pixels
# Texts that their box cuts off, and texts beyond the window. What scrolls is not cut; what is for
# screen readers alone is not seen; a placeholder is no content.
CUT = """() => {
    const HIDDEN = ".visually-hidden, script, style, template, option, dialog:not([open])";
    const chain = function* (element) {
        for (let at = element; at && at !== document.body; at = at.parentElement) yield at;
    };
    const overflow = (element) => {
        const { overflowX, overflowY } = getComputedStyle(element);
        return overflowX + overflowY;
    };
    const isCut = (element, box) => {
        for (const at of chain(element)) {
            if (/auto|scroll/.test(overflow(at))) return false;
            if (!/hidden|clip/.test(overflow(at))) continue;
            const room = at.getBoundingClientRect();
            if (room.width < 2 || room.height < 2) return false;
            const aside = box.right > room.right + 1.5 || box.left < room.left - 1.5;
            if (aside || box.bottom > room.bottom + 3 || box.top < room.top - 3) return true;
        }
        return false;
    };
    const isOutside = (element, box) => (box.right > innerWidth + 1 || box.left < -1)
        && ![...chain(element)].some((at) => /auto|scroll/.test(overflow(at)));
    const found = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const text = node.data.trim().slice(0, 60);
        const element = node.parentElement;
        if (!text || element.closest(HIDDEN)) continue;
        const seen = { opacityProperty: true, visibilityProperty: true };
        if (!element.checkVisibility(seen)) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const box of range.getClientRects()) {
            if (box.width < 1 || box.height < 1) continue;
            if (isOutside(element, box)) found.add(`beyond the window: ${text}`);
            else if (isCut(element, box)) found.add(`cut: ${text}`);
        }
    }
    return [...found];
}"""


def main(argv: list[str]) -> int:
    """Take the pictures and print what is wrong; 1 if anything is."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.photograph")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the pictures")
    parser.add_argument("--only", nargs="*", default=[], help="pages whose name begins so")
    parser.add_argument("--quick", action="store_true", help="without axe")
    parser.add_argument("--language", choices=NAMES, default="en", help="of pages and people")
    chosen = parser.parse_args(argv)
    chosen.out.mkdir(parents=True, exist_ok=True)
    wrong, looked = 0, 0
    with (
        tempfile.TemporaryDirectory(prefix="pleura-") as folder,
        redis_server(Path(folder) / "redis") as redis_url,
        open_browser_portal(Path(folder) / "data", redis_url) as site,
        launched() as browser,
    ):
        world = make_world(site)
        with site.core.sessions() as session:
            session.execute(update(User).values(language=Language(chosen.language)))
            session.commit()
        for scene in scenes(world):
            if chosen.only and not scene.name.startswith(tuple(chosen.only)):
                continue
            site.register_workers()
            site.forget_preferences()
            found = _look(browser, world, scene, chosen)
            _sheet(scene.name, chosen.out)
            looked += 1
            wrong += len(found)
            for line in found:
                print(f"{scene.name}: {line}", flush=True)
    print(f"{looked} pages at {len(SIZES)} sizes in {len(THEMES)} themes: {wrong} findings")
    return 1 if wrong else 0


def _look(browser: Browser, world: World, scene: Scene, chosen: argparse.Namespace) -> list[str]:
    """Take the pictures of a scene, which is opened once; returns what is wrong with it."""
    wrong: list[str] = []
    page = _open(browser, world, scene, chosen.language)
    problems: list[str] = []
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    try:
        page.goto(world.site.url + scene.path)
        page.wait_for_load_state("load")
        scene.prepare(page)
        for theme in THEMES:
            page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
            for size in SIZES:
                _fit_the_window(page, size)
                page.evaluate(STILL)
                found = _faults(page, size, with_axe=not chosen.quick)
                wrong += [f"{line} ({size[0]} px, {theme})" for line in found]
                _picture(page, chosen.out / _name(scene.name, size, theme), size)
    except BrowserError as error:
        wrong.append(f"could not be looked at: {str(error)[:300]}")
    refused = "Failed to load resource"
    wrong += [
        f"console: {text}" for text in problems if not (scene.refusals and text.startswith(refused))
    ]
    page.context.close()
    return wrong


def _open(browser: Browser, world: World, scene: Scene, language: str) -> Page:
    context = browser.new_context(
        viewport={"width": SIZES[0][0], "height": SIZES[0][1]},
        reduced_motion="reduce",
        locale=language,
    )
    context.set_default_timeout(60_000)
    cookies: list[Any] = [{"name": "theme", "value": THEMES[0], "url": world.site.url}]
    if scene.who is not None:
        cookies.append(world.site.cookie(scene.who, proved=scene.proved))
        if not scene.fresh:
            _let_the_proof_grow_old(world, scene)
    context.add_cookies(cookies)
    return context.new_page()


def _let_the_proof_grow_old(world: World, scene: Scene) -> None:
    who = world.site.people[scene.who] if isinstance(scene.who, Role) else scene.who
    assert who is not None
    before = datetime.now(UTC) - timedelta(hours=2)
    with world.site.core.sessions() as session:
        mine = update(LoginSession).where(LoginSession.user_id == who.id)
        session.execute(mine.values(step_up_at=before))
        session.commit()


def _faults(page: Page, size: tuple[int, int], *, with_axe: bool) -> list[str]:
    wide = page.evaluate("document.documentElement.scrollWidth")
    found = [f"{wide} px wide"] if wide > size[0] else []
    tall = page.evaluate("document.documentElement.scrollHeight")
    if size[0] > _NARROW and tall > size[1] and page.locator("body.case-page").count():
        found.append(f"{tall} px tall: a case fits its window")
    found += page.evaluate(CUT)
    if with_axe:
        answer: dict[str, Any] = Axe().run(page).response
        for violation in answer["violations"]:
            nodes = [node["html"][:140] for node in violation["nodes"][:3]]
            found.append(f"axe {violation['id']} ({violation['impact']}): {nodes}")
    return found


def _fit_the_window(page: Page, size: tuple[int, int]) -> None:
    """This size; taller for a list, because rows outside of the window are not drawn. A case, and
    what lies over a page, is laid out by the window's height.
    """
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.evaluate(TWO_FRAMES)
    by_height = ".case-page, body:has(dialog[open]), html.signed-out"
    tall = page.evaluate("document.documentElement.scrollHeight")
    if tall > size[1] and not page.locator(by_height).count():
        page.set_viewport_size({"width": size[0], "height": min(tall + 200, _TALLEST)})
        page.evaluate(TWO_FRAMES)


def _picture(page: Page, path: Path, size: tuple[int, int]) -> None:
    """The whole page, as far as it is not endless."""
    tall = min(max(page.evaluate("document.documentElement.scrollHeight"), size[1]), _TALLEST)
    clip: Any = {"x": 0, "y": 0, "width": size[0], "height": tall}
    page.screenshot(path=path, full_page=True, clip=clip)


def _name(scene: str, size: tuple[int, int], theme: str) -> str:
    return f"{scene}.{size[0]}.{theme}.png"


def _sheet(scene: str, out: Path) -> None:
    """All pictures of a scene on one, a row for each theme."""
    rows = []
    for theme in THEMES:
        paths = [out / _name(scene, size, theme) for size in SIZES]
        rows.append([Image.open(path).convert("RGB") for path in paths if path.exists()])
    if not any(rows):
        return
    widest = max(sum(one.width for one in row) for row in rows)
    sheet = Image.new("RGB", (widest, sum(max(i.height for i in row) for row in rows if row)))
    top = 0
    for row in filter(None, rows):
        left = 0
        for one in row:
            sheet.paste(one, (left, top))
            left += one.width
        top += max(one.height for one in row)
    share = min(1.0, _SHEET / widest)
    small = sheet.resize((round(sheet.width * share), round(sheet.height * share)))
    (out / "sheets").mkdir(exist_ok=True)
    small.save(out / "sheets" / f"{scene}.png")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
