"""An evaluation's report as text and as JSON."""

from __future__ import annotations

import json
import math
import textwrap
from typing import Any

LABELS = {
    "kaggle_dice": "Kaggle Dice",
    "positive_dice": "Dice, positives only",
    "image_specificity": "nothing outlined on negatives",
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "sensitivity_at_specificity_0.93": "sensitivity at specificity 0.93",
    "ece": "calibration error (ECE, 15 bins)",
    "brier": "Brier score",
    "positive_iou": "IoU, positives only",
    "pixel_iou": "pixel IoU",
    "pixel_precision": "pixel precision",
    "pixel_recall": "pixel recall",
    "pixel_accuracy": "pixel accuracy",
}

RULES = {"present": "in use", "triplet": "triplet", "gated_triplet": "gate+triplet"}
# A caveat for the reader of the numbers.
NOTE = (
    "Thresholds and calibration are the model's own: on the pictures that they were chosen on (its "
    "held-out fold), the numbers are optimistic; those of the rules are cross-fitted."
)


def table(report: dict[str, Any]) -> str:
    """The report as a table for people."""
    data, model = report["data"], report["model"]
    thresholds = report["thresholds"]
    point = report["operating_point"]
    lines = [
        f"{model['name']} {model['version']} on {report['device']}",
        f"{data['pictures']} pictures of {data['patients']} patients, "
        f"{data['positives']} with pneumothorax",
        f"missing {data['missing']}, unreadable {data['unreadable']}, "
        f"not in the table {data['unlisted']}, refused by quality {data['refused_by_quality']}"
        + (" (left out)" if data["refused_left_out"] else " (measured all the same)"),
        f"thresholds: image {thresholds['image'][point]:.3f} ({point}), "
        f"pixel {thresholds['mask']:.2f}, at least {thresholds['area_px_min']} px of the map",
        "",
        f"{'':34}{'value':>8}   95 % interval",
    ]
    for name, measure in report["measures"].items():
        interval = f"{number(measure['low'])} – {number(measure['high'])}"
        lines.append(f"{LABELS[name]:34}{number(measure['value']):>8}   {interval}")
    lines += ["", f"{'by':20}{'':14}{'n':>6}{'pos.':>6}{'Dice':>9}{'sens.':>9}{'AUC':>9}"]
    for trait, groups in report["subgroups"].items():
        for name, part in groups.items():
            shown = "".join(
                f"{number(part[m]['value']):>9}" for m in ("positive_dice", "sensitivity", "auc")
            )
            lines.append(f"{trait:20}{name:14}{part['pictures']:>6}{part['positives']:>6}{shown}")
    lines += ["", f"{'answered, most certain first':34}{'wrong calls':>12}"]
    for share, risk in report["abstention"]["wrong_call"]["at"].items():
        lines.append(f"{float(share):<34.0%}{number(risk):>12}")
    lines += [
        "",
        *_rules(report["rules"]),
        "",
        *textwrap.wrap(NOTE, 90),
        "",
        f"{report['seconds']:.0f} s",
    ]
    return "\n".join(lines)


def _rules(found: dict[str, Any] | None) -> list[str]:
    """The comparison of the serving rule with the triplet rules."""
    if found is None:
        return ["rules not compared: each half of the patients needs pictures with and without"]
    lines = [f"{'rules, cross-fitted':34}{'value':>8}   difference and 95 % interval"]
    for name in found["scores"]["present"]:
        for rule, scores in found["scores"].items():
            other = found["differences"].get(rule)
            shown = difference(other[name]) if other else ""
            lines.append(f"{LABELS[name]:22}{RULES[rule]:12}{number(scores[name]):>8}   {shown}")
    return [*lines, verdict(found)]


def difference(found: dict[str, float]) -> str:
    """A difference with its interval."""
    return f"{found['value']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"


def verdict(found: dict[str, Any]) -> str:
    """Whether another rule is worth serving."""
    if not found["better"]:
        return "No rule is better than the serving rule."
    return "Better than the serving rule: " + ", ".join(RULES[r] for r in found["better"]) + "."


def number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def as_json(report: dict[str, Any]) -> str:
    """The report as JSON, which has no NaN: null instead."""
    return json.dumps(_plain(report), indent=2) + "\n"


def _plain(value: Any) -> Any:
    """JSON has no NaN: null instead."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
