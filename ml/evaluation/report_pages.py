"""An evaluation's report as one self-contained HTML page and as a PDF, with plots and gallery.

Needs matplotlib (`pip install .[report]`). Nothing is loaded from elsewhere: styles, plots and
pictures are inside of the page.
"""

from __future__ import annotations

import base64
import html
import textwrap
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from ml.datasets.cases import Case
from ml.evaluation import gallery, plots, report_text
from ml.evaluation.gallery import GalleryPicture
from ml.evaluation.report_text import LABELS, number
from ml.inference.serving import Serving

FILES = ("report.json", "report.html", "report.pdf")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1f24; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .5rem 0; } caption { text-align: left; color: #57606a; }
th, td { padding: .2rem .9rem .2rem 0; text-align: left; border-bottom: 1px solid #d8dee4; }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; } .plots svg { max-width: 100%; height: auto; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; height: auto; background: #000; }
figcaption { font-size: .8rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
"""
_KEY = "Yellow: the radiologists' outline. Blue: the model's, even where it called nothing."


def write(
    folder: Path,
    report: dict[str, Any],
    rows: list[dict[str, Any]],
    shown: dict[str, Case],
    opened: Serving,
    shape: tuple[int, int],
    count: int,
) -> None:
    """report.json, report.html and report.pdf in a folder; the arguments as for the gallery's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(report_text.as_json(report), encoding="utf-8")
    pictures = gallery.pictures(rows, shown, opened, shape, count)
    (folder / "report.html").write_text(page(report, pictures), encoding="utf-8")
    pdf(folder / "report.pdf", report, pictures)


def title(report: dict[str, Any]) -> str:
    """Which model, on how many pictures."""
    data, model = report["data"], report["model"]
    return (
        f"{model['name']} version {model['version']}: {data['pictures']} pictures of "
        f"{data['patients']} patients, {data['positives']} with a pneumothorax"
    )


def page(report: dict[str, Any], pictures: list[GalleryPicture]) -> str:
    """The whole HTML page."""
    figures = "".join(plots.svg(plots.single(draw, report)) for draw in plots.PLOTS)
    forests = "".join(plots.svg(plots.single(draw, report)) for draw in plots.FORESTS)
    shown = "".join(figure(one) for one in pictures)
    return document(
        title(report),
        f"""
<p>Research use. This page holds patients' pictures: keep it where those may be.</p>
<h2>Measures</h2><p>{html.escape(report_text.NOTE)}</p>{_measures(report)}
<h2>Plots</h2><div class="plots">{figures}</div>
<h2>Groups</h2><div class="plots">{forests}</div>{_groups(report)}
<h2>Abstention</h2>{_abstention(report)}
<h2>Rules</h2>{_rules(report)}
<h2>Worst misses and false alarms</h2><p>{_KEY}</p><div class="gallery">{shown}</div>
<h2>As text</h2><div class="wide"><pre>{html.escape(report_text.table(report))}</pre></div>""",
    )


def document(heading: str, body: str) -> str:
    """A whole page that needs nothing from elsewhere; body: HTML."""
    name = html.escape(heading)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title><style>{_STYLE}</style></head><body>
<h1>{name}</h1>{body}
</body></html>
"""


def table(head: list[str], rows: list[list[str]], caption: str = "") -> str:
    """A table; the first column is a row's name, the others are numbers."""
    heads = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f'<td class="n">{html.escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    named = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{named}<tr>{heads}</tr>{lines}</table></div>'


def _interval(found: dict[str, Any]) -> str:
    return f"{number(found['low'])} – {number(found['high'])}"


def _measures(report: dict[str, Any]) -> str:
    rows = [
        [LABELS[name], number(found["value"]), _interval(found)]
        for name, found in report["measures"].items()
    ]
    borders = report["borders"]
    caption = (
        f"Borders, where both outlines exist ({borders['pictures']} pictures): median of the mean "
        f"distance {borders['mean_px']:.1f} px, of the 95 % Hausdorff distance "
        f"{borders['hausdorff95_px']:.1f} px of the masks."
    )
    return table(["measure", "value", "95 % interval over patients"], rows, caption)


def _groups(report: dict[str, Any]) -> str:
    rows = []
    for trait, groups in report["subgroups"].items():
        for name, part in groups.items():
            counts = [str(part["pictures"]), str(part["positives"])]
            values = [
                f"{number(part[m]['value'])} ({_interval(part[m])})" if m in part else "–"
                for m in plots.FOREST_MEASURES
            ]
            rows.append([f"{trait}: {name}", *counts, *values])
    heads = ["group", "pictures", "positives", *(LABELS[name] for name in plots.FOREST_MEASURES)]
    caption = (
        "Small groups differ by chance: read the intervals; one without width means too few "
        "pictures. "
        "Each size has all negatives."
    )
    return table(heads, rows, caption)


def _abstention(report: dict[str, Any]) -> str:
    found = report["abstention"]
    rows = [
        [f"{float(share):.0%}", number(risk), number(found["dice_loss"]["at"][share])]
        for share, risk in found["wrong_call"]["at"].items()
    ]
    return table(["answered, most certain first", "wrong calls", "1 - Kaggle Dice"], rows)


def _rules(report: dict[str, Any]) -> str:
    found = report["rules"]
    if found is None:
        return "<p>Not compared: each half of the patients needs pictures with and without.</p>"
    rows = [
        [
            f"{LABELS[name]}: {report_text.RULES[rule]}",
            number(found["scores"][rule][name]),
            report_text.difference(found["differences"][rule][name])
            if rule in found["differences"]
            else "–",
        ]
        for name in found["scores"]["present"]
        for rule in found["scores"]
    ]
    caption = "Each rule chosen on one half of the patients and measured on the other, both ways."
    verdict = html.escape(report_text.verdict(found))
    heads = ["measure and rule", "value", "difference with 95 % interval"]
    return table(heads, rows, caption) + f"<p>{verdict}</p>"


def figure(one: GalleryPicture) -> str:
    """A picture of the gallery with its caption."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(one.image, cv2.COLOR_RGB2BGR))
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    caption = html.escape(f"{one.kind}, {one.caption}")
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def pdf(path: Path, report: dict[str, Any], pictures: list[GalleryPicture]) -> None:
    """The same as pages of A4: the text first, then plots, groups and gallery."""
    with mpl.rc_context(plots.STYLE), PdfPages(path, metadata={"Title": title(report)}) as pages:
        pages.savefig(_text_page(title(report), report_text.table(report)))
        pages.savefig(plots.figure_of(plots.PLOTS, report, 2))
        pages.savefig(plots.figure_of(plots.FORESTS, report, 2))
        for start in range(0, len(pictures), 6):
            pages.savefig(_gallery_page(pictures[start : start + 6]))


def _text_page(heading: str, text: str) -> Figure:
    drawn = Figure(figsize=plots.PAPER)
    drawn.text(0.08, 0.95, heading, fontsize=11, weight="bold", va="top", wrap=True)
    drawn.text(0.08, 0.9, text, fontsize=7, family="DejaVu Sans Mono", va="top")
    return drawn


def _gallery_page(pictures: list[GalleryPicture]) -> Figure:
    drawn = Figure(figsize=plots.PAPER, layout="constrained")
    drawn.suptitle(_KEY, fontsize=9)
    for place, one in enumerate(pictures):
        axes = drawn.add_subplot(3, 2, place + 1)
        axes.imshow(one.image)
        axes.set_axis_off()
        caption = "\n".join(textwrap.wrap(f"{one.kind}, {one.caption}", 70))
        axes.set_title(caption, fontsize=6)
    return drawn
