"""The numbers that recent predictions stored, read from a file of JSON values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ml.errors import BadInput
from ml.metrics.reference_shares import VIEW

_FRONTAL = ("AP", "PA")
_NOT_SPACE = re.compile(r"\S")


class RecentPredictions(NamedTuple):
    """The numbers of recent predictions.

    refused: without a result; others: of other models; no_mm: of the results, those without sizes
    in mm because their pixel spacing is not plausible.
    """

    rows: list[dict[str, float]]
    refused: int
    others: int
    no_mm: int = 0

    @property
    def summary(self) -> str:
        """How many there are, for people."""
        count = len(self.rows) + self.refused
        text = f"{count} predictions, {self.refused} of them refused by the quality gate"
        text += f" ({self.refused / count:.1%})" if count else ""
        if self.no_mm:
            text += f"; {self.no_mm} without sizes in mm, because their spacing is not plausible"
        return text + (f"; {self.others} of other models left out" if self.others else "")


def read(path: Path, sha256: str | None = None) -> RecentPredictions:
    """The numbers of each prediction, among them its probability and, as 1 or 0, whether its view
    is AP, where that is known; BadInput names a bad line.

    One JSON value after the other, each on lines of its own or on several: statistics, a
    prediction, what holds one as "prediction", or a list of those. sha256: of the
    model; predictions of another one are left out.
    """
    rows: list[dict[str, float]] = []
    refused = others = no_mm = 0
    for line, value in _values(path):
        try:
            for found in value if isinstance(value, list) else [value]:
                prediction = found.get("prediction", found)
                if prediction is None:  # a case that has none yet
                    continue
                if sha256 and (prediction.get("model") or {}).get("sha256", sha256) != sha256:
                    others += 1
                    continue
                measured = prediction.get("measurements") or {}
                no_mm += measured.get("spacing_problem") == "not_plausible"
                numbers = prediction.get("statistics", prediction) or {}
                if prediction.get("probability") is not None:
                    numbers = {**numbers, "probability": prediction["probability"]}
                picture = found.get("picture")  # a file's name, as `ml predict` writes it
                of_picture = picture.get("view") if isinstance(picture, dict) else None
                view = prediction.get("view") or of_picture
                if numbers and view in _FRONTAL:
                    numbers = {**numbers, VIEW: float(view == "AP")}
                if numbers:
                    rows.append({name: _finite(number) for name, number in numbers.items()})
                elif {"quality", "model", "probability"} & prediction.keys():
                    refused += 1
                else:
                    raise ValueError("neither numbers nor a prediction")
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise BadInput(f"{path}, line {line}: not a prediction's statistics") from error
    return RecentPredictions(rows, refused, others, no_mm)


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    """Each JSON value of a file, and the line on which it begins."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text in UTF-8") from error
    decoder, at, line = json.JSONDecoder(), 0, 1
    while found := _NOT_SPACE.search(text, at):
        begin = found.start()
        line += text.count("\n", at, begin)
        try:
            value, at = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}, line {line}: not a prediction's statistics") from error
        yield line, value
        line += text.count("\n", begin, at)


def _finite(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found):
        raise ValueError("not a finite number")
    return found
