"""A report as a page of HTML: every text escaped, pictures and outlines in their places.

Outlines are drawn as lines over the picture, so they stay sharp at any size: the AI's in its
colour, a reader's dashed in the readers' own, told apart without colour as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from worker.contract.contents.report_content import (
    MarkKind,
    MarkPart,
    OutlineBy,
    PicturePart,
    ReportContent,
    Row,
    Section,
)

Ring = list[tuple[int, int]]

# Addresses of pictures, which exist in this document alone.
SCHEME: Final = "report-picture:"
# Of the longer side of a picture.
_LINE_SHARE: Final = 1 / 350
_COLOURS: Final = {OutlineBy.AI: "#00b3a4", OutlineBy.READER: "#f5a623"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """An outline's rings, in pixels (x, y) of a mask of rows × columns."""

    by: OutlineBy
    label: str
    rows: int
    columns: int
    rings: Sequence[Ring]


STYLE: Final = """
@page { size: A4; margin: 18mm 16mm 20mm;
  @bottom-left { content: string(foot); font: 7.5pt 'DejaVu Sans'; color: #444; width: 80%; }
  @bottom-right { content: counter(page) ' / ' counter(pages);
    font: 7.5pt 'DejaVu Sans'; color: #444; } }
html { color: #111;
  font: 9pt/1.45 'DejaVu Sans', 'Noto Sans', 'Droid Sans Fallback', 'NanumGothic'; }
body { margin: 0; }
h1 { font-size: 15pt; margin: 0; }
h2 { font-size: 10.5pt; margin: 5mm 0 1.5mm; border-bottom: 0.4pt solid #888; padding-bottom: 0.8mm;
  break-after: avoid; }
h3 { font-size: 9pt; margin: 0 0 1mm; break-after: avoid; }
.head { border-bottom: 1pt solid #111; padding-bottom: 2mm; }
.state { font-weight: bold; margin: 1mm 0 0; }
.unsigned { border: 1pt solid #111; padding: 0.6mm 2mm; display: inline-block; }
table { border-collapse: collapse; width: 100%; }
th { text-align: start; font-weight: normal; color: #444; width: 36%; vertical-align: top;
  padding: 0.5mm 3mm 0.5mm 0; }
td { vertical-align: top; padding: 0.5mm 0; white-space: pre-line; overflow-wrap: anywhere; }
tr { break-inside: avoid; }
table.exam { margin-top: 2mm; }
p { margin: 1mm 0; white-space: pre-line; overflow-wrap: anywhere; }
.note { color: #333; font-size: 8.3pt; }
.research { border: 0.6pt solid #888; padding: 1.5mm 2mm; margin-top: 5mm; font-weight: bold; }
.foot { string-set: foot content(); position: absolute; visibility: hidden; height: 0; }
.picture { break-inside: avoid; margin: 0 0 5mm; }
.pair { display: flex; gap: 3mm; }
.film { position: relative; background: #000; flex: none; }
.film img, .film svg { display: block; position: absolute; left: 0; top: 0; width: 100%;
  height: 100%; }
.legend { font-size: 8pt; margin: 1mm 0 0; }
.key { display: inline-block; width: 7mm; height: 0; border-top: 1.4pt solid;
  vertical-align: middle; margin-inline-end: 1.5mm; }
.key.reader { border-top-style: dashed; }
.legend span.item { margin-inline-end: 5mm; }
"""


def html(content: ReportContent, drawn: Sequence[Sequence[Drawn]], unprintable: bool) -> str:
    """The whole page; `drawn`: the outlines of each picture."""
    direction = "rtl" if content.right_to_left else "ltr"
    state = "state" if content.is_signed else "state unsigned"
    pictures = "".join(
        _picture(number, part, outlines)
        for number, (part, outlines) in enumerate(zip(content.pictures, drawn, strict=True))
    )
    shown = f"<h2>{_text(content.pictures_title)}</h2>{pictures}" if pictures else ""
    fallback = f'<p class="note">{_text(content.not_printable)}</p>' if unprintable else ""
    return (
        f'<!doctype html><html lang="{escape(content.language)}" dir="{direction}"><head>'
        f"<title>{escape(content.title)}</title>"
        f'<meta name="dcterms.created" content="{escape(content.created)}">'
        f'<meta name="dcterms.modified" content="{escape(content.created)}">'
        f'<meta name="generator" content="Pleura"><style>{STYLE}</style></head><body>'
        f'<p class="foot">{_text(content.footer)}</p>'
        f'<div class="head"><h1>{_text(content.title)}</h1>'
        f'<p class="{state}">{_text(content.state)}</p></div>'
        f"{_table(content.exam, 'exam')}{fallback}"
        f"{''.join(_section(section) for section in content.sections)}"
        f'<p class="research">{_text(content.research)}</p>{shown}</body></html>'
    )


def texts(content: ReportContent) -> Iterable[str]:
    """Every text of a report that is printed."""
    yield from (content.title, content.state, content.research, content.footer)
    yield content.pictures_title
    for row in content.exam:
        yield from (row.label, row.text)
    for section in content.sections:
        yield section.title
        yield from section.notes
        for row in section.rows:
            yield from (row.label, row.text)
    for picture in content.pictures:
        yield from (picture.title, picture.caption, *(one.label for one in picture.outlines))
        yield from (one.label for one in picture.marks)


def _text(text: str) -> str:
    """Isolated, so that a name of another direction does not turn what stands around it."""
    return f"<bdi>{escape(text)}</bdi>"


