"""What a reader draws in two windows on the same picture: neither overwrites the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visitor, draw, wait_until

pytestmark = pytest.mark.browser

_ITEMS = """async () => {
    const page = await import(document.querySelector("script[type=module][src*=case]").src);
    return page.viewerOfPage().annotations.items.map(({ line }) => Math.round(line[0]));
}"""
_JOINED = """async ([base, mine, theirs]) => {
    const saver = await import("/static/js/viewer/drawn_saver.js");
    const all = (texts) => texts.map((text) => ({ kind: "arrow", line: [0, 0, 1, 1], text }));
    return saver.joined(all(base), all(mine), all(theirs)).map(({ text }) => text);
}"""
ADDED = "Rulers or arrows were changed in another window"


def opened(visitor: Visitor, study: object) -> Page:
    page = visitor.open(f"/studies/{study}")
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    return page


def stored(page: Page) -> Callable[[], None]:
    done: list[int] = []
    page.on("response", lambda r: done.append(r.status) if r.url.endswith("/annotations") else None)
    return lambda: wait_until(page, lambda: bool(done) and done[-1] == 204)


def rule(page: Page, x: int) -> None:
    page.keyboard.press("t")
    page.mouse.move(x, 300)
    page.mouse.down()
    page.mouse.move(x + 90, 420, steps=3)
    page.mouse.up()


def items(page: Page) -> list[int]:
    found: list[int] = page.evaluate(_ITEMS)
    return found


def test_rulers_of_two_windows_are_put_together(visitor: Visitor) -> None:
    visitor.refusals_expected = True
    study, _ = visitor.site.complete(draw(73), patient_name="TWO^WINDOWS")
    one, other = opened(visitor, study), opened(visitor, study)
    in_one, in_other = stored(one), stored(other)
    rule(one, 400)
    in_one()
    (first,) = items(one)
    rule(other, 560)
    in_other()
    both = items(other)
    assert both[0] == first
    assert len(both) == 2
    expect(other.locator("#film-trouble")).to_contain_text(ADDED)
    one.reload()
    one.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    assert items(one) == both

    gone = stored(one)
    one.keyboard.press("v")  # removes its rulers
    gone()
    rule(other, 700)
    wait_until(other, lambda: len(items(other)) == 1)
    in_other()
    assert not set(items(other)) & set(both)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "expected"),
    [
        ("", "a", "b", "ba"),
        ("ab", "ab", "b", "b"),
        ("ab", "b", "ab", "b"),
        ("ab", "a", "b", ""),
        ("a", "ab", "ac", "acb"),
        ("", "a", "a", "a"),  # an answer was lost on its way
        ("ab", "cb", "abd", "bdc"),
    ],
)
def test_what_is_left_of_two_changes(
    visitor: Visitor, base: str, mine: str, theirs: str, expected: str
) -> None:
    page = visitor.open("/worklist")
    sent: Any = [list(one) for one in (base, mine, theirs)]
    assert "".join(page.evaluate(_JOINED, sent)) == expected
