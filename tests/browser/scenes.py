"""What `photograph` looks at: every page of every role, cases in every state, errors, dialogs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from playwright.sync_api import Page

from ml.preparation import phantom
from portal.models import Role
from tests.browser.conftest import draw
from tests.browser.test_layout import BEFORE_THE_CODE, PAGES
from tests.browser.world import (
    LONG_NAME,
    World,
    add_rules,
    add_skipped,
    end_sessions,
    made_report,
    review,
)
from tests.support.people import Person

ERRORS = (400, 403, 404, 409, 413, 415, 422, 429, 500, 503, 507)
LOADED = "#film[data-depth=full]"


@dataclass
class Scene:
    """One thing to look at: a page as a person sees it, once `prepare` has been done in it."""

    name: str
    path: str
    who: Role | Person | None = Role.READER
    prepare: Callable[[Page], None] = lambda _page: None
    proved: bool = True
    fresh: bool = True  # password and code were given a moment ago
    refusals: bool = False  # the page shows what was refused, so the console has a line of it


def scenes(world: World) -> Iterator[Scene]:
    """Everything to look at."""
    for template, role in PAGES:
        if "{signed}" in template:  # its address is known once a case is signed
            continue
        name = template.strip("/").replace("studies/{", "case-").translate(_FILE_NAME)
        path = template.format(**vars(world.cases))
        ready = _loaded if name in ("case-likely", "case-none_found", "case-hostile") else _nothing
        yield Scene(name, path, role, ready, proved=path not in BEFORE_THE_CODE)
    without_picture = {"child"}
    for name, study in world.more.items():
        if name not in (
            "damaged",
            "hidden",
            "shown",
            "by_colleague",
            "disagreed",
            "agreed",
            "blind",
            "more",
            "node",
            "hl7_node",
        ):
            ready = _nothing if name in without_picture else _loaded
            yield Scene(f"case-{name}", f"/studies/{study}", Role.READER, ready)
    yield Scene("case-damaged", f"/studies/{world.more['damaged']}", refusals=True)
    first = world.people["first"]
    for name in ("hidden", "shown", "by_colleague"):
        yield Scene(f"case-ai-{name}", f"/studies/{world.more[name]}", first, _loaded)
    yield Scene("worklist-ai-hidden", "/worklist?state=all", first)
    third = world.people["tertia"]
    yield Scene("second-reads-two-lists", "/second-reads", third)
    yield Scene("second-reads-in-the-worklist", "/worklist", third)
    for name in ("blind", "disagreed", "agreed"):
        yield Scene(f"second-reads-{name}", f"/studies/{world.more[name]}", third, _loaded)
    yield from _dialogs(world)
    yield from _lists(world)
    yield from _admin(world)
    for status in ERRORS:
        yield Scene(f"error-{status}", f"/history?raise={status}", refusals=True)
    yield Scene("error-signed-out", "/studies/00000000-0000-0000-0000-000000000000", refusals=True)
    yield from _rules(world)


def _rules(world: World) -> Iterator[Scene]:
    """The last ones: a team that has rules, a dry run of them, and a case that one keeps."""
    team_id = add_rules(world.site)
    page = f"/admin/teams/{team_id}/rules"
    yield Scene("rules-of-a-team", page, Role.ADMIN)

    def run(page: Page) -> None:
        page.locator("form[action$='/try#tried'] button").click()
        page.locator("#tried").wait_for()

    yield Scene("rules-dry-run", page, Role.ADMIN, run)
    yield Scene("case-skipped-by-rule", f"/studies/{add_skipped(world.site)}", Role.READER, _loaded)


_FILE_NAME = str.maketrans(dict.fromkeys("/?={}&", "-"))


def _dialogs(world: World) -> Iterator[Scene]:
    likely, conflict = f"/studies/{world.cases.likely}", f"/studies/{world.more['conflict']}"
    four = f"/studies/{world.more['four']}"

    def keys(page: Page) -> None:
        page.keyboard.press("?")
        page.wait_for_selector("#keys[open]")

    def menu(page: Page) -> None:
        page.click(".bar .menu > summary")

    def on_case(act: Callable[[Page], None]) -> Callable[[Page], None]:
        def prepare(page: Page) -> None:
            _loaded(page)
            act(page)

        return prepare

    def signed_out(page: Page) -> None:
        end_sessions(world.site, world.people["leaving"])
        page.evaluate('document.dispatchEvent(new Event("session-lost"))')
        page.wait_for_selector("#session-ended[open] [name=password]")

    def warned(page: Page) -> None:
        page.evaluate(
            """() => {
                const warning = document.getElementById("session-warning");
                warning.hidden = false;
                warning.querySelector("p").textContent =
                    "You will be signed out in 90 s, because nothing was done.";
                warning.showPopover();
            }"""
        )

    def two_readers(page: Page) -> None:
        _loaded(page)
        page.wait_for_selector("#review[data-ready=yes]")
        other = world.people["colleague"]
        finding = "right" if time.time_ns() // 1000 % 2 else "left"
        review(world.site, other, world.more["conflict"], finding, comment=str(time.time_ns()))
        page.fill("#review-comment", "A skin fold, I think.")
        page.keyboard.press("Escape")
        page.keyboard.press("0")
        page.wait_for_selector("#review-status.bad")

    yield Scene("dialog-keys", "/worklist", prepare=keys)

    def edits(page: Page) -> None:
        page.keyboard.press("e")
        page.wait_for_selector("#film[data-editing=yes]")

    def asks_for_proof(page: Page) -> None:
        page.wait_for_selector("#review[data-ready=yes]")
        page.keyboard.press("Shift+Y")
        page.wait_for_selector("#proof[open]")

    def signs(page: Page) -> None:
        page.wait_for_selector("#review[data-ready=yes]")
        page.keyboard.press("a")
        page.wait_for_selector("#review-status:text-matches('Saved|Gespeichert')")
        page.keyboard.press("Shift+S")
        page.wait_for_selector("#sign-status:text-matches('Signed|Signiert')")
        page.locator("#addendum-more summary").click()
        page.fill("#addendum-text", f"Seen again with the ward. {time.time_ns()}")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("#addendum-status:text-matches('Added|Hinzugefügt')")
        page.locator("#sign").scroll_into_view_if_needed()

    def sees_again(page: Page) -> None:
        signs(page)
        page.locator("#signed summary").click()
        page.get_by_role("link", name="What was seen").first.click()
        page.wait_for_url("**seen=**")
        _loaded(page)

    stale, signed = world.people["stale"], f"/studies/{world.more['read']}"
    prove = on_case(asks_for_proof)
    yield Scene("dialog-proof", likely, stale, prove, refusals=True, fresh=False)
    yield Scene("case-signed", signed, prepare=on_case(signs))
    yield Scene("case-seen-again", signed, prepare=on_case(sees_again))

    def two_pictures(page: Page) -> None:
        if page.viewport_size and page.viewport_size["width"] < 1100:
            page.keyboard.press("Shift+V")  # hangs by itself only where there is room
        page.wait_for_selector("#film-beside[data-depth=full]")

    def sees_two_again(page: Page) -> None:
        two_pictures(page)
        page.keyboard.press("Shift+X")
        page.keyboard.press("i")
        page.wait_for_selector("#review[data-ready=yes]")
        signs(page)
        page.locator("#signed summary").click()
        page.get_by_role("link", name="What was seen").first.click()
        page.wait_for_url("**seen=**")
        _loaded(page)
        page.wait_for_selector("#film-beside[data-depth=full]")
        page.wait_for_timeout(500)

    priors = f"/studies/{world.more['priors']}"
    yield Scene("case-two-pictures", priors, prepare=on_case(two_pictures))
    yield Scene("case-two-seen-again", priors, prepare=on_case(sees_two_again))
    yield Scene("dialog-keys-of-a-case", likely, prepare=on_case(keys))
    yield Scene("dialog-menu", "/worklist", prepare=menu)
    yield Scene("dialog-menu-of-a-case", likely, prepare=on_case(menu))
    leaving = world.people["leaving"]
    yield Scene("dialog-session-ended", "/worklist", leaving, signed_out, refusals=True)
    yield Scene("dialog-session-warning", likely, prepare=on_case(warned))
    yield Scene("dialog-verdict-conflict", conflict, prepare=two_readers, refusals=True)
    yield Scene("case-sizes", likely, prepare=on_case(lambda page: page.click("#sizes summary")))
    yield Scene("case-heat-map", likely, prepare=on_case(lambda page: page.keyboard.press("h")))
    yield Scene("case-outline", likely, prepare=on_case(edits))

    def report(page: Page) -> None:
        page.keyboard.press("Shift+R")
        page.wait_for_selector("#report-panel[data-waiting], #report-panel li a")
        made_report(world.site, world.cases.likely)
        page.wait_for_selector("#report-panel li a")
        page.locator("#report-panel").scroll_into_view_if_needed()

    yield Scene("case-report", likely, prepare=on_case(report))
    yield Scene("case-full-screen", likely, prepare=on_case(lambda page: page.keyboard.press("f")))
    yield Scene(
        "case-four-full-screen", four, prepare=on_case(lambda page: page.keyboard.press("f"))
    )
    yield Scene(
        "case-presets",
        likely,
        prepare=on_case(lambda page: page.locator("[data-action=presets]").first.click()),
    )


def _lists(world: World) -> Iterator[Scene]:
    def some_files(page: Page) -> None:
        known = phantom.dicom(draw(52), patient_name=LONG_NAME)
        page.set_input_files(
            "#files",
            [
                {"name": name, "mimeType": "application/dicom", "buffer": data}
                for name, data in (
                    (f"chest {time.time_ns()}.dcm", known),
                    ("letter of a very long name to somebody about something.txt", b"no picture"),
                    ("empty.dcm", b" "),
                )
            ],
        )
        page.wait_for_selector("#files-list .file:nth-child(3)[data-state=refused]")
        page.wait_for_selector("#files-list .file[data-state=received]")

    def and_reload(page: Page) -> None:
        some_files(page)
        page.reload()

    def wrong_password(page: Page) -> None:
        page.fill("[name=email]", "nobody@example.org")
        page.fill("[name=password]", f"not this one at all {time.time_ns()}")
        page.click("button:text-is('Sign in')")
        page.wait_for_load_state("load")

    def recovery_codes(page: Page) -> None:
        page.click("text=New recovery codes")
        page.wait_for_load_state("load")

    def next_page(page: Page) -> None:
        page.click("a[rel=next]")
        page.wait_for_url("**/worklist?after=**")

    empty, busy = world.people["empty"], world.people["busy"]
    for path in ("/worklist", "/history", "/upload"):
        yield Scene(f"empty-{path.strip('/')}", path, empty)
    yield Scene("many-worklist", "/worklist", busy)
    yield Scene("many-worklist-page-2", "/worklist", busy, next_page)
    yield Scene("worklist-all", "/worklist?state=all")
    yield Scene("upload-rows", "/upload", prepare=some_files, refusals=True)
    yield Scene("upload-after-reload", "/upload", prepare=and_reload, refusals=True)
    yield Scene("sign-in-wrong", "/sign-in", None, wrong_password, refusals=True)
    yield Scene("account-unconfirmed", "/account", world.people["stale"], fresh=False)
    yield Scene("recovery-codes", "/account", world.people["coded"], recovery_codes)
    yield Scene("people-unconfirmed", "/admin/people", world.people["stale_admin"], fresh=False)
    yield Scene(
        "emergency-case", f"/studies/{world.cases.likely}", world.people["outsider"], _loaded
    )
    yield Scene("emergency-with-a-grant", "/emergency", world.people["outsider"])
    yield Scene("audit-of-a-case", f"/audit?case={world.cases.likely.hex[:6]}", Role.AUDITOR)
    yield Scene("case-not-allowed", f"/studies/{world.cases.likely}", Role.ADMIN, refusals=True)
    yield Scene("not-allowed", "/admin/people", refusals=True)


def _admin(world: World) -> Iterator[Scene]:
    def readers_alone(page: Page) -> None:
        page.evaluate(
            """() => {
                for (const part of document.querySelectorAll("main section"))
                    if (part.getAttribute("aria-labelledby") !== "readers") part.remove();
            }"""
        )

    path = f"/admin/dicom?change={world.more['node']}"
    yield Scene("admin-dicom-change", path, Role.ADMIN)
    path = f"/admin/hl7?change={world.more['hl7_node']}"
    yield Scene("admin-hl7-change", path, Role.ADMIN)
    yield Scene("admin-performance-readers", "/admin/performance", Role.ADMIN, readers_alone)


def _loaded(page: Page) -> None:
    page.wait_for_selector(LOADED)
    page.wait_for_selector("#film[data-overlay=ready], #ai-panel:not(:has(#threshold-input))")


def _nothing(_page: Page) -> None:
    pass
