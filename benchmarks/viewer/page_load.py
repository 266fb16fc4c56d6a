"""When a film is seen in a viewer's page, and what the page loads for it, by Chromium alone.

The browser sends what it shows (screencast, a picture for every change, with the time at which it
was shown). The film itself is looked for in those: the first that has it is the first picture. What
a viewer says of itself is not asked for that.
"""

from __future__ import annotations

import base64
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, CDPSession, Page

WINDOW = (1440, 900)
_SHOWN = (720, 450)  # size of the screencast's pictures
_ALIKE = 0.8  # correlation of what is shown with the film
_SECONDS = 120
_MARK = "filmAtFullDepth"
# Every page notes itself when it has drawn all bits, in ms from the navigation's start. OHIF's tour
# for newcomers, which would lie over the film, counts as seen.
NOTE = f"""
    try {{
      localStorage.setItem("shownTours", '["basicViewerTour"]');
    }} catch {{ /* no page yet */ }}
    const note = () => {{ window.{_MARK} ??= performance.now(); }};
    addEventListener("CORNERSTONE_IMAGE_RENDERED", note, true);
    new MutationObserver(() => {{
      if (document.getElementById("film")?.dataset.depth === "full") note();
    }}).observe(document, {{ subtree: true, childList: true, attributeFilter: ["data-depth"] }});
"""
Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Network:
    """A line as DevTools emulates it: Mbit/s both ways, ms from a request to its answer."""

    name: str
    megabits: float
    latency_ms: float


@dataclass(frozen=True)
class Load:
    """ms from the start of the navigation, bytes as they came over the line and unpacked."""

    first_picture: float
    full_depth: float
    bytes_sent: int
    requests: int
    script_bytes: int
    script_bytes_sent: int

    def facts(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


class _Traffic:
    """What a page loads, by DevTools' events; requests of its workers are not among them."""

    def __init__(self, session: CDPSession) -> None:
        self.sent: dict[str, int] = defaultdict(int)
        self.unpacked: dict[str, int] = defaultdict(int)
        self.kinds: dict[str, str] = {}
        session.on("Network.responseReceived", self._answered)
        session.on("Network.dataReceived", self._came)
        session.on("Network.loadingFinished", self._ended)

    def _answered(self, event: dict[str, Any]) -> None:
        self.kinds[event["requestId"]] = event["type"]

    def _came(self, event: dict[str, Any]) -> None:
        self.unpacked[event["requestId"]] += event["dataLength"]

    def _ended(self, event: dict[str, Any]) -> None:
        self.sent[event["requestId"]] += int(event["encodedDataLength"])

    def of_scripts(self, counted: dict[str, int]) -> int:
        return sum(size for one, size in counted.items() if self.kinds.get(one) == "Script")


class Watched:
    """A page of which the pictures and the traffic are noted, on an emulated line."""

    def __init__(self, context: BrowserContext, network: Network) -> None:
        self.page: Page = context.new_page()
        self._session = context.new_cdp_session(self.page)
        self._session.send("Network.enable")
        bytes_per_second = network.megabits * 1e6 / 8
        self._session.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": network.latency_ms,
                "downloadThroughput": bytes_per_second,
                "uploadThroughput": bytes_per_second,
            },
        )
        self._frames: list[tuple[float, str]] = []
        self._session.on("Page.screencastFrame", self._shown)

    def load(self, address: str, film: Grey) -> Load:
        """Open a viewer at a film and wait until it is there at full depth.

        The context has `NOTE` as its init script.
        """
        traffic = _Traffic(self._session)
        self._frames.clear()
        size = {"maxWidth": _SHOWN[0], "maxHeight": _SHOWN[1], "everyNthFrame": 1}
        self._session.send("Page.startScreencast", {"format": "jpeg", "quality": 60, **size})
        self.page.goto(address, wait_until="commit")
        for _ in range(_SECONDS * 20):
            full = self.page.evaluate(f"window.{_MARK} ?? null")
            if full is not None:
                break
            self.page.wait_for_timeout(50)
        else:
            raise RuntimeError(f"no film at full depth after {_SECONDS} s: {address}")
        seen: float | None = None
        origin = float(self.page.evaluate("performance.timeOrigin"))
        end = time.monotonic() + _SECONDS
        while (seen := self._first(film, origin)) is None:
            if time.monotonic() > end:
                last = Path(tempfile.gettempdir(), "pleura-film-not-seen.png")
                self.page.screenshot(path=last)
                raise RuntimeError(f"no film is seen after {_SECONDS} s, see {last}: {address}")
            self.page.wait_for_timeout(250)
        self._session.send("Page.stopScreencast")
        return Load(
            first_picture=seen,
            full_depth=max(float(full), seen),
            bytes_sent=sum(traffic.sent.values()),
            requests=len(traffic.kinds),
            script_bytes=traffic.of_scripts(traffic.unpacked),
            script_bytes_sent=traffic.of_scripts(traffic.sent),
        )

    def _shown(self, event: dict[str, Any]) -> None:
        self._frames.append((event["metadata"]["timestamp"] * 1000, event["data"]))
        self._session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    def _first(self, film: Grey, origin: float) -> float | None:
        """When the film was shown first, ms after the navigation began; None before it is."""
        shown = [(at - origin, _decoded(data)) for at, data in self._frames if at >= origin]
        place = _place(shown[-1][1], film) if shown else None
        if place is None:
            return None
        template, (top, left) = place
        rows, columns = template.shape
        for at, picture in shown:
            part = picture[top : top + rows, left : left + columns]
            if _correlation(part, template) >= _ALIKE:
                return at
        raise AssertionError("the last picture has the film")


def _place(shown: Grey, film: Grey) -> tuple[Grey, tuple[int, int]] | None:
    """The film as it lies in a picture of the page, and where; None where it is not."""
    best, found, at = 0.0, film, (0, 0)
    for share in np.arange(1.0, 0.5, -0.02):
        rows = int(shown.shape[0] * share)
        columns = round(rows * film.shape[1] / film.shape[0])
        if columns >= shown.shape[1]:
            continue
        small = cv2.resize(film, (columns, rows), interpolation=cv2.INTER_AREA)
        match = cv2.matchTemplate(shown, small, cv2.TM_CCOEFF_NORMED)
        _, value, _, (left, top) = cv2.minMaxLoc(match)
        if value > best:
            best, found, at = value, small.astype(np.uint8), (int(top), int(left))
    return (found, at) if best >= _ALIKE else None


def _correlation(one: Grey, other: Grey) -> float:
    return float(cv2.matchTemplate(one, other, cv2.TM_CCOEFF_NORMED)[0, 0]) if one.std() else 0.0


def _decoded(data: str) -> Grey:
    raw = np.frombuffer(base64.b64decode(data), np.uint8)
    picture = cv2.imdecode(raw, cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return picture.astype(np.uint8)
