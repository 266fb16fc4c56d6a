"""Groups of pictures: who is in them, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from ml.metrics import measures, subgroups
from ml.metrics.measures import Results
from ml.metrics.subgroups import Traits


@pytest.mark.parametrize(
    ("years", "group"),
    [(None, ""), (0.5, "under 18"), (17.9, "under 18"), (18, "18–39"), (39.9, "18–39"),
     (40, "40–59"), (60, "60–74"), (74.9, "60–74"), (75, "75+"), (101, "75+")],
)  # fmt: skip
def test_every_age_has_its_group(years, group):
    assert subgroups.age_group(years) == group


@pytest.mark.parametrize(
    ("text", "years"),
    [("57", 57), ("57.0", 57), ("057Y", 57), ("57y", 57), ("", None), ("old", None), ("6M", None)],
)
def test_an_age_is_read_as_tables_write_it(text, years):
    assert subgroups.years_of(text) == years


def test_an_index_goes_before_the_header():
    found = subgroups.traits({"view": "ap", "sex": "", "age": "70"}, "PA", "F", 30, "usual")
    assert found == Traits("AP", "F", "60–74", "usual")
    assert subgroups.traits({}, None, None, None, "") == Traits()


@pytest.mark.parametrize(
    ("findings", "positive", "group"),
    [("Effusion|Pneumothorax", True, "agrees"), ("Effusion|Pneumothorax", False, "differs"),
     ("No Finding", False, "agrees"), ("Emphysema", True, "differs"), ("", True, "")],
)  # fmt: skip
def test_a_report_and_an_outline_agree_or_differ(findings, positive, group):
    index = {subgroups.REPORTED: findings}
    assert subgroups.traits(index, None, None, None, "", positive).report == group


def test_what_is_unknown_or_the_same_for_all_makes_no_group():
    known = [Traits("PA", "F"), Traits("AP", "F"), Traits("", "F")]
    found = subgroups.groups(known)
    assert set(found) == {"view"}
    assert found["view"]["PA"].tolist() == [True, False, False]


def test_the_groups_numbers_are_those_of_their_pictures_alone():
    random = np.random.default_rng(0)
    count = 120
    truth = np.where(random.random(count) < 0.5, random.integers(10, 900, count), 0)
    right = random.random(count) < 0.7
    results = Results(
        hits=truth * right,
        predicted=truth * right,
        truth=truth,
        pixels=np.full(count, 4096),
        probability=random.random(count),
        called=right,
    )
    women = np.arange(count) % 3 == 0
    known = [Traits(sex="F" if one else "M") for one in women]
    patients = np.array([str(number) for number in range(count)])
    found = subgroups.report(results, patients, known, replicates=50)
    assert set(found) == {"size", "sex"}
    part = found["sex"]["F"]
    assert part["pictures"] == women.sum()
    assert part["sensitivity"]["value"] == measures.sensitivity(results.take(women))
    assert part["sensitivity"]["low"] <= part["sensitivity"]["value"] <= part["sensitivity"]["high"]
    sizes = found["size"]
    assert sum(one["positives"] for one in sizes.values()) == (truth > 0).sum()
    assert "specificity" not in sizes["small"]
