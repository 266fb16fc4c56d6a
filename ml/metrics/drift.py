"""Have the pictures or the answers changed? `python -m ml drift --card FILE --statistics FILE`.

Compares what recent predictions stored (`Prediction.statistics`) with the reference in the model's
card: quantiles of the same numbers on pictures of patients that the model never saw. Two measures,
because each misses something: the population stability index over tenths of the reference, and the
Kolmogorov-Smirnov distance. Of PSI, under 0.1 counts as stable, 0.1 to 0.25 is to be watched, above
0.25 the population has shifted (Siddiqi, Credit Risk Scorecards, 2006). Those are conventions: by
chance alone PSI grows as 1/n, so that its 95 % point without any change stands beside it (Yurdakul
and Naranjo, Statistical properties of the population stability index, 2020), and what does not
exceed it is called stable. Drift says that something changed, not that the model is wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import kolmogorov
from scipy.stats import chi2

from ml.errors import BadInput
from ml.metrics.measures import Floats

LEVELS: Floats = np.round(np.linspace(0, 1, 21), 2)
WATCH, SHIFTED = 0.1, 0.25
# Shares of nothing would be infinite.
FLOOR = 1e-4
# Below so many predictions nothing is said at all.
LEAST = 50
_INK = re.compile(r"\S")
# Exit code of --strict where something has shifted; 1 is an error, 2 wrong use.
DRIFTED = 4


@dataclass(frozen=True)
class Reference:
    """A number's distribution on n pictures, as its quantiles at LEVELS."""

    quantiles: Floats
    n: int

    def below(self, values: Floats) -> Floats:
        """Share of the reference below each value, linear between quantiles."""
        return _cumulated(self.quantiles, values, "left")

    def up_to(self, values: Floats) -> Floats:
        """Share of the reference at or below each value."""
        return _cumulated(self.quantiles, values, "right")


@dataclass(frozen=True)
class Drift:
    """How one number differs. by_chance: 95 % of PSIs without any change are below it."""

    name: str
    n: int
    psi: float
    by_chance: float
    ks: float
    p_value: float

    @property
    def word(self) -> str:
        """'stable', 'watch' or 'shifted', or 'too few' to say."""
        if self.n < LEAST:
            return "too few"
        if self.psi < WATCH or self.psi <= self.by_chance:
            return "stable"
        return "watch" if self.psi <= SHIFTED else "shifted"


class Recent(NamedTuple):
    """What recent predictions stored. refused: without a result; others: of other models."""

    rows: list[dict[str, float]]
    refused: int
    others: int

    @property
    def words(self) -> str:
        """How many there are, and of what."""
        count = len(self.rows) + self.refused
        told = f"{count} predictions, {self.refused} of them refused by the quality gate"
        told += f" ({self.refused / count:.1%})" if count else ""
        return told + (f"; {self.others} of other models left out" if self.others else "")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--card", type=Path, required=True, help="card.json of the model")
    parser.add_argument(
        "--statistics",
        type=Path,
        required=True,
        help="predictions in JSON, one after the other: `portal model statistics`, `ml predict`",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help=f"end with exit code {DRIFTED} where something has shifted",
    )


def run(args: argparse.Namespace) -> int:
    """Print a table of all numbers that card and predictions share."""
    known = references(args.card)
    card = json.loads(args.card.read_text(encoding="utf-8"))
    recent = read(args.statistics, card.get("sha256"))
    found = compare(known, recent.rows)
    print(recent.words)
    print(table(found))
    shifted = any(one.word == "shifted" for one in found)
    return DRIFTED if args.strict and shifted else 0


def reference(rows: Iterable[Mapping[str, float]]) -> dict[str, Any]:
    """What a card stores of predictions' numbers: their count, and quantiles of each."""
    columns = _columns(rows)
    return {
        "n": max((len(values) for values in columns.values()), default=0),
        "levels": LEVELS.tolist(),
        "quantiles": {
            name: [round(float(value), 6) for value in np.quantile(values, LEVELS)]
            for name, values in columns.items()
        },
    }


