"""An evaluation's report in words and as JSON."""

from __future__ import annotations

import json
import math
from typing import Any

_WORDS = {
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
    "pixel_precision": "pixel precision",
    "pixel_recall": "pixel recall",
    "pixel_accuracy": "pixel accuracy",
}


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
        interval = f"{_number(measure['low'])} – {_number(measure['high'])}"
        lines.append(f"{_WORDS[name]:34}{_number(measure['value']):>8}   {interval}")
    lines += ["", f"{'by size of the pneumothorax':34}{'n':>8}{'Dice':>9}{'sens.':>9}{'AUC':>9}"]
    for name, part in report["by_size"].items():
        shown = "".join(f"{_number(part[m]):>9}" for m in ("positive_dice", "sensitivity", "auc"))
        lines.append(f"{name:34}{part['positives']:>8}{shown}")
    lines += ["", f"{report['seconds']:.0f} s"]
    return "\n".join(lines)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


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
