"""Estimates from exams that were drawn with known probabilities, checked by simulation.

A department of known truth is read many times over: the mean of the estimates is what all of its
exams would have given, and the intervals hold it as often as they state.
"""

import random
from collections import defaultdict

import pytest

from portal.models import Stratum as Name
from portal.performance import weighted
from portal.performance.intervals import wilson
from portal.performance.weighted import Cell, Stratum
from portal.studies.second_reads import sampling

# Of each stratum: its share of all exams, and the share with a pneumothorax in it.
POPULATION = {
    Name.LIKELY: (0.04, 0.8),
    Name.POSSIBLE: (0.05, 0.3),
    Name.NONE_FOUND: (0.86, 0.01),
    Name.NO_RESULT: (0.05, 0.05),
}
TRUTH = (0.04 * 0.8 + 0.05 * 0.3) / (0.04 * 0.8 + 0.05 * 0.3 + 0.86 * 0.01)
# What two readers see where there is a pneumothorax on the right, and where there is none.
SEEN = {
    True: (("right", 0.9), ("left", 0.02), ("none", 0.08)),
    False: (("none", 0.97), ("right", 0.03)),
}
ALARMS = (Name.LIKELY, Name.POSSIBLE)


def department(numbers: random.Random, exams: int, percent: float) -> tuple[object, ...]:
    """Sums over the exams that were drawn of a department's exams, and over all of them."""
    counts = {name: round(1000 * share) for name, (share, _) in POPULATION.items()}
    chance = sampling.probabilities(percent, counts)
    drawn: dict[Name, list[Cell]] = {name: [Cell(), Cell()] for name in POPULATION}
    pairs: dict[tuple[str, str], Cell] = defaultdict(Cell)
    everybody: dict[tuple[str, str], Cell] = defaultdict(Cell)
    names, shares = list(POPULATION), [share for share, _ in POPULATION.values()]
    for name in numbers.choices(names, shares, k=exams):
        is_positive = numbers.random() < POPULATION[name][1]
        findings, odds = zip(*SEEN[is_positive], strict=True)
        pair = tuple(numbers.choices(findings, odds, k=2))
        everybody[pair] += Cell(1, 1.0, 1.0)  # type: ignore[index]
        if not sampling.is_drawn(chance[name], numbers.randrange):
            continue
        one = Cell(1, 1 / chance[name], 1 / chance[name] ** 2)
        pairs[pair] += one  # type: ignore[index]
        drawn[name][0] += one
        if is_positive:
            drawn[name][1] += one
    strata = {name: Stratum(*cells) for name, cells in drawn.items()}
    return strata, pairs, everybody


@pytest.mark.parametrize(("exams", "percent", "rounds"), [(4000, 5, 300), (20_000, 10, 60)])
def test_the_estimates_are_unbiased_and_their_intervals_hold(
    exams: int, percent: float, rounds: int
) -> None:
    numbers = random.Random(1952)
    values, held, agreement, all_read = [], 0, [], []
    for _ in range(rounds):
        strata, pairs, everybody = department(numbers, exams, percent)
        found = weighted.sensitivity(
            [strata[name] for name in ALARMS],
            [strata[Name.NONE_FOUND]],  # type: ignore[index]
        )
        assert found.value is not None
        assert found.low is not None
        assert found.high is not None
        values.append(found.value)
        held += found.low <= TRUTH <= found.high
        both = weighted.kappa(pairs)  # type: ignore[arg-type]
        assert both.value is not None
        agreement.append(both)
        all_read.append(weighted.kappa(everybody).value)  # type: ignore[arg-type]
    truth = sum(all_read) / rounds  # type: ignore[arg-type]
    agreed = sum(one.low <= truth <= one.high for one in agreement)  # type: ignore[operator]
    mean = sum(values) / rounds
    print(f"sensitivity {TRUTH:.3f}: mean {mean:.3f}, held {held / rounds:.3f}")
    mean_kappa = sum(one.value for one in agreement) / rounds  # type: ignore[misc]
    print(f"kappa {truth:.3f}: mean {mean_kappa:.3f}, held {agreed / rounds:.3f}")
    # Three standard errors, and the bias that a ratio of two estimates has, about its variance.
    variance = sum((one - mean) ** 2 for one in values) / rounds
    assert abs(mean - TRUTH) < 3 * (variance / rounds) ** 0.5 + variance
    assert held / rounds >= 0.9
    assert abs(mean_kappa - truth) < 0.02
    assert agreed / rounds >= 0.88


def test_without_the_weights_the_estimate_would_be_far_off() -> None:
    """So the simulation can tell."""
    numbers = random.Random(7)
    strata, _, _ = department(numbers, 60_000, 10)
    cells = {name: strata[name].positive.count for name in POPULATION}  # type: ignore[index]
    found = sum(cells[name] for name in ALARMS)
    assert found / (found + cells[Name.NONE_FOUND]) > TRUTH + 0.05


def test_where_all_are_read_twice_it_is_the_plain_share_with_an_interval_like_wilson_s() -> None:
    def plain(of: int, positive: int) -> Stratum:
        return Stratum(
            Cell(of, float(of), float(of)), Cell(positive, float(positive), float(positive))
        )

    found = weighted.sensitivity([plain(100, 90)], [plain(2000, 30)])
    assert found.value == pytest.approx(90 / 120)
    low, high = wilson(90, 120)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_where_nothing_missed_was_drawn_the_interval_stays_wide() -> None:
    """Sixty exams without a finding do not show that nothing is missed in a thousand."""
    alarms = Stratum(Cell(40, 80.0, 160.0), Cell(40, 80.0, 160.0))
    others = Stratum(Cell(60, 1000.0, 1000.0**2 / 60), Cell())
    found = weighted.sensitivity([alarms], [others])
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low is not None
    assert found.low < 0.65


def test_without_exams_there_is_no_number() -> None:
    assert weighted.sensitivity([], []).value is None
    assert weighted.sensitivity([Stratum(Cell(9, 9.0, 9.0), Cell())], []).value is None
    assert weighted.kappa({}).value is None
    assert weighted.kappa({("none", "none"): Cell(9, 9.0, 9.0)}).value is None


def test_kappa_is_cohen_s_where_all_count_alike() -> None:
    """The example of Cohen (1960) in two categories: 20, 5, 10, 15."""
    table = {("a", "a"): 20, ("a", "b"): 5, ("b", "a"): 10, ("b", "b"): 15}
    found = weighted.kappa({k: Cell(n, float(n), float(n)) for k, n in table.items()})
    assert found.value == pytest.approx(0.4)
    assert found.low == pytest.approx(0.4 - 1.96 * 0.1258, abs=0.01)


def test_readers_who_never_differ_may_still_do_so() -> None:
    found = weighted.kappa({("a", "a"): Cell(10, 10.0, 10.0), ("b", "b"): Cell(10, 10.0, 10.0)})
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1 - (1 - wilson(20, 20)[0]) / 0.5)
