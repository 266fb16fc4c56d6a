"""Which rule a picture meets: a table of conditions, and what holds for any facts and rules."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.models import ArrivalEnd, View
from portal.teams.rules.conditions import Conditions, Facts, Rule, end_of, rule_for

FACTS = Facts(
    ae_title="XRAY1",
    modality="DX",
    body_part="CHEST",
    view="LL",
    station="ROOM 2",
    age_years=63,
    hours=2.5,
    minute=7 * 60 + 30,
)
# Conditions, and whether FACTS fit.
TABLE: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"ae_titles": ("XRAY1", "XRAY2")}, True),
    ({"ae_titles": ("xray1",)}, True),
    ({"ae_titles": ("XRAY",)}, False),
    ({"modalities": ("CR", "DX")}, True),
    ({"modalities": ("CR",)}, False),
    ({"body_parts": ("CHEST",)}, True),
    ({"body_parts": ("ABDOMEN",)}, False),
    ({"views": ("LL", "RL")}, True),
    ({"views": ("PA",)}, False),
    ({"stations": ("room 2",)}, True),
    ({"stations": ("ROOM 20",)}, False),
    ({"age_from": 63}, True),
    ({"age_from": 64}, False),
    ({"age_below": 64}, True),
    ({"age_below": 63}, False),
    ({"age_from": 18, "age_below": 65}, True),
    ({"hours_from": 2}, True),
    ({"hours_from": 3}, False),
    ({"hours_below": 3}, True),
    ({"hours_below": 2}, False),
    ({"time_from": 7 * 60, "time_until": 8 * 60}, True),
    ({"time_from": 7 * 60 + 30, "time_until": 8 * 60}, True),
    ({"time_from": 7 * 60, "time_until": 7 * 60 + 30}, False),
    ({"time_from": 20 * 60, "time_until": 8 * 60}, True),
    ({"time_from": 20 * 60, "time_until": 6 * 60}, False),
    ({"modalities": ("DX",), "views": ("PA",)}, False),
    ({"modalities": ("DX",), "views": ("LL",)}, True),
]


@pytest.mark.parametrize(("conditions", "fits"), TABLE)
def test_conditions_fit_where_all_that_are_set_do(conditions: dict[str, Any], fits: bool) -> None:
    assert Conditions(**conditions).fit(FACTS) is fits


@pytest.mark.parametrize(
    "conditions",
    [{"age_from": 0}, {"age_below": 150}, {"hours_from": 0}, {"hours_below": 1_000_000}],
)
def test_what_is_not_stated_fits_no_condition_about_it(conditions: dict[str, int]) -> None:
    assert not Conditions(**conditions).fit(Facts())


def test_the_first_rule_that_is_on_and_fits_decides_and_without_one_it_is_analysed() -> None:
    lateral = Rule("Lateral", ArrivalEnd.KEEP, "no model", Conditions(views=("LL",)))
    old = Rule("Old", ArrivalEnd.OFF_PEAK, conditions=Conditions(hours_from=24))
    rest = Rule("Others", ArrivalEnd.KEEP, "all")
    assert rule_for(FACTS, [old, lateral, rest]) is lateral
    assert rule_for(FACTS, [old, replace(lateral, is_on=False), rest]) is rest
    assert rule_for(FACTS, [old]) is None
    assert end_of(rule_for(FACTS, [old])) is ArrivalEnd.ANALYSE


WORDS = st.sampled_from(["", "A", "b", "CHEST", "Room 2"])
SOME = st.lists(WORDS, max_size=3, unique=True).map(tuple)
NUMBERS = st.none() | st.integers(0, 150)
MINUTES = st.integers(0, 1439)


@st.composite
def conditions(draw: st.DrawFn) -> Conditions:
    start = draw(st.none() | MINUTES)
    end = None if start is None else draw(MINUTES.filter(lambda minute: minute != start))
    views = st.lists(st.sampled_from([view.value for view in View]), max_size=3).map(tuple)
    return Conditions(
        *(draw(SOME), draw(SOME), draw(SOME), draw(views), draw(SOME)),
        *(draw(NUMBERS), draw(NUMBERS), draw(NUMBERS), draw(NUMBERS)),
        *(start, end),
    )


FACTS_OF_ALL_KINDS = st.builds(
    Facts,
    ae_title=WORDS,
    modality=WORDS,
    body_part=WORDS,
    view=st.sampled_from([view.value for view in View]),
    station=WORDS,
    age_years=st.none() | st.floats(0, 150),
    hours=st.none() | st.floats(0, 1000),
    minute=MINUTES,
)
RULES = st.lists(
    st.builds(
        Rule,
        name=WORDS,
        end=st.sampled_from(ArrivalEnd),
        conditions=conditions(),
        is_on=st.booleans(),
    ),
    max_size=6,
)


@given(FACTS_OF_ALL_KINDS, conditions())
def test_facts_and_conditions_are_the_same_after_they_were_stored(
    facts: Facts, stated: Conditions
) -> None:
    assert Facts.of(facts.as_json()) == facts
    assert Conditions.of(stated.as_json()) == stated


@given(FACTS_OF_ALL_KINDS, RULES, RULES)
def test_what_stands_behind_the_rule_that_decides_changes_nothing(
    facts: Facts, rules: list[Rule], behind: list[Rule]
) -> None:
    found = rule_for(facts, rules)
    assert found is None or (found.is_on and found.conditions.fit(facts))
    if found is not None:
        assert rule_for(facts, [*rules, *behind]) is found
    else:
        assert rule_for(facts, [*rules, *behind]) is rule_for(facts, behind)


@given(FACTS_OF_ALL_KINDS, conditions())
def test_a_further_condition_makes_no_rule_wider(facts: Facts, stated: Conditions) -> None:
    wider = replace(stated, ae_titles=(), age_from=None, time_from=None, time_until=None)
    assert wider.fit(facts) or not stated.fit(facts)


@given(MINUTES, MINUTES, MINUTES)
def test_each_minute_lies_in_a_part_of_the_day_or_in_the_rest_of_it(
    start: int, end: int, minute: int
) -> None:
    if start == end:
        return
    facts = Facts(minute=minute)
    within = Conditions(time_from=start, time_until=end).fit(facts)
    assert within is not Conditions(time_from=end, time_until=start).fit(facts)


def test_a_condition_that_this_version_does_not_know_is_an_error_and_not_left_out() -> None:
    with pytest.raises(TypeError):
        Conditions.of({"ward": ["A"]})
