"""The outline's editor in a real browser: strokes by pointer, and where they are to be found."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from playwright.sync_api import Page, expect

_PIXEL = re.compile(r"x (\d+) y (\d+)")
STORED = "Draft stored."


@dataclass
class OutlinePage:
    """A case's page whose editor is open. `drawn`: pixels (x, y) that the brush was on."""

    page: Page
    drawn: list[tuple[int, int]] = field(default_factory=list)

    def open(self) -> OutlinePage:
        self.page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
        self.page.keyboard.press("e")
        self.page.wait_for_selector("#film[data-editing=yes]")
        return self

    def emptied(self) -> OutlinePage:
        """Outline nothing: what is drawn then is not there already."""
        self.page.get_by_role("button", name="Empty").click()
        self.stored()
        return self

    def stroke(self, chance: random.Random, moves: int = 4) -> None:
        """One stroke of the brush somewhere in the middle of the film."""
        box = self.page.locator(".film-stage").bounding_box()
        assert box is not None

        def place() -> tuple[float, float]:
            return (
                box["x"] + box["width"] * chance.uniform(0.35, 0.65),
                box["y"] + box["height"] * chance.uniform(0.2, 0.8),
            )

        self.page.mouse.move(*place())
        self.page.mouse.down()
        for _ in range(moves):
            self.page.mouse.move(*place(), steps=3)
            self._note()
        self.page.mouse.up()

    def _note(self) -> None:
        """The pixel under the pointer, as the readout line has it."""
        self.page.evaluate("() => new Promise(go => requestAnimationFrame(() => setTimeout(go)))")
        found = _PIXEL.search(self.page.locator("[data-out=pixel]").inner_text())
        if found is not None:
            self.drawn.append((int(found[1]), int(found[2])))

    @property
    def status(self) -> str:
        return self.page.locator("[data-edit=status]").inner_text()

    def stored(self) -> None:
        """Wait until the portal has everything."""
        expect(self.page.locator("#film")).to_have_attribute("data-stored", "saved")

    def finish(self) -> None:
        """Store a version, which closes the editor."""
        self.page.keyboard.press("e")
        self.page.wait_for_selector("#film:not([data-editing])")
