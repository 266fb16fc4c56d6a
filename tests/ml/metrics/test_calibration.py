"""Temperature, thresholds and cross-fitting, on tables with a known answer."""

from dataclasses import replace

import numpy as np
import pytest

from ml.metrics import calibration, measures
from ml.metrics.calibration import GRID, Calibration, HeldOutPredictions, Thresholds


def pictures(count: int, seed: int = 0, separation: float = 2.0) -> HeldOutPredictions:
    """Pictures of 100 x 100, two per patient, a quarter positive.

    Outlines are right where they overlap; those at a threshold of 0.4 have the best size.
    """
    rng = np.random.default_rng(seed)
    positive = rng.random(count) < 0.25
    truth = np.where(positive, rng.integers(200, 900, count), 0)
    ratio = 1 + 2 * (0.4 - GRID)  # outline's size against the truth's
    found = np.where(positive, truth, rng.integers(1, 60, count))[:, None] * ratio
    hits = np.minimum(found, truth[:, None]) * 0.9
    return HeldOutPredictions(
        patients=np.array([f"patient {number // 2}" for number in range(count)]),
        image_logits=rng.normal(np.where(positive, separation, -separation), 2.0),
        pixels=np.full(count, 10_000),
        truth=truth,
        hits=hits.astype(np.int64),
        found=found.astype(np.int64),
        area_px=found.astype(np.int64),
        size=100,
    )


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.0), (2.5, -1.0), (0.5, 0.7)])
def test_the_fit_finds_the_temperature_and_bias_that_made_the_labels(
    temperature: float, bias: float
) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 40_000)
    truth = Calibration(temperature, bias).probability(logits)
    found = calibration.fit(logits, rng.random(40_000) < truth)
    assert found.temperature == pytest.approx(temperature, rel=0.06)
    assert found.bias == pytest.approx(bias, abs=0.06)


def test_separated_classes_give_a_finite_calibration() -> None:
    found = calibration.fit(np.array([-5.0, -4.0, 4.0, 5.0]), np.array([False, False, True, True]))
    assert np.isfinite([found.temperature, found.bias]).all()
    assert 0 < found.temperature < 2


def test_the_mask_threshold_is_that_of_the_best_dice() -> None:
    held_out = pictures(200)
    assert calibration.choose(held_out, Calibration()).mask == pytest.approx(0.4)


def test_operating_points_keep_their_order_and_their_promise() -> None:
    held_out = pictures(2000)
    chosen = calibration.choose(held_out, Calibration())
    probability = Calibration().probability(held_out.image_logits)
    assert 0 < chosen.high_sensitivity <= chosen.balanced <= chosen.high_precision < 1
    positive = held_out.positive
    assert (probability[positive] >= chosen.high_sensitivity).mean() >= 0.95
    assert (probability[~positive] < chosen.high_precision).mean() >= 0.97


def test_what_is_chosen_for_kaggle_is_the_best_there_is_for_it() -> None:
    held_out, as_it_is = pictures(400, separation=0.7), Calibration()
    dice = [
        measures.kaggle_dice(calibration.results(held_out, as_it_is, chosen(held_out, as_it_is)))
        for chosen in (calibration.choose, calibration.choose_for_kaggle)
    ]
    assert dice[1] > dice[0]
    assert dice[1] >= (held_out.truth == 0).mean()  # no worse than without any outline


def test_the_area_floor_drops_outlines_that_only_negatives_have() -> None:
    """Every picture is called positive, so that only the size can tell."""
    held_out = replace(pictures(400), image_logits=np.full(400, 5.0))
    chosen = calibration.choose(held_out, Calibration())
    shown = calibration.results(held_out, Calibration(), chosen)
    assert chosen.area_px_min > 10
    assert measures.image_specificity(shown) > 0.3
    assert measures.positive_dice(shown) > 0.8


def test_what_is_not_called_is_not_outlined_unless_asked_for() -> None:
    held_out = pictures(100)
    strict = Thresholds(mask=0.4, balanced=0.999)
    gated = calibration.results(held_out, Calibration(), strict)
    free = calibration.results(held_out, Calibration(), strict, called_only=False)
    assert (gated.predicted[~gated.called] == 0).all()
    assert (free.predicted == held_out.found[:, 7]).all()
    assert GRID[7] == pytest.approx(0.4)


def test_patients_stay_together_and_both_halves_are_used() -> None:
    first = calibration.halves(pictures(400).patients)
    assert (first[0::2] == first[1::2]).all()
    assert 0.3 < first.mean() < 0.7


def test_nothing_is_measured_with_what_was_chosen_on_it() -> None:
    """Labels that follow from nothing: choosing on them looks good, cross-fitting does not."""
    held_out = pictures(120, separation=0.0)
    flattered = calibration.results(
        held_out,
        fitted := calibration.fit(held_out.image_logits, held_out.positive),
        calibration.choose(held_out, fitted),
    )
    honest = calibration.cross_fitted(held_out)
    assert measures.kaggle_dice(honest) <= measures.kaggle_dice(flattered)
    assert (honest.truth == held_out.truth).all()
    assert len(honest) == 120
