"""The report process: a report's content in, a PDF out, under the limits of the decoder process.

``python -m worker.report.report_process FD MEMORY_BYTES CPU_SECONDS`` serves its parent over a
socket pair. Each report is made in a process of its own that can open no connection and no file
but fonts, and WeasyPrint is given no way to fetch anything but the pictures of the content. The
same content gives the same bytes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import sys
from typing import Any

import cv2
import numpy as np
import weasyprint
from PIL import Image
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import URLFetcher, URLFetcherResponse

from worker import outline_mask
from worker.contract.contents import report_content
from worker.contract.contents.report_content import OutlinePart, ReportContent
from worker.contract.error_codes import ErrorCode
from worker.contract.message import InvalidMessage
from worker.contract.outline_runs import BadRuns
from worker.isolation import namespaces
from worker.render.process_per_file import Limits, serve
from worker.report import page
from worker.report.characters import Characters
from worker.report.page import SCHEME, Drawn
from worker.report.parts_needed import FONT_FOLDERS, FONT_SETTINGS

# What fontconfig and the fonts need: its settings, its caches and the fonts themselves.
_FOLDERS = (*(str(FONT_SETTINGS.parent), "/var/cache/fontconfig", *FONT_FOLDERS),)
# Pango asks fontconfig in a thread of its own. The kernel counts those of every process of this
# user: all confined processes of the machine.
_THREADS = 1000


class NothingElse(URLFetcher):  # type: ignore[misc]  # WeasyPrint has no types
    """Gives the document its own pictures and refuses every other address."""

    def __init__(self, pictures: list[bytes]) -> None:
        super().__init__(allowed_protocols=())
        self._pictures = pictures

    def fetch(self, url: str, headers: Any = None) -> URLFetcherResponse:
        """One of the pictures; ValueError for whatever else."""
        number = url.removeprefix(SCHEME)
        if number == url or not number.isdecimal() or int(number) >= len(self._pictures):
            raise ValueError("a report fetches nothing")
        jpeg = {"Content-Type": "image/jpeg"}
        return URLFetcherResponse(url, body=self._pictures[int(number)], headers=jpeg)


class Maker:
    """WeasyPrint with all of it loaded that is no font."""

    def __init__(self) -> None:
        logging.getLogger("weasyprint").setLevel(logging.CRITICAL)  # may quote a name
        self._characters = Characters()
        Image.init()
        tiny = "<svg viewBox='0 0 2 2'><path d='M0 0 L1 1' stroke='#000'/></svg>"
        _pdf(f"<style>{page.STYLE}</style><p>a</p>{tiny}<img src='{SCHEME}0' alt=''>", [_BLACK], "")

    def answer(self, data: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """The PDF of a report and what it is, or an error code."""
        try:
            content, parts = report_content.unpack(data)
            pictures, drawn = _parts(content, parts)
            unprintable = self._characters.lacks_one(page.texts(content))
            text = page.html(content, drawn, unprintable)
            made, pages = _pdf(text, pictures, content.number)
        except (InvalidMessage, BadRuns, ValueError, cv2.error):
            return {"error": ErrorCode.REPORT_REFUSED}, []
        except MemoryError:
            return {"error": ErrorCode.REPORT_LIMIT}, []
        found = {"pages": pages, "sha256": hashlib.sha256(made).hexdigest()}
        return {"report": found}, [made]


def _pdf(text: str, pictures: list[bytes], number: str) -> tuple[bytes, int]:
    """The document, with no time and no number that is not the content's, and its pages."""
    whole = weasyprint.HTML(string=text, url_fetcher=NothingElse(pictures))
    document = whole.render(font_config=FontConfiguration())
    made = document.write_pdf(pdf_variant="pdf/ua-1", pdf_identifier=number.encode())
    return made, len(document.pages)


def _parts(content: ReportContent, parts: list[bytes]) -> tuple[list[bytes], list[list[Drawn]]]:
    """The pictures, and the rings of the outlines on each."""
    rest = iter(parts)
    pictures, drawn = list[bytes](), list[list[Drawn]]()
    for picture in content.pictures:
        data = next(rest)
        _check_jpeg(data)
        pictures.append(data)
        drawn.append([_drawn(outline, next(rest)) for outline in picture.outlines])
    return pictures, drawn


def _check_jpeg(data: bytes) -> None:
    """WeasyPrint would leave out a picture that it can't read: then there is no report."""
    if not data.startswith(b"\xff\xd8\xff"):
        raise ValueError("a picture is no JPEG")
    if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) is None:
        raise ValueError("a picture can't be read")


def _drawn(outline: OutlinePart, data: bytes) -> Drawn:
    mask = outline_mask.read(outline, data)
    found, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    tolerance = max(mask.shape) / 4000
    rings = [
        [(int(x), int(y)) for x, y in cv2.approxPolyDP(ring, tolerance, closed=True)[:, 0]]
        for ring in found
    ]
    return Drawn(outline.by, outline.label, outline.rows, outline.columns, rings)


_BLACK = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()


def main(arguments: list[str]) -> None:
    """Make one report after the other until the parent closes the socket."""
    descriptor, memory_bytes, cpu_seconds = (int(argument) for argument in arguments)
    # Only this process's main thread survives a fork: no library may have started others.
    cv2.setNumThreads(0)
    maker = Maker()
    # Pango has started a thread, and only a process without others can be confined.
    namespaces.go_on_as_child()
    folders = tuple(folder for folder in _FOLDERS if os.path.isdir(folder))
    allowed = Limits(memory_bytes, cpu_seconds, _THREADS, folders)
    with socket.socket(fileno=descriptor) as channel:
        serve(channel, maker.answer, allowed, lambda: None)


if __name__ == "__main__":
    main(sys.argv[1:])
