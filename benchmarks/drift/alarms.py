"""Whether drift raises an alarm when pictures or patients change, and none when they don't.

    python -m benchmarks.drift.alarms FOLDER [--years 20] [--windows 100] [--card FILE]

FOLDER: what `benchmarks.drift.predictions` has written for pictures that the model was not
trained on. They stand for all pictures of their hospital. For each named shift, windows of
`drift.ALARM_WINDOW` pictures are drawn with replacement and judged as the daily check does; for
the false alarms, years of 100 pictures a day. With `--card` against the card's reference, which is
that of these pictures; without, a reference of as many patients is drawn anew for each window and
year, so that what chance has made of the reference itself counts as well.
No threshold is fitted to pictures.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ml.metrics import drift, recent_predictions, reference_distribution, reference_shares
from ml.metrics.reference_distribution import Reference
from ml.metrics.reference_shares import VIEW, Known

Numbers = dict[str, float]
DAY, YEAR = 100, 365


@dataclass(frozen=True)
class Shown:
    """One picture: its numbers, its patient, and whether it shows a pneumothorax."""

    numbers: Numbers
    patient: str
    positive: bool


@dataclass(frozen=True)
class Card:
    """A reference: distributions and shares."""

    known: dict[str, Reference]
    shares: list[Known]

    @classmethod
    def of(cls, stored: dict[str, Any], what: str) -> Card:
        """From a card's `reference`."""
        return cls(
            reference_distribution.of_reference(stored, what),
            reference_shares.of_reference(stored, what),
        )

    def alarms(self, rows: Sequence[Shown]) -> list[str]:
        """The numbers with an alarm."""
        found = drift.compare(self.known, [row.numbers for row in rows], self.shares)
        return [one.name for one in found if one.is_alarm]


def read(path: Path) -> list[Shown]:
    """The pictures of one file, in its order."""
    rows = recent_predictions.read(path).rows
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Shown(numbers, line["patient"], line["positive"])
        for numbers, line in zip(rows, lines, strict=True)
    ]


def reference(pictures: Sequence[Shown], rng: random.Random, threshold: float) -> Card:
    """A reference of as many patients, drawn with replacement."""
    by_patient = defaultdict[str, list[Shown]](list)
    for one in pictures:
        by_patient[one.patient].append(one)
    patients = sorted(by_patient)
    drawn = [one for p in rng.choices(patients, k=len(patients)) for one in by_patient[p]]
    rows = [one.numbers for one in drawn]
    stored = reference_distribution.facts(
        {name: value for name, value in row.items() if name != VIEW} for row in rows
    )
    return Card.of(stored | {"shares": reference_shares.facts(rows, threshold)}, "the reference")


def more_of(
    pictures: Sequence[Shown], has: Callable[[Shown], bool], share: float
) -> Callable[[random.Random], Shown]:
    """Draws pictures of which this share has something."""
    having = [one for one in pictures if has(one)]
    others = [one for one in pictures if not has(one)]
    return lambda rng: rng.choice(having if rng.random() < share else others)


def is_ap(one: Shown) -> bool:
    """Whether its view is AP."""
    return one.numbers.get(VIEW) == 1.0


def shifts_of(
    plain: Sequence[Shown], gamma: Sequence[Shown], detector: Sequence[Shown]
) -> dict[str, Callable[[random.Random], Shown]]:
    """The named shifts, each as a way to draw pictures."""
    ap = sum(map(is_ap, plain)) / len(plain)
    prevalence = sum(one.positive for one in plain) / len(plain)
    return {
        "gamma 1.3": lambda rng: rng.choice(gamma),
        "another detector's histogram": lambda rng: rng.choice(detector),
        "AP 30 points more": more_of(plain, is_ap, ap + 0.3),
        "AP 30 points less": more_of(plain, is_ap, ap - 0.3),
        "AP 1.3 times as often": more_of(plain, is_ap, ap * 1.3),
        "prevalence twice as high": more_of(plain, lambda one: one.positive, 2 * prevalence),
        "no change": lambda rng: rng.choice(plain),
    }


def year(card: Card, plain: Sequence[Shown], rng: random.Random) -> tuple[int, Counter[str]]:
    """False alarms of a year, days in a row counted once, and which numbers raised them."""
    window = deque[Shown](maxlen=drift.ALARM_WINDOW)
    count, names, before = 0, Counter[str](), False
    for _ in range(YEAR):
        window.extend(rng.choices(plain, k=DAY))
        found = card.alarms(window) if len(window) == drift.ALARM_WINDOW else []
        if found and not before:
            count += 1
            names.update(found)
        before = bool(found)
    return count, names


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--years", type=int, default=20)
    parser.add_argument("--windows", type=int, default=100)
    parser.add_argument("--threshold", type=float, default=0.208, help="the balanced one")
    parser.add_argument("--card", type=Path)
    chosen = parser.parse_args()
    rng = random.Random(3)
    plain, gamma, detector = (
        read(chosen.folder / f"{name}.jsonl") for name in ("plain", "gamma", "detector")
    )
    fixed = None
    if chosen.card is not None:
        stored = json.loads(chosen.card.read_text(encoding="utf-8"))["reference"]
        fixed = Card.of(stored, str(chosen.card))

    def drawn() -> Card:
        return fixed or reference(plain, rng, chosen.threshold)

    shown: dict[str, Any] = {}
    for name, draw in tqdm(shifts_of(plain, gamma, detector).items(), disable=None):
        raised = [
            drawn().alarms([draw(rng) for _ in range(drift.ALARM_WINDOW)])
            for _ in range(chosen.windows)
        ]
        most = Counter(number for found in raised for number in found).most_common(4)
        shown[name] = {"alarms": sum(map(bool, raised)), "by": dict(most)}
    years = [year(drawn(), plain, rng) for _ in tqdm(range(chosen.years), disable=None)]
    counts = [count for count, _ in years]
    result = {
        "pictures": len(plain),
        "reference": "the card's" if fixed else "drawn anew by patients",
        "share of AP": round(sum(map(is_ap, plain)) / len(plain), 3),
        "prevalence": round(sum(one.positive for one in plain) / len(plain), 3),
        f"windows of {chosen.windows} with an alarm": shown,
        "false alarms in each year (days in a row are one)": counts,
        "false alarms a year": round(sum(counts) / max(len(counts), 1), 2),
        "years with one at most": sum(count <= 1 for count in counts),
        "by": dict(sum((names for _, names in years), Counter())),
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