def references(card: Path) -> dict[str, Reference]:
    """A card's reference by number; BadInput where it has none."""
    try:
        stored = json.loads(card.read_text(encoding="utf-8")).get("reference")
    except (ValueError, AttributeError) as error:
        raise BadInput(f"{card} is not a model's card") from error
    if not stored:
        raise BadInput(f"{card} has no reference: export the model anew, with --cache")
    try:
        levels = stored["levels"]
        found = {
            name: Reference(np.array(values, dtype=np.float64), int(stored["n"]))
            for name, values in stored["quantiles"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"the reference of {card} is damaged") from error
    if levels != LEVELS.tolist() or any(
        len(one.quantiles) != len(LEVELS) for one in found.values()
    ):
        raise BadInput(f"the reference of {card} has quantiles at other levels")
    return found


def read(path: Path, sha256: str | None = None) -> Recent:
    """The numbers of each prediction, its probability among them; BadInput names a bad line.

    One JSON value after the other, each on lines of its own or on several: statistics, a
    prediction, what holds one as "prediction", or a list of those. sha256: of the model that is
    meant; what says that it is another's is left out.
    """
    rows: list[dict[str, float]] = []
    refused = others = 0
    for line, value in _values(path):
        try:
            for found in value if isinstance(value, list) else [value]:
                told = found.get("prediction", found)
                if told is None:  # a case that has none yet
                    continue
                if sha256 and (told.get("model") or {}).get("sha256", sha256) != sha256:
                    others += 1
                    continue
                numbers = told.get("statistics", told) or {}
                if told.get("probability") is not None:
                    numbers = {**numbers, "probability": told["probability"]}
                if numbers:
                    rows.append({name: _finite(number) for name, number in numbers.items()})
                else:
                    refused += 1
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise BadInput(f"{path}, line {line}: not a prediction's statistics") from error
    return Recent(rows, refused, others)


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    """Each JSON value of a file, and the line on which it begins."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not a text in UTF-8") from error
    decoder, at, line = json.JSONDecoder(), 0, 1
    while found := _INK.search(text, at):
        begin = found.start()
        line += text.count("\n", at, begin)
        try:
            value, at = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{path}, line {line}: not a prediction's statistics") from error
        yield line, value
        line += text.count("\n", begin, at)


def compare(known: Mapping[str, Reference], rows: Iterable[Mapping[str, float]]) -> list[Drift]:
    """Every number that both sides have, the most shifted first."""
    found = []
    for name, values in _columns(rows).items():
        if name in known:
            distance, p_value = ks(known[name], values)
            index, chance = psi(known[name], values), psi_by_chance(known[name], len(values))
            found.append(Drift(name, len(values), index, chance, distance, p_value))
    return sorted(found, key=lambda one: -one.psi)


def psi(known: Reference, values: Floats) -> float:
    """Sum of (actual - expected) ln(actual / expected) over the tenths of the reference.

    A value that many pictures of the reference share is a bin of its own.
    """
    edges = _edges(known)
    expected = np.diff(known.below(edges), prepend=0.0, append=1.0)
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    actual = np.maximum(counts / len(values), FLOOR)
    expected = np.maximum(expected, FLOOR)
    return float(((actual - expected) * np.log(actual / expected)).sum())


def psi_by_chance(known: Reference, n: int, share: float = 0.95) -> float:
    """The quantile of PSI without any change: (1/n + 1/m) times a chi-square of bins - 1."""
    shares = np.diff(known.below(_edges(known)), prepend=0.0, append=1.0)
    bins = max(int((shares > FLOOR).sum()), 2)
    return float(chi2.ppf(share, bins - 1) * (1 / n + 1 / known.n))


def ks(known: Reference, values: Floats) -> tuple[float, float]:
    """Largest distance of the two cumulated shares, and its p-value for large samples."""
    points = np.union1d(values, known.quantiles)
    ordered = np.sort(values)
    at_or_below = np.searchsorted(ordered, points, side="right") / len(values)
    below = np.searchsorted(ordered, points, side="left") / len(values)
    distance = max(
        float(np.abs(at_or_below - known.up_to(points)).max()),
        float(np.abs(below - known.below(points)).max()),
    )
    effective = len(values) * known.n / (len(values) + known.n)
    return distance, float(kolmogorov(math.sqrt(effective) * distance))


def table(found: list[Drift]) -> str:
    """The comparison in words."""
    lines = [f"{'number':18}{'n':>7}{'PSI':>9}{'by chance':>11}{'KS':>8}{'p':>10}  "]
    for one in found:
        lines.append(
            f"{one.name:18}{one.n:>7}{one.psi:>9.3f}{one.by_chance:>11.3f}{one.ks:>8.3f}"
            f"{one.p_value:>10.2g}  {one.word}"
        )
    counts = {word: sum(one.word == word for one in found) for word in ("watch", "shifted")}
    if not found:
        return "nothing to compare: no prediction has a number that the card knows"
    if found[0].n < LEAST:
        lines.append(f"fewer than {LEAST} predictions: nothing can be said yet")
    else:
        lines.append(
            f"{counts['shifted']} shifted, {counts['watch']} to watch, of {len(found)} numbers "
            f"(PSI below {WATCH:g} stable, to {SHIFTED:g} watch, above shifted)"
        )
    return "\n".join(lines)


def _edges(known: Reference) -> Floats:
    """Where the tenths of the reference end; a repeated value ends before and after itself.

    A tenth that ends within a step of the levels after a repeated value is left out: how many
    pictures lie between the two is not known.
    """
    values, counts = np.unique(known.quantiles, return_counts=True)
    repeated = values[counts > 1]
    tenths = range(2, len(LEVELS) - 1, 2)
    apart = [k for k in tenths if known.quantiles[k - 1] not in repeated]
    after = np.nextafter(repeated, np.inf)
    edges: Floats = np.unique(np.concatenate([known.quantiles[apart], repeated, after]))
    return edges


def _cumulated(quantiles: Floats, values: Floats, side: str) -> Floats:
    """Levels at values, linear between quantiles; side: of a jump, where quantiles repeat."""
    # Of equal quantiles the first level is what lies below them, the last what lies up to them.
    at, first = np.unique(quantiles, return_index=True)
    last = len(quantiles) - 1 - np.unique(quantiles[::-1], return_index=True)[1]
    low, high = LEVELS[first], LEVELS[last]
    low[0] = 0.0
    place = np.searchsorted(at, values, side="right") - 1
    inside = np.clip(place, 0, len(at) - 1)
    following = np.minimum(inside + 1, len(at) - 1)
    width = at[following] - at[inside]
    share = np.where(width > 0, (values - at[inside]) / np.where(width > 0, width, 1), 0.0)
    between = high[inside] + share * (low[following] - high[inside])
    exact = (place >= 0) & (values == at[inside])
    found: Floats = np.where(exact, low[inside] if side == "left" else high[inside], between)
    found = np.where(place < 0, 0.0, found)
    return np.where(values > at[-1], 1.0, found)


def _columns(rows: Iterable[Mapping[str, float]]) -> dict[str, Floats]:
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}


def _finite(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found):
        raise ValueError("not a finite number")
    return found
