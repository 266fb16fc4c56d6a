"""A part of the real films of docs/quality-gate.md, by the command's own functions.

The bounds follow from the page and from chance alone. Real films are some of those that it counts:
of all of them it gives how many are refused. Halves are made of other films than there: the worse
end of the page's interval stands for all of them. Films are of the half of the patients by which no
rule was chosen.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

import pytest

from ml.images import reader
from ml.inference import serving
from ml.preprocessing import transforms
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "quality-gate.md"
FILMS = 40  # of each finding
SPOILT = 16  # films of which halves are made
HALVES = ("left half", "right half", "upper half", "lower half")


def cells(row: str) -> list[str]:
    """The cells of the page's row that begins so, without the first."""
    (line,) = re.findall(rf"^\| {re.escape(row)} \|.*$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def counted(row: str) -> tuple[int, int]:
    """How many films of a row are refused now, and of how many."""
    count, _, now = cells(row)
    return int(now.partition(":")[0]), int(count)


def least_refused(row: str) -> float:
    """The lower end of the interval of a row's refused share."""
    share = cells(row)[2]
    return float(re.findall(r"\(([\d.]+) to [\d.]+\)", share)[0]) / 100


def at_most(count: int, chance: Callable[[int], float]) -> int:
    """The smallest number that is exceeded in fewer than 2.5 % of samples of so many.

    `chance`: of just so many in a sample.
    """
    total = 0.0
    for hits in range(count + 1):
        total += chance(hits)
        if total >= 0.975:
            return hits
    return count


def of_some(count: int, hits: int, every: int) -> int:
    """`at_most` for a sample of `every` films, `hits` of which are so (hypergeometric)."""
    return at_most(
        count, lambda k: comb(hits, k) * comb(every - hits, count - k) / comb(every, count)
    )


def of_many(count: int, share: float) -> int:
    """`at_most` where this share of all is so (binomial)."""
    return at_most(count, lambda k: comb(count, k) * share**k * (1 - share) ** (count - k))


def test_the_bounds_follow_from_the_page() -> None:
    assert counted("with a pneumothorax") == (1, 172)
    assert counted("without") == (6, 547)
    assert least_refused("upper half of a film") == pytest.approx(0.709)
    assert of_many(10, 0.5) == 8  # 9 or 10 of 10 coins: 11 of 1024
    assert of_some(40, 1, 172) == 1
    assert of_some(40, 0, 172) == 0


@pytest.fixture(scope="module")
def command() -> Any:
    """`benchmarks/ml/gate.py`."""
    sys.path.insert(0, str(ROOT / "benchmarks" / "ml"))
    try:
        import gate as command
    finally:
        sys.path.pop(0)
    return command


@pytest.fixture(scope="module")
def films(command: Any, xrays: Path) -> list[Any]:
    """The reporting half of SIIM-ACR, in the command's order."""
    return [
        film for film in command.real.films(xrays) if film.half == 1 and film.source == "SIIM-ACR"
    ]


@pytest.fixture(scope="module")
def opened() -> serving.Serving:
    return serving.open(device="cpu")


@pytest.mark.parametrize(
    ("finding", "row"),
    [("pneumothorax", "with a pneumothorax"), ("no pneumothorax", "without")],
)
def test_films_of_adults_are_refused_no_more_often_than_the_page_states(
    command: Any, films: list[Any], opened: serving.Serving, finding: str, row: str
) -> None:
    chosen = [film for film in films if film.finding == finding][:FILMS]
    found = command._measure_films(opened, chosen)["real"][f"all, {finding}"]
    assert found["n"] >= 0.8 * FILMS  # under-18s count apart
    assert found["refused"] <= of_some(found["n"], *counted(row)), found


def test_halves_of_films_pass_no_more_often_than_the_page_states(
    command: Any, films: list[Any], opened: serving.Serving
) -> None:
    passed: Counter[str] = Counter()
    for number, film in enumerate(films[:SPOILT]):
        chest = transforms.canonical(reader.read(film.file.read_bytes()).pixels, 900)
        spoilt = command.made.of_chest(chest)
        for name in HALVES:
            data = command._file(spoilt[name], number)
            passed[name] += command._verdict(opened, data) == "passed"
    for name in HALVES:
        most = of_many(SPOILT, 1 - least_refused(f"{name} of a film"))
        assert passed[name] <= most, (passed, most)