def _section(section: Section) -> str:
    notes = "".join(f'<p class="note">{_text(note)}</p>' for note in section.notes)
    return f"<section><h2>{_text(section.title)}</h2>{_table(section.rows)}{notes}</section>"


def _table(rows: Sequence[Row], kind: str = "") -> str:
    if not rows:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{_text(row.label)}</th><td>{_text(row.text)}</td></tr>'
        for row in rows
    )
    return f'<table class="{kind}">{lines}</table>'


def _picture(number: int, part: PicturePart, outlines: Sequence[Drawn]) -> str:
    """A picture as it is, and beside it, where something is drawn on it, the same with that."""
    is_pair = bool(outlines or part.marks)
    width, height = _fitted(part.columns / part.rows, *((86.0, 100.0) if is_pair else (120, 120)))
    size = f'style="width:{width:.2f}mm;height:{height:.2f}mm"'
    image = f'<img src="{SCHEME}{number}" alt="{escape(part.described, quote=True)}">'
    films = f'<div class="film" {size}>{image}</div>'
    if is_pair:
        over = "".join(_svg(one) for one in outlines) + _marks(part)
        films += f'<div class="film" {size}>{image}{over}</div>'
    caption = f'<p class="legend">{_text(part.caption)}</p>' if part.caption else ""
    return (
        f'<div class="picture"><h3>{_text(part.title)}</h3><div class="pair">{films}</div>'
        f"{_legend(outlines)}{_numbered(part)}{caption}</div>"
    )


def _legend(outlines: Sequence[Drawn]) -> str:
    items = "".join(
        f'<span class="item"><span class="key {one.by.value}" '
        f'style="border-top-color:{_COLOURS[one.by]}"></span>{_text(one.label)}</span>'
        for one in outlines
    )
    return f'<p class="legend">{items}</p>' if items else ""


def _numbered(part: PicturePart) -> str:
    """The legend of rulers and arrows, by their numbers."""
    items = "".join(
        f'<span class="item"><b>{number}</b> {_text(one.label)}</span>'
        for number, one in enumerate(part.marks, 1)
    )
    return f'<p class="legend">{items}</p>' if items else ""


def _marks(part: PicturePart) -> str:
    """Rulers and arrows with their numbers, over a dark edge as outlines are."""
    if not part.marks:
        return ""
    line = max(part.rows, part.columns) * _LINE_SHARE
    colour = _COLOURS[OutlineBy.READER]
    drawn = "".join(_mark(one, number, line, colour) for number, one in enumerate(part.marks, 1))
    return (
        f'<svg viewBox="0 0 {part.columns} {part.rows}" preserveAspectRatio="none" role="img" '
        f'aria-label="{len(part.marks)} drawn">{drawn}</svg>'
    )


def _mark(one: MarkPart, number: int, line: float, colour: str) -> str:
    x0, y0, x1, y1 = one.line
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    ex, ey = (x1 - x0) / length, (y1 - y0) / length  # along it
    path = f"M{x0:.1f} {y0:.1f} L{x1:.1f} {y1:.1f}"
    if one.kind is MarkKind.ARROW:
        head = 7 * line
        for turn in (1, -1):
            x, y = x1 - head * (ex - turn * 0.5 * ey), y1 - head * (ey + turn * 0.5 * ex)
            path += f" M{x1:.1f} {y1:.1f} L{x:.1f} {y:.1f}"
    else:
        for x, y in ((x0, y0), (x1, y1)):
            dx, dy = 4 * line * -ey, 4 * line * ex
            path += f" M{x - dx:.1f} {y - dy:.1f} L{x + dx:.1f} {y + dy:.1f}"
    # The number stands before where the line begins.
    tx, ty, size = x0 - 9 * line * ex, y0 - 9 * line * ey, 11 * line
    lettering = (
        f'x="{tx:.1f}" y="{ty + size / 3:.1f}" font-size="{size:.1f}" text-anchor="middle" '
        'font-family="DejaVu Sans"'
    )
    dark = "#0b1218"
    return (
        f'<path d="{path}" fill="none" stroke="{dark}" stroke-width="{2.2 * line:.2f}"/>'
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{line:.2f}"/>'
        f'<text {lettering} fill="{dark}" stroke="{dark}" stroke-width="{line:.2f}">{number}</text>'
        f'<text {lettering} fill="{colour}">{number}</text>'
    )


def _svg(one: Drawn) -> str:
    """The rings as one path, with a dark edge below so that it shows on bright pictures too."""
    if not one.rings:
        return ""
    path = " ".join(
        "M" + " L".join(f"{x} {y}" for x, y in ring) + " Z" for ring in one.rings if len(ring) > 1
    )
    line = max(one.rows, one.columns) * _LINE_SHARE
    dashes = (
        f' stroke-dasharray="{5 * line:.1f} {3 * line:.1f}"' if one.by is OutlineBy.READER else ""
    )
    strokes = (("#0b1218", 2.2 * line, ""), (_COLOURS[one.by], line, dashes))
    paths = "".join(
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:.2f}"{dash}/>'
        for colour, width, dash in strokes
    )
    return (
        f'<svg viewBox="0 0 {one.columns} {one.rows}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(one.label, quote=True)}">{paths}</svg>'
    )


def _fitted(shape: float, width: float, height: float) -> tuple[float, float]:
    """The largest size in mm of this width : height that fits."""
    return (width, width / shape) if width / shape <= height else (height * shape, height)
