"""Every page at three sizes and in both themes: no overflow, no accessibility violation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from axe_playwright_python.sync_playwright import DEFAULT_OPTIONS, Axe
from playwright.sync_api import Page, expect
from sqlalchemy import select

from portal.models import Language, Role, Signature, User
from tests.browser.conftest import TWO_FRAMES, Cases, Visitor, draw
from tests.support.core import make_settings
from tests.support.portal_app import make_app

pytestmark = pytest.mark.browser

SIZES = [(1440, 900), (1024, 768), (390, 844)]
PAGES = [
    ("/sign-in", None),
    ("/sign-in/code", Role.READER),
    ("{invitation}", None),
    ("/enrol", Role.READER),
    ("/confirm", Role.READER),
    ("/worklist", Role.READER),
    ("/worklist?q=nothing-like-this", Role.READER),
    ("/worklist?side=both", Role.READER),  # all read
    ("/upload", Role.TECHNOLOGIST),
    ("/second-reads", Role.READER),
    ("/history", Role.READER),
    ("/history?what=sent", Role.TECHNOLOGIST),
    ("/studies/{likely}", Role.READER),
    ("/studies/{none_found}", Role.TECHNOLOGIST),
    ("/studies/{lateral}", Role.READER),
    ("/studies/{failed}", Role.READER),
    ("/studies/{hostile}", Role.READER),
    ("/studies/{waiting}", Role.READER),
    ("/account", Role.READER),
    ("/screen", Role.READER),
    ("/emergency", Role.ADMIN),
    ("/admin/people", Role.ADMIN),
    ("/admin/teams", Role.ADMIN),
    ("/admin/teams/{team}/rota", Role.ADMIN),
    ("/admin/teams/{team}/sentences", Role.ADMIN),
    ("/admin/teams/{team}/rules", Role.ADMIN),
    ("/admin/notifications", Role.ADMIN),
    ("/admin/dicom", Role.ADMIN),
    ("/admin/dicom/backfills", Role.ADMIN),
    ("/admin/quarantine", Role.ADMIN),
    ("/admin/teams/{team}/exam-links", Role.ADMIN),
    ("/open", None),
    ("/open/exam", None),
    ("/admin/hl7", Role.ADMIN),
    ("/admin/report-targets", Role.ADMIN),
    ("/admin/teams/{team}", Role.ADMIN),
    ("/admin/jobs", Role.ADMIN),
    ("/admin/performance", Role.ADMIN),
    ("/admin/drift", Role.ADMIN),
    ("/admin/models", Role.ADMIN),
    ("/admin/models/{model}", Role.ADMIN),
    ("/audit", Role.AUDITOR),
    ("/audit?since=2026-13-45", Role.AUDITOR),
    ("/admin/data", Role.ADMIN),
    ("/admin/data?case={likely}", Role.ADMIN),
    ("/admin/data/{purged}/proof", Role.ADMIN),
    ("/studies/{likely}/export", Role.READER),
    ("/studies/{waiting}/export", Role.READER),
    ("/studies/{likely}/reports", Role.READER),
    ("/models/{model}", Role.READER),
    ("/worklist?size=unknown&days=7&reader=nobody", Role.READER),
    ("/studies/{likely}/patient", Role.READER),
    ("/studies/{signed}", Role.READER),  # what was seen
]
NOTHING_THERE = "/nothing-like-this"
LANGUAGES = ("en", "de")
# WCAG 2.2 AA has the size of targets (2.5.8), which axe looks at only where it is asked to.
OPTIONS = DEFAULT_OPTIONS | {"rules": {"target-size": {"enabled": True}}}
BEFORE_THE_CODE = {"/sign-in/code"}
FOR_PROGRAMS = "dicomweb_"  # DICOMweb answers no browser
# What answers a GET without being a page to look at, and why.
NO_PAGES = {
    "api.mask": "for programs",
    "api.overlay": "for programs",
    "api.studies": "for programs",
    "api.study": "for programs",
    "auth.start": "leads on",
    "data.proof_file": "a file to be saved",
    "drift.document": "a file to be saved",
    "drift.table": "a file to be saved",
    "exam_link.go": "leads on",
    "health.live": "for supervision",
    "health.ready": "for supervision",
    "openapi.document": "for programs",
    "outline.state": "JSON for the case page",
    "outline.version": "a file for the case page",
    "performance.table": "a file to be saved",
    "performance.readers_document": "a file to be saved",
    "reading.blob": "a file for the case page",
    "reading.following": "leads on",
    "reading.state": "JSON for the case page",
    "report.dicom": "a file to be saved",
    "report.pdf": "a file to be saved",
    "report.state": "JSON for the case page",
    "sentence.text": "JSON for the case page",
    "session.state": "JSON for every page",
    "sso.back": "leads on at once; needs a provider, and errors are shown by the page of sign-in",
    "sso.leave": "leads on to the provider",
    "static": "files of the pages",
    "list_events.events": "a stream for the worklist",
    "viewer.picture_beside": "JSON for the case page",
    "worker_api.read_input": "for workers",
    "worklist.states": "JSON for the worklist",
}
# Until animations that began before reduced motion have ended; a pulsing placeholder never does.
STILL = """() => Promise.allSettled(document.getAnimations()
    .filter(one => Number.isFinite(one.effect.getComputedTiming().endTime))
    .map(one => one.finished))"""


_SIGNED = {"signed": str(UUID(int=0))}


def test_every_page_is_among_these(tmp_path: Path) -> None:
    app = make_app(make_settings(tmp_path))
    answered = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and not rule.endpoint.startswith(FOR_PROGRAMS)
    }
    example = {field.name: str(UUID(int=0)) for field in fields(Cases)} | {"invitation": "/join/x"}
    adapter = app.url_map.bind("localhost")
    shown = {
        adapter.match(template.format(**example | _SIGNED).partition("?")[0])[0]
        for template, _ in PAGES
    }
    missing = sorted(answered - shown - set(NO_PAGES))
    assert missing == [], "add a row to PAGES, or to NO_PAGES with the reason"
    assert set(NO_PAGES) <= answered - shown, "a row of NO_PAGES is no longer needed"


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("template", "role"), [*PAGES, (NOTHING_THERE, None), (NOTHING_THERE, Role.READER)]
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_fits_its_window_and_is_accessible(
    visitor: Visitor, cases: Cases, template: str, role: Role | None, language: str
) -> None:
    visitor.refusals_expected = template == NOTHING_THERE
    signed = {"signed": _signed(visitor)} if "{signed}" in template else {}
    path = template.format(**vars(cases), **signed)
    with _speaking(visitor, role, language):
        page = visitor.open(path, role, proved=path not in BEFORE_THE_CODE, language=language)
    assert page.url == visitor.site.url + path, "it led on to another page"
    assert page.evaluate("document.documentElement.lang") == language
    page.emulate_media(reduced_motion="reduce")  # colours are measured, not their transitions
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(TWO_FRAMES)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{template} is {wide} px wide in a window of {width}"
    assert violations(page, {"runOnly": ["target-size"]}) == [], "in the narrow window"
    page.set_viewport_size({"width": 1440, "height": 900})
    for theme in ("dark", "light"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        page.evaluate(TWO_FRAMES)
        page.evaluate(STILL)
        # Themes differ in nothing but colours.
        rules = None if theme == "dark" else {"runOnly": ["color-contrast"]}
        assert violations(page, rules) == [], theme


@contextmanager
def _speaking(visitor: Visitor, role: Role | None, language: str) -> Iterator[None]:
    """Pages are asked for by somebody who has chosen this language."""
    person = visitor.site.people.get(role) if role else None

    def choose(chosen: Language | None) -> None:
        if person is not None:
            with visitor.site.core.sessions() as session:
                session.get_one(User, person.id).language = chosen
                session.commit()

    choose(Language(language))
    try:
        yield
    finally:
        choose(None)


def _signed(visitor: Visitor) -> str:
    """What was seen of a case that is signed, as the end of an address."""
    with visitor.site.core.sessions() as session:
        found = session.scalars(select(Signature).limit(1)).first()
    if found is None:
        study, _ = visitor.site.complete(draw(8), patient_name="PHANTOM^SIGNED")
        page = visitor.open(f"/studies/{study}")
        page.wait_for_selector("#review[data-ready=yes]")
        page.keyboard.press("r")
        expect(page.locator("#review-status")).to_contain_text("Saved")
        page.keyboard.press("Shift+S")
        expect(page.locator("#sign-status")).to_contain_text("Signed")
        page.close()
        return _signed(visitor)
    return f"{found.study_id}?seen={found.id}"


def violations(page: Page, options: dict[str, Any] | None = None) -> list[tuple[str, list[str]]]:
    """What axe finds, of any impact."""
    found: dict[str, Any] = Axe().run(page, options=OPTIONS | (options or {})).response
    return [
        (violation["id"], [node["html"][:120] for node in violation["nodes"]])
        for violation in found["violations"]
    ]


def test_targets_that_are_small_and_close_are_found(visitor: Visitor) -> None:
    page = visitor.open("/sign-in", None)
    page.evaluate(
        """() => {
            const small = (left) => Object.assign(document.createElement("a"), { href: "/" + left,
              textContent: "i" });
            const row = document.querySelector("main").appendChild(document.createElement("nav"));
            row.ariaLabel = "Small";
            row.append(small(1), small(2), small(3));
            for (const one of row.children) {
              Object.assign(one.style, { display: "block", width: "9px", height: "9px" });
            }
        }"""
    )
    assert "target-size" in [rule for rule, _ in violations(page)]
    assert [rule for rule, _ in violations(page, {"runOnly": ["target-size"]})] == ["target-size"]


def test_the_film_has_seventy_percent_of_the_case_page_and_nothing_scrolls(
    visitor: Visitor, cases: Cases
) -> None:
    page = visitor.open(f"/studies/{cases.likely}")
    share, scrolls = page.evaluate(
        """() => {
            const film = document.querySelector(".film-picture");
            const { width, height } = film.getBoundingClientRect();
            const root = document.documentElement;
            return [width * height / (innerWidth * innerHeight), root.scrollHeight > innerHeight];
        }"""
    )
    assert share >= 0.7
    assert not scrolls


@pytest.mark.parametrize("size", SIZES[:2])
def test_with_all_measurements_open_the_panel_scrolls_and_not_the_page(
    visitor: Visitor, cases: Cases, size: tuple[int, int]
) -> None:
    """Else the Tab key, which scrolls what nobody can scroll by hand, shows an empty window."""
    page = visitor.open(f"/studies/{cases.likely}", size=size)
    page.wait_for_selector("#film[data-depth=full]")
    page.click("#sizes summary")
    page.evaluate(TWO_FRAMES)
    tall, seen, panel = page.evaluate(
        """() => [document.documentElement.scrollHeight, innerHeight,
                  document.getElementById("panel").scrollHeight]"""
    )
    assert panel > seen, "nothing here needs to scroll"
    assert tall <= seen


def test_a_hostile_name_is_only_text(visitor: Visitor, cases: Cases) -> None:
    page = visitor.open(f"/studies/{cases.hostile}")
    assert "<script>alert(1)</script>" in page.inner_text("h1")
    assert page.locator("h1 script, h1 img").count() == 0
    page = visitor.open("/worklist")
    assert "<script>alert(1)</script>" in page.inner_text("#list")


def test_the_theme_is_remembered(visitor: Visitor, cases: Cases) -> None:
    page = visitor.open("/worklist")
    page.click("[data-theme-toggle]")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.goto(f"{visitor.site.url}/studies/{cases.likely}")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
