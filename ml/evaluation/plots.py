"""Plots of an evaluation, as matplotlib figures: as SVG on the page, as they are in the PDF.

Owns their style: one colour for data, one for a comparison, no meaning by colour alone. Each
function takes the parts of the report (see ml.evaluation.report) that it draws.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ml.evaluation.report_text import LABELS

Drawing = Callable[[Axes, dict[str, Any]], None]
PAPER = (8.27, 11.69)  # A4 in inches
INK, PALE, MARK = "#1f4e79", "#9aa5b1", "#b3541e"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "svg.fonttype": "path",  # the page must look the same without our fonts
    "svg.hashsalt": "pleura",  # the same picture, the same file
}


def single(draw: Drawing, report: dict[str, Any]) -> Figure:
    """One plot as a figure of its own."""
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(4.2, 3.8), layout="constrained")
        draw(drawn.add_subplot(), report)
    return drawn


def figure_of(draws: list[Drawing], report: dict[str, Any], columns: int) -> Figure:
    """Several plots on a page of A4."""
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=PAPER, layout="constrained")
        for place, draw in enumerate(draws):
            draw(drawn.add_subplot(-(-len(draws) // columns), columns, place + 1), report)
    return drawn


def svg(drawn: Figure) -> str:
    """The figure as an SVG element."""
    file = io.StringIO()
    with mpl.rc_context(STYLE):
        drawn.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def roc(axes: Axes, report: dict[str, Any]) -> None:
    """Sensitivity against the share of false alarms, with the operating point in use."""
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=1, linestyle=":")
    if report["roc"]:
        axes.plot(*zip(*report["roc"], strict=True), color=INK, drawstyle="steps-post")
    measures = report["measures"]
    x, y = 1 - measures["specificity"]["value"], measures["sensitivity"]["value"]
    axes.plot(x, y, "o", color=MARK, label=f"in use: {report['operating_point']}")
    axes.legend(loc="lower right", frameon=False)
    auc = measures["auc"]
    axes.set(
        xlabel="1 - specificity",
        ylabel="sensitivity",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        title=f"ROC, area {auc['value']:.3f} ({auc['low']:.3f}–{auc['high']:.3f})",
    )


def precision_recall(axes: Axes, report: dict[str, Any]) -> None:
    """Precision against recall, with the share of positives that guessing would give."""
    share = report["data"]["positives"] / report["data"]["pictures"]
    axes.axhline(share, color=PALE, linewidth=1, linestyle=":")
    if report["precision_recall"]:
        axes.plot(*zip(*report["precision_recall"], strict=True), color=INK)
    axes.set(
        xlabel="recall",
        ylabel="precision",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        title=f"Precision and recall, mean precision {report['average_precision']:.3f}",
    )


def reliability(axes: Axes, report: dict[str, Any]) -> None:
    """Predicted probability against the share of positives, with each bar's number of pictures."""
    axes.plot([0, 1], [0, 1], color=PALE, linewidth=1, linestyle=":")
    for bar in report["reliability"]:
        width = bar["high"] - bar["low"]
        axes.bar(
            bar["low"],
            bar["share_positive"],
            width,
            align="edge",
            color=PALE,
            edgecolor="white",
            linewidth=1,
        )
        axes.plot(bar["mean_probability"], bar["share_positive"], "o", color=INK, markersize=4)
        axes.annotate(
            str(bar["count"]),
            (bar["low"] + width / 2, bar["share_positive"]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    ece, brier = report["measures"]["ece"], report["measures"]["brier"]
    axes.set(
        xlabel="predicted probability",
        ylabel="share with a pneumothorax",
        xlim=(0, 1),
        ylim=(0, 1.08),
        title=f"Reliability, ECE {ece['value']:.3f}, Brier {brier['value']:.3f}",
    )


def risk_coverage(axes: Axes, report: dict[str, Any]) -> None:
    """Share of wrong calls among the pictures that the model keeps."""
    found = report["abstention"]["wrong_call"]
    axes.plot(*zip(*found["curve"], strict=True), color=INK)
    for share in ("0.5", "0.8", "1"):
        axes.plot(float(share), found["at"][share], "o", color=MARK, markersize=4)
        axes.annotate(
            f"{found['at'][share]:.3f}",
            (float(share), found["at"][share]),
            xytext=(-4, 7),
            textcoords="offset points",
            ha="right",
        )
    axes.set(
        xlabel="coverage: share of pictures with an answer",
        ylabel="share of wrong calls",
        xlim=(0, 1.02),
        title=f"Risk and coverage, area {found['area']:.3f}",
    )
    axes.set_ylim(bottom=0)


def dice_by_size(axes: Axes, report: dict[str, Any]) -> None:
    """Dice of every pneumothorax against its size."""
    if report["sizes"]:
        shares, dice = zip(*report["sizes"], strict=True)
        axes.scatter([100 * share for share in shares], dice, s=12, color=INK, alpha=0.6)
        axes.set_xscale("log")
    axes.set(
        xlabel="size of the outline, % of the picture",
        ylabel="Dice",
        ylim=(-0.03, 1.03),
        title="Dice of each pneumothorax",
    )


def forest(axes: Axes, report: dict[str, Any], measure: str) -> None:
    """A measure of every group with its interval beside that of all pictures."""
    lines = [("all pictures", report["data"]["pictures"], report["measures"][measure])]
    for trait, groups in report["subgroups"].items():
        for name, part in groups.items():
            if measure in part and part[measure]["value"] is not None:
                lines.append((f"{trait}: {name}", part["pictures"], part[measure]))
    for place, (_, _, found) in enumerate(lines):
        colour = MARK if place == 0 else INK
        axes.plot(found["value"], -place, "s", color=colour, markersize=5)
        if found["low"] is not None:
            axes.plot([found["low"], found["high"]], [-place] * 2, color=colour, linewidth=1.2)
    axes.axvline(lines[0][2]["value"], color=PALE, linewidth=1, linestyle=":")
    axes.set_yticks([-place for place in range(len(lines))])
    axes.set_yticklabels([f"{name} ({count})" for name, count, _ in lines])
    axes.set(xlim=(-0.02, 1.02), title=LABELS[measure])


PLOTS: list[Drawing] = [roc, precision_recall, reliability, risk_coverage, dice_by_size]
FOREST_MEASURES = ("positive_dice", "sensitivity", "specificity", "auc")
FORESTS: list[Drawing] = [partial(forest, measure=name) for name in FOREST_MEASURES]
