"""A browser, a portal with cases in every state, and pages that must cause no console error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from ml.inference import predict
from ml.preparation import phantom
from portal.models import Role

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.browser_portal import BrowserPortal, open_browser_portal
from tests.support.people import Person

expect.set_options(
    timeout=30_000
)  # for a busy machine; it returns as soon as the expectation is met
HOSTILE = "<script>alert(1)</script>^<img src=x onerror=alert(2)>"
PROBE = "**/health/live"  # no page asks for it
# After two frames everything requested before has been painted, however slow the machine is.
TWO_FRAMES = "() => new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))"

# A sum over all that the film shows of the picture, whose own canvas belongs to a worker.
FILM = """() => {
    const film = document.querySelector("#film .film-picture");
    const { clientWidth: width, clientHeight: height } = film;
    const copy = new OffscreenCanvas(width, height).getContext("2d");
    copy.drawImage(film, 0, 0, width, height);
    const { data } = copy.getImageData(0, 0, width, height);
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) sum = (sum * 31 + data[i]) % 2147483647;
    return sum;
}"""


@dataclass
class Cases:
    """The studies of the portal by their kind, and what else pages are about."""

    likely: UUID
    none_found: UUID
    lateral: UUID
    failed: UUID
    hostile: UUID
    waiting: UUID
    purged: UUID
    model: UUID
    team: UUID
    invitation: str
    likely_prediction: predict.Prediction


@dataclass
class Visitor:
    """Opens pages as a person; `problems` collects console errors and dialogs."""

    browser: Browser
    site: BrowserPortal
    problems: list[str] = field(default_factory=list)
    refusals_expected: bool = False

    def open(
        self,
        path: str,
        role: Role | Person | None = Role.READER,
        *,
        proved: bool = True,
        theme: str = "dark",
        language: str = "en",
        size: tuple[int, int] = (1440, 900),
    ) -> Page:
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]}, locale=language
        )
        context.set_default_timeout(60_000)
        cookies = [{"name": "theme", "value": theme, "url": self.site.url}]
        if role is not None:
            cookies.append(self.site.cookie(role, proved=proved))
        context.add_cookies(cookies)  # type: ignore[arg-type]
        page = context.new_page()
        page.on("console", lambda m: self._note(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        page.goto(self.site.url + path)
        page.wait_for_load_state("load")
        return page

    def _note(self, text: str) -> None:
        if not (self.refusals_expected and text.startswith("Failed to load resource")):
            self.problems.append(text)


def wait_until(page: Page, true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait while the page goes on; its policy forbids Playwright's wait_for_function."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"after {seconds:.0f} s"
        page.wait_for_timeout(25)


def intercept(page: Page, url: str, answer: Callable[[Route], object]) -> None:
    """Have `answer` called for each request to `url` that the open page makes from now on.

    The renderer follows a moment after `page.route` has returned: what an open page asks for in
    between goes out to the portal.
    """
    page.route(url, answer)
    page.route(PROBE, lambda route: route.fulfill(status=204))
    probe = f"fetch('{PROBE.removeprefix('**')}').then(answer => answer.status)"
    wait_until(page, lambda: page.evaluate(probe) == 204)
    page.unroute(PROBE)


def still_film(page: Page) -> int:
    """What the film shows once it rests: a worker draws it, and in full a moment later."""
    seen: list[int] = [page.evaluate(FILM)]

    def rests() -> bool:
        page.wait_for_timeout(300)
        seen.append(page.evaluate(FILM))
        return seen[-1] == seen[-2]

    wait_until(page, rests)
    return seen[-1]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[BrowserPortal]:
    """One portal for all tests of pages; a test that changes a case uploads its own."""
    with open_browser_portal(tmp_path_factory.mktemp("site") / "data", redis_url) as opened:
        opened.register_workers()
        yield opened


@pytest.fixture(scope="session")
def cases(site: BrowserPortal) -> Cases:
    """A case of each kind."""
    return make_cases(site)


def make_cases(site: BrowserPortal) -> Cases:
    """A case of each kind, and what else pages are about."""
    likely, prediction = site.complete(draw(1), patient_name="CANARY^ZEBRA", patient_sex="F")
    none_found, _ = site.complete(draw(2, None), probability=0.03, patient_name="PHANTOM^TWO")
    hostile, _ = site.complete(draw(3), probability=0.5, patient_name=HOSTILE)
    lateral = site.submit(phantom.dicom(draw(4), view="LL", patient_name="PHANTOM^LATERAL"))
    site.segment(lateral, site.render(lateral), draw(4).mask, 0.9)
    failed = site.submit(phantom.dicom(draw(5), patient_name="PHANTOM^BROKEN"))
    site.fail(failed, "decode_failed")
    waiting = site.submit(phantom.dicom(draw(6), patient_name="山田^太郎"))
    purged = site.submit(phantom.dicom(draw(7), patient_name="PHANTOM^PURGED"))
    site.purge(purged)
    return Cases(
        likely=likely,
        none_found=none_found,
        lateral=lateral,
        failed=failed,
        hostile=hostile,
        waiting=waiting,
        purged=purged,
        model=site.add_card(),
        team=site.team(),
        invitation=site.invite(),
        likely_prediction=prediction,
    )


@pytest.fixture
def visitor(browser: Browser, site: BrowserPortal) -> Iterator[Visitor]:
    """A person at the browser; at the end there must be no problem."""
    site.register_workers()  # they count as gone after a while, and a slow run takes longer
    site.forget_preferences()
    opened = Visitor(browser, site)
    yield opened
    for context in browser.contexts:
        context.close()
    assert opened.problems == []


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Writes a file to be uploaded."""

    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def draw(seed: int, side: phantom.Side | None = "right") -> phantom.Phantom:
    """A phantom small enough to be quick and not square, so that no axis can be mixed up."""
    return phantom.draw(seed, side, width_mm=25, rows=720, columns=640)
