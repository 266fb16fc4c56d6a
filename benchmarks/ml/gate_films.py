"""Real films for `gate.py`: which there are, whose, and how many of each group are refused."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.runtime.lung_finder import Finder, LungFields

PNEUMOTHORAX = {"1": "pneumothorax", "0": "no pneumothorax"}
Z_95 = 1.959964


@dataclass(frozen=True)
class Film:
    """A frontal film and what is known of it without its pixels."""

    file: Path
    half: int  # of the patients: 0 to fit and choose on, 1 to report
    source: str
    finding: str
    view: str


@dataclass
class Group:
    """Films of one kind: how many of them were refused, and why."""

    count: int = 0
    codes: Counter[str] = field(default_factory=Counter)

    def row(self) -> dict[str, Any]:
        """Ready for JSON, with the 95 % interval of the share."""
        refused = self.codes.total()
        low, high = wilson(refused, self.count)
        share = refused / self.count if self.count else 0.0
        return {
            "n": self.count,
            "refused": refused,
            "share": round(share, 5),
            "interval": [round(low, 5), round(high, 5)],
            "codes": dict(self.codes.most_common()),
        }


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927); 0 to 1 where there is nothing."""
    if count == 0:
        return 0.0, 1.0
    share, z2 = hits / count, Z_95**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    reach = Z_95 * sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def films(data: Path) -> list[Film]:
    """Every film of the tables in siim/ and extra/ whose file is there.

    Sorted by a hash of its name, so that the first ones of a kind are a sample that stays the same
    when films are added elsewhere.
    """
    found = []
    for folder in ("siim", "extra"):
        with (data / folder / "index.csv").open(encoding="utf-8") as table:
            for row in csv.DictReader(table):
                file = data / folder / (row.get("file") or f"jpeg/{row['id']}.jpg")
                if not file.is_file():
                    continue
                name = row.get("id", "")
                source = (
                    "SIIM-ACR"
                    if folder == "siim" or name.startswith("siim_")
                    else "NIH, others"
                    if name.startswith("nih_")
                    else "other hospitals"
                )
                half = hashlib.sha256(row["patient"].encode()).digest()[0] % 2
                finding = PNEUMOTHORAX.get(row["pneumothorax"], "unknown")
                found.append(Film(file, half, source, finding, row["view"] or "view unknown"))
    return sorted(found, key=lambda film: hashlib.sha256(film.file.name.encode()).digest())


def at_most(every: list[Film], others: int) -> list[Film]:
    """All films of SIIM-ACR, and the first ones of each other source and finding."""
    kinds: Counter[tuple[str, str]] = Counter()
    chosen = []
    for film in every:
        kinds[film.source, film.finding] += 1
        if film.source == "SIIM-ACR" or kinds[film.source, film.finding] <= others:
            chosen.append(film)
    return chosen


def groups_of(film: Film) -> Iterator[str]:
    """The rows of the table that a film counts in."""
    yield f"all, {film.finding}"
    if film.source != "other hospitals":
        yield f"{film.view}, {film.finding}"
    yield f"{film.source}, {film.finding}"


def tabulate(verdicts: Iterable[tuple[Film, str]]) -> dict[str, dict[str, Any]]:
    """Rows by name, of adults' films of 256 px and more; the others in rows of their own."""
    table: dict[str, Group] = {}
    for film, code in verdicts:
        apart = {"under_18": "header: under 18", "too_small": "under 256 px"}.get(code)
        for name in [apart] if apart else groups_of(film):
            group = table.setdefault(name, Group())
            group.count += 1
            if code != "passed":
                group.codes[code] += 1
    return {name: table[name].row() for name in sorted(table)}


class CachedFinder(Finder):
    """The lung finder, whose maps are stored in a folder: a second run is several times quicker.

    Maps are rounded to 16 bits, in the first run too.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder / str(self.card["sha256"])[:16]
        self._folder.mkdir(parents=True, exist_ok=True)

    def find(self, canonical: NDArray[np.uint8]) -> LungFields:
        """`Finder.find`, or what it found before."""
        key = hashlib.sha256(canonical.tobytes() + str(canonical.shape).encode()).hexdigest()
        path = self._folder / f"{key[:32]}.npz"
        if not path.is_file():
            fields = super().find(canonical)
            small = fields.probability.astype(np.float16)
            np.savez(path, mask=np.packbits(fields.mask, axis=1), probability=small)
        with np.load(path) as stored:
            mask = np.unpackbits(stored["mask"], axis=1, count=canonical.shape[1]).astype(np.bool_)
            return LungFields(mask, stored["probability"].astype(np.float32))
