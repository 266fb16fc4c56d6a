"""OHIF on this portal's own DICOMweb: the list, the picture, the outline on it.

    python -m benchmarks.peers.ohif_on_pleura FOLDER

A portal is filled with one exam whose outline is known, its DICOM objects are made as a worker
makes them, and OHIF is served beside it by a proxy that adds a reader's token (`make peers`). It is
opened in Chromium; the folder gets a screenshot of each view. Printed: how many pixels of the
picture are drawn, and how far the red ones with the segmentation are those of the outline (IoU).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from flask import Flask
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page
from pydicom.uid import generate_uid

from benchmarks.peers import ohif
from portal.models import Role, db
from tests.conftest import launched
from tests.support.core import make_settings
from tests.support.dicomweb.answers import Exam, Program, add_results, analyse
from tests.support.encode.wrapped import wrapped
from tests.support.jobs import UNMEASURED
from tests.support.portal_app import make_app, make_person, make_study
from tests.support.served.portal import serve

ROWS, COLUMNS = 480, 400
WINDOW = {"width": 1400, "height": 900}
_SECONDS = 90_000
# By how much a pixel of the outline is redder than blue: OHIF fills it lightly.
_RED = 24


@dataclass(frozen=True)
class Seen:
    """What OHIF showed. `iou`: of the red pixels and the outline."""

    drawn_pixels: int
    iou: float


def outline() -> NDArray[np.bool_]:
    """The outline of the exam: an ellipse in the upper left of the picture."""
    drawn = np.zeros((ROWS, COLUMNS), np.uint8)
    cv2.ellipse(drawn, (120, 130), (60, 90), 15, 0, 360, 1, -1)
    return drawn.astype(bool)


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The mask as runs of pixels, row by row."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.ravel().astype(np.int8), [0]))))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


@contextmanager
def filled(folder: Path) -> Iterator[tuple[str, Exam, Program]]:
    """A served portal with the exam, and a program with a reader's token."""
    app = make_app(make_settings(folder))
    reader = make_person(app, Role.READER)
    uids = {
        name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    }
    data = wrapped(rows=ROWS, columns=COLUMNS, PixelSpacing=["0.2", "0.2"], **uids)
    exam = Exam(make_study(app, reader, data=data), data)
    analyse(app, exam, runs(outline()), **UNMEASURED)
    add_results(app, reader, exam)
    program = Program(app, reader)
    _release(app)
    with serve(folder) as served:
        yield served.url, exam, program


def _release(app: Flask) -> None:
    with app.app_context():
        db.engine.dispose()


def look(browser: Browser, viewer: str, exam: Exam, folder: Path) -> Seen:
    """Open each view and take its picture; a timeout where one does not come."""
    context = browser.new_context(viewport=WINDOW)  # type: ignore[arg-type]
    try:
        page = context.new_page()
        page.goto(viewer)
        page.get_by_text("PHANTOM, ONE").first.wait_for(timeout=_SECONDS)
        page.screenshot(path=folder / "list.png")
        page.goto(f"{viewer}/viewer?StudyInstanceUIDs={exam.study}")
        plain = _drawn(page, folder / "picture.png")
        page.get_by_text("Skip all").click()  # the tour that a first visit begins with
        page.get_by_text("AI result, outline (resear").first.dblclick()
        page.wait_for_timeout(5000)
        if (yes := page.get_by_role("button", name="Yes")).count():
            yes.click()
        shown = _drawn(page, folder / "segmentation.png").astype(int)
        return Seen(int((plain.max(axis=2) > 40).sum()), _overlap(shown))
    finally:
        context.close()


def _drawn(page: Page, path: Path) -> NDArray[Any]:
    """The viewport's pixels (blue, green, red) once something is drawn there."""
    canvas = page.locator(".cornerstone-canvas").first
    canvas.wait_for(timeout=_SECONDS)
    for _ in range(40):
        page.wait_for_timeout(500)
        drawn = cv2.imdecode(np.frombuffer(canvas.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        if (drawn.max(axis=2) > 40).mean() > 0.1:
            break
    page.wait_for_timeout(3000)
    page.screenshot(path=path)
    return cv2.imdecode(np.frombuffer(canvas.screenshot(), np.uint8), cv2.IMREAD_COLOR)


def _overlap(shown: NDArray[Any]) -> float:
    """How far the red pixels are those of the outline, where the viewport has fitted the film."""
    red = shown[:, :, 2] - shown[:, :, 0] > _RED
    height, width = red.shape
    scale = min(height / ROWS, width / COLUMNS)
    size = round(COLUMNS * scale), round(ROWS * scale)
    expected = np.zeros((height, width), bool)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    expected[top : top + size[1], left : left + size[0]] = (
        cv2.resize(outline().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    )
    both, either = (red & expected).sum(), (red | expected).sum()
    return float(both / either) if either else 0.0


def main() -> int:
    """Look at all views; exit code 1 where one of them shows another thing than it should."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="for the screenshots")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if missing := ohif.missing():
        print(missing, file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        filled(Path(folder)) as (url, exam, program),
        ohif.ohif(url, "/dicomweb", program.token) as viewer,
        launched() as browser,
    ):
        seen = look(browser, viewer, exam, given.folder)
    print(f"drawn pixels: {seen.drawn_pixels}; IoU: {seen.iou:.3f}")
    return 0 if seen.drawn_pixels and seen.iou >= 0.98 else 1


if __name__ == "__main__":
    sys.exit(main())
