"""Contents of reports as the portal writes them, and what a PDF holds."""

import io
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pypdfium2
from pypdf import PdfReader

from worker.contract import outline_runs
from worker.contract.contents import report_content
from worker.contract.contents.report_content import (
    MarkPart,
    OutlineBy,
    OutlineForm,
    OutlinePart,
    PicturePart,
    ReportContent,
    Row,
    Section,
)

ROWS, COLUMNS = 400, 320
NAMES = "山田太郎 · 김철수 · יוסי כהן · محمد علي · Жуков · Łukasz Müller"


def jpeg(rows: int = ROWS // 2, columns: int = COLUMNS // 2) -> bytes:
    """A picture that can be read."""
    grey = np.add.outer(np.arange(rows), np.arange(columns)) % 200
    return cv2.imencode(".jpg", grey.astype(np.uint8))[1].tobytes()


def mask() -> bytes:
    """An outline as a segment job stores it."""
    drawn = np.zeros((ROWS, COLUMNS), np.uint8)
    drawn[100:180, 60:120] = 255
    return cv2.imencode(".png", drawn)[1].tobytes()


def runs() -> bytes:
    """A reader's outline."""
    lines = [(row * COLUMNS + 70, row * COLUMNS + 130) for row in range(110, 170)]
    return outline_runs.encode(lines, ROWS, COLUMNS)


def content(
    pictures: int = 1, *, outlined: bool = True, marks: Sequence[MarkPart] = (), **changes: Any
) -> bytes:
    """A whole content; `changes` are of its fields."""
    drawn = (
        [
            (OutlineBy.AI, OutlineForm.PNG, "AI outline", mask()),
            (OutlineBy.READER, OutlineForm.RUNS, "Reader’s outline", runs()),
        ]
        if outlined
        else []
    )
    parts = [part for _ in range(pictures) for part in (jpeg(), *(data for *_, data in drawn))]
    fields = {
        "language": "en",
        "title": "Chest X-ray report",
        "state": "Preliminary – not signed",
        "is_signed": False,
        "number": "ab" * 16,
        "created": "2026-11-30T12:00:00Z",
        "exam": [Row(label="Patient", text=NAMES)],
        "sections": [Section(title="AI result", rows=[Row(label="Probability", text="0.87")])],
        "pictures": [
            PicturePart(
                title=f"Picture {number}",
                described="Chest X-ray",
                rows=ROWS,
                columns=COLUMNS,
                bytes=len(jpeg()),
                outlines=[
                    OutlinePart(
                        by=by, form=form, label=label, rows=ROWS, columns=COLUMNS, bytes=len(data)
                    )
                    for by, form, label, data in drawn
                ],
                marks=list(marks),
            )
            for number in range(1, pictures + 1)
        ],
        "pictures_title": "Pictures",
        "research": "Research use only – not a medical device.",
        "footer": "Case 7F3A",
        "not_printable": "Some characters could not be printed.",
    } | changes
    return report_content.pack(ReportContent(**fields), parts)


def text_of(pdf: bytes) -> str:
    """All text of a PDF, in one line."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        pages = [
            document[number].get_textpage().get_text_range() for number in range(len(document))
        ]
    finally:
        document.close()
    return " ".join(" ".join(pages).split())


def drawn_page(pdf: bytes, number: int = 0) -> Any:
    """A page as a picture (rows, columns, 3)."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        return np.array(document[number].render(scale=1.5).to_pil().convert("RGB"))
    finally:
        document.close()


def reader_of(pdf: bytes) -> PdfReader:
    """The PDF's structure."""
    return PdfReader(io.BytesIO(pdf))
