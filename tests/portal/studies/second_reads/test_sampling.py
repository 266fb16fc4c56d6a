"""How exams are drawn for a second read: the right share of them, the strata by their weights."""

import itertools
import random

import pytest

from portal.models import Stratum
from portal.studies.second_reads import sampling
from portal.studies.second_reads.sampling import WEIGHTS, probabilities
from tests.support.clinic import Clinic
from tests.support.second_reads.readers import state

MIXTURE = {
    Stratum.LIKELY: 30,
    Stratum.POSSIBLE: 40,
    Stratum.NONE_FOUND: 880,
    Stratum.NO_RESULT: 50,
}


@pytest.mark.parametrize("percent", [1, 5, 10, 25, 40, 60, 89, 90, 95, 99])
def test_the_share_of_all_exams_is_the_one_that_was_set(percent: float) -> None:
    found = probabilities(percent, MIXTURE)
    expected = sum(found[one] * MIXTURE[one] for one in MIXTURE)
    assert expected == pytest.approx(percent / 100 * sum(MIXTURE.values()))
    assert all(0 < one <= max(0.9, percent / 100) for one in found.values())


def test_what_is_rare_is_drawn_more_often() -> None:
    found = probabilities(5, MIXTURE)
    for one, other in itertools.pairwise(sorted(MIXTURE, key=lambda name: WEIGHTS[name])):
        assert found[one] / WEIGHTS[one] == pytest.approx(found[other] / WEIGHTS[other])


def test_a_stratum_without_exams_does_not_matter() -> None:
    found = probabilities(10, dict.fromkeys(Stratum, 0) | {Stratum.NONE_FOUND: 100})
    assert found[Stratum.NONE_FOUND] == pytest.approx(0.1)


def test_exams_are_drawn_as_often_as_their_probability_has_it() -> None:
    numbers = random.Random(14)
    drawn = sum(sampling.is_drawn(0.3, numbers.randrange) for _ in range(20_000))
    assert abs(drawn / 20_000 - 0.3) < 0.012
    assert not any(sampling.is_drawn(0.0) for _ in range(1000))
    assert all(sampling.is_drawn(1.0) for _ in range(1000))


def test_the_team_s_own_mixture_counts(clinic: Clinic) -> None:
    """Where many exams have a finding, one with a finding is drawn less often."""
    with clinic.session as session:
        args = session, clinic.mate.team_id, 10
        before = sampling.probability(*args, Stratum.LIKELY)
    for _ in range(5):
        state(clinic, clinic.mate, clinic.done(band="likely"), "right")
    with clinic.session as session:
        args = session, clinic.mate.team_id, 10
        assert sampling.probability(*args, Stratum.LIKELY) < before
        assert sampling.probability(session, clinic.outsider.team_id, 10, Stratum.LIKELY) == before
        assert sampling.probability(session, clinic.mate.team_id, 0, Stratum.LIKELY) == 0
        assert sampling.probability(session, clinic.mate.team_id, 100, Stratum.NO_RESULT) == 1
