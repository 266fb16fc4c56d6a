"""The number keys: the windows that 1 to 7 set, against the code's shares and the header's values;
8 and 9 set the size.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pydicom
import pytest
from playwright.sync_api import Page, expect

from ml.preparation import phantom
from tests.browser.conftest import Visitor, draw, wait_until

pytestmark = pytest.mark.browser

_WINDOW: Final = """async () => {
    const page = await import(document.querySelector("script[type=module][src*=case]").src);
    const { centre, width } = page.viewerOfPage().windowing;
    return [centre, width];
}"""
Window = tuple[float, float]  # centre and width, in the picture's own values


@dataclass(frozen=True)
class Sent:
    """A picture's header, and the window (centre, width) that each key is to set: the header's,
    which for LINEAR is half a step lower and one step narrower (PS3.3 C.11.2.1.2), then lung, soft
    tissue and bone as shares of the first one, then all values.
    """

    tags: dict[str, Any]
    keys: dict[str, Window]
    given: dict[str, Any] = field(default_factory=dict)


HEADERS: Final = {
    "three windows": Sent(
        {"WindowCenter": [2048, 1500, 2600], "WindowWidth": [4096, 1001, 801]},
        {
            "1": (2047.5, 4095),
            "2": (1499.5, 1000),
            "3": (2599.5, 800),
            "4": (1023.75, 2047.5),
            "5": (2303.4375, 2559.375),
            "6": (3071.25, 2047.5),
            "7": (2047.5, 4095),
        },
    ),
    "rescaled": Sent(
        {
            "WindowCenter": [3000, 2600, 3400],
            "WindowWidth": [2000, 1000, 800],
            "VOILUTFunction": "LINEAR_EXACT",
            "RescaleSlope": 2,
            "RescaleIntercept": -100,
        },
        {
            "1": (1550, 1000),
            "2": (1350, 500),
            "3": (1750, 400),
            "4": (1300, 500),
            "5": (1612.5, 625),
            "6": (1800, 500),
            "7": (2047.5, 4095),
        },
    ),
    "black is high": Sent(
        {"WindowCenter": [1800, 1500, 2000], "WindowWidth": [1601, 1001, 601]},
        {
            "1": (2295.5, 1600),
            "2": (2595.5, 1000),
            "3": (2095.5, 600),
            "4": (1895.5, 800),
            "5": (2395.5, 1000),
            "6": (2695.5, 800),
            "7": (2047.5, 4095),
        },
        {"photometric": "MONOCHROME1"},
    ),
}


def _open(visitor: Visitor, file: bytes) -> Page:
    study = visitor.site.submit(file)
    visitor.site.render(study)
    page = visitor.open(f"/studies/{study}")
    page.wait_for_selector("#film[data-depth=full]")
    return page


def _press(page: Page, key: str, window: Window) -> None:
    """Press a key of a picture whose window was another one before."""
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    wait_until(page, lambda: page.evaluate(_WINDOW) != pytest.approx(window))
    page.keyboard.press(key)
    wait_until(page, lambda: page.evaluate(_WINDOW) == pytest.approx(window, abs=0.01), 5)


@pytest.mark.parametrize("name", HEADERS)
def test_each_key_sets_its_window(visitor: Visitor, name: str) -> None:
    sent = HEADERS[name]
    file = pydicom.dcmread(io.BytesIO(phantom.dicom(draw(91), **sent.given)))
    for tag, value in sent.tags.items():
        setattr(file, tag, value)
    written = io.BytesIO()
    file.save_as(written)
    page = _open(visitor, written.getvalue())
    for key, window in sent.keys.items():
        _press(page, key, window)
    whole = sent.keys["7"]
    shown = f"W {round(whole[1])} L {int(whole[0] + 0.5)}"
    expect(page.locator("[data-out=window]")).to_have_text(shown)


def test_without_a_window_in_the_header_the_first_is_made_of_the_pixels(visitor: Visitor) -> None:
    drawn = draw(92)
    page = _open(visitor, phantom.dicom(drawn, bits=8, window=False))
    low, high = np.percentile((drawn.pixels >> phantom.BITS - 8)[::4, ::4], (0.5, 99.5))
    centre, width = float(low + high) / 2, float(high - low)
    expected: dict[str, Window] = {
        "1": (centre, width),
        "2": (centre - width / 4, width / 2),
        "3": (centre + width / 16, width * 5 / 8),
        "4": (centre + width / 4, width / 2),
        "5": (127.5, 255),
    }
    for key, window in expected.items():
        _press(page, key, window)
    for key in ("6", "7"):  # there are five windows
        page.keyboard.press(key)
        page.wait_for_timeout(100)
        assert page.evaluate(_WINDOW) == pytest.approx(expected["5"])
    page.keyboard.press("9")
    expect(page.locator("[data-out=zoom]")).to_have_text("100 %")
    page.keyboard.press("8")
    expect(page.locator("[data-out=zoom]")).not_to_have_text("100 %")
