"""Intervals by bootstrap draws of patients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ml.metrics import bootstrap
from tests.support.ml.random_results import random_results


def test_intervals_hold_the_value_and_shrink_with_more_patients():
    widths = []
    for count in (60, 960):
        found = bootstrap.summary(random_results(count, 3), np.arange(count), replicates=200)
        for measure in found.values():
            if not math.isnan(measure.value):
                assert measure.low <= measure.value <= measure.high
        widths.append(found["positive_dice"].high - found["positive_dice"].low)
    assert widths[1] < widths[0] / 2


def test_pictures_of_one_patient_do_not_count_as_many():
    once = random_results(80, 5)
    repeated = once.take(np.tile(np.arange(80), 9))
    clustered = bootstrap.summary(repeated, np.tile(np.arange(80), 9), replicates=200)
    naive = bootstrap.summary(repeated, np.arange(720), replicates=200)
    alone = bootstrap.summary(once, np.arange(80), replicates=200)
    width = {
        name: found["kaggle_dice"].high - found["kaggle_dice"].low
        for name, found in (("clustered", clustered), ("naive", naive), ("alone", alone))
    }
    assert width["clustered"] == pytest.approx(width["alone"], rel=0.25)
    assert width["naive"] < width["alone"] / 2
