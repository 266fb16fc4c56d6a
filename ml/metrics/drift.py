"""Whether pictures or predictions have changed: `python -m ml drift --card FILE --statistics FILE`.

Compares the statistics of recent predictions (`Prediction.statistics`) with the reference in the
model's card: quantiles of the same numbers on held-out patients. Two distances (see
ml.metrics.reference_distribution), because each misses something: the population stability index
and the Kolmogorov-Smirnov distance. A PSI under 0.1 counts as stable, 0.1 to 0.25 as to be watched,
above 0.25 as shifted (Siddiqi 2006). Those are conventions: by chance alone PSI grows as 1/n, so
its 95 % point without any change is printed beside it, and a PSI below that is called stable. Drift
means that something changed, not that the model is wrong.

An alarm is stricter, for a check of each day's last ALARM_WINDOW predictions: PSI above 0.25 and a
Kolmogorov-Smirnov p-value below ALARM_P. That bound is chosen by counting, not from pictures: of 14
numbers checked on 365 days, 5,110 tests of unchanged pictures, 0.1 are below it by chance.

Shares (ml.metrics.reference_shares) are judged by their own tests' p-values alone: an alarm below
ALARM_P, of the prevalence below PREVALENCE_P. With a window of 300 and a reference of 300 pictures
ALARM_P would miss half of the doublings (docs/measured.md).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.metrics import recent_predictions, reference_distribution, reference_shares
from ml.metrics.measures import Floats
from ml.metrics.reference_distribution import Reference, ks, psi, psi_by_chance
from ml.metrics.reference_shares import PREVALENCE, Known

WATCH, SHIFTED = 0.1, 0.25
# The last predictions that a daily check looks at, and when their difference is no chance any more.
ALARM_WINDOW, ALARM_P = 300, 2e-5
# Of the prevalence, and from where on a share is to be watched.
PREVALENCE_P, WATCH_P = 1e-3, 0.01
# With fewer predictions nothing is compared.
LEAST = 50
# Exit code of --strict where something has shifted; 1 is an error, 2 wrong use.
DRIFTED = 4


@dataclass(frozen=True)
class Drift:
    """How one number differs. by_chance: 95 % of PSIs without any change are below it.

    expected, recent: the medians of reference and recent pictures, of a share the shares; `ks` is
    then their difference, and `p_value` that of its own test. reference_n: pictures.
    """

    name: str
    n: int
    psi: float
    by_chance: float
    ks: float
    p_value: float
    expected: float
    recent: float
    reference_n: int
    is_share: bool = False

    @property
    def status(self) -> str:
        """'stable', 'watch', 'shifted', or 'too few' predictions."""
        if self.n < LEAST:
            return "too few"
        if self.is_share:
            bound = PREVALENCE_P if self.name == PREVALENCE else ALARM_P
            return "stable" if self.p_value >= WATCH_P else _beyond(self.p_value, bound)
        if self.psi < WATCH or self.psi <= self.by_chance:
            return "stable"
        return "watch" if self.psi <= SHIFTED else "shifted"

    @property
    def is_alarm(self) -> bool:
        """Whether it has shifted by more than a year of daily checks would show by chance."""
        return self.status == "shifted" and (self.is_share or self.p_value < ALARM_P)


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
    known = reference_distribution.of_card(args.card)
    card = json.loads(args.card.read_text(encoding="utf-8"))
    recent = recent_predictions.read(args.statistics, card.get("sha256"))
    shares = reference_shares.of_reference(card["reference"], str(args.card))
    found = compare(known, recent.rows, shares)
    print(recent.summary)
    print(table(found))
    shifted = any(one.status == "shifted" for one in found)
    return DRIFTED if args.strict and shifted else 0


def compare(
    known: Mapping[str, Reference],
    rows: Iterable[Mapping[str, float]],
    shares: Sequence[Known] = (),
) -> list[Drift]:
    """Every number and share that both sides have: alarms first, then the most shifted."""
    return compare_columns(known, reference_distribution.columns(rows), shares)


def compare_columns(
    known: Mapping[str, Reference], columns: Mapping[str, Floats], shares: Sequence[Known] = ()
) -> list[Drift]:
    """The same of each number's values (n,)."""
    drifts = [
        Drift(
            name,
            len(values),
            psi(known[name], values),
            psi_by_chance(known[name], len(values)),
            *ks(known[name], values),
            expected=float(known[name].quantiles[len(known[name].quantiles) // 2]),
            recent=float(np.median(values)),
            reference_n=known[name].n,
        )
        for name, values in columns.items()
        if name in known and len(values)
    ]
    drifts += [
        _of_share(share, columns[share.of])
        for share in shares
        if len(columns.get(share.of, ())) > 1
    ]
    return sorted(drifts, key=lambda one: (not one.is_alarm, -one.psi))


def _of_share(known: Known, values: Floats) -> Drift:
    recent = known.of_values(values)
    return Drift(
        known.name,
        len(values),
        reference_shares.psi(known.share, recent),
        reference_shares.psi_by_chance(known, len(values)),
        abs(recent - known.share),
        known.p_value(values),
        expected=known.share,
        recent=recent,
        reference_n=known.n,
        is_share=True,
    )


def _beyond(p_value: float, bound: float) -> str:
    return "shifted" if p_value < bound else "watch"


def table(found: list[Drift]) -> str:
    """The comparison as a table for people."""
    lines = [f"{'number':18}{'n':>7}{'PSI':>9}{'by chance':>11}{'KS':>8}{'p':>10}  "]
    for one in found:
        lines.append(
            f"{one.name:18}{one.n:>7}{one.psi:>9.3f}{one.by_chance:>11.3f}{one.ks:>8.3f}"
            f"{one.p_value:>10.2g}  {one.status}{', alarm' if one.is_alarm else ''}"
        )
    counts = {status: sum(one.status == status for one in found) for status in ("watch", "shifted")}
    if not found:
        return "nothing to compare: no prediction has a number of the card's reference"
    if max(one.n for one in found) < LEAST:
        lines.append(f"fewer than {LEAST} predictions: not enough to compare")
    else:
        lines.append(
            f"{counts['shifted']} shifted, {counts['watch']} to watch, of {len(found)} numbers "
            f"(PSI below {WATCH:g} stable, to {SHIFTED:g} watch, above shifted; shares by p)"
        )
    return "\n".join(lines)
