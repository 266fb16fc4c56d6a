"""Wilson's interval, against published values."""

import pytest

from portal.performance.intervals import LEAST, Share, wilson

# Newcombe, Two-sided confidence intervals for the single proportion, Stat Med 17 (1998) 857-872,
# table I, method 3.
PUBLISHED = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("count", "of", "low", "high"), PUBLISHED)
def test_the_interval_is_the_published_one(count: int, of: int, low: float, high: float) -> None:
    assert wilson(count, of) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("of", [1, 9, 10, 1000, 10**7])
def test_an_interval_holds_its_share_and_stays_within_none_and_all(of: int) -> None:
    for count in {0, 1, of // 2, of - 1, of}:
        low, high = wilson(count, of)
        assert 0 <= low <= count / of <= high <= 1
        assert (low == 0) is (count == 0)
        assert (high == 1) is (count == of)


@pytest.mark.parametrize(("count", "of"), [(0, 0), (2, 1), (-1, 5)])
def test_what_is_no_share_is_refused(count: int, of: int) -> None:
    with pytest.raises(ValueError, match="share"):
        wilson(count, of)


def test_a_share_of_nothing_has_no_value_and_small_ones_are_marked() -> None:
    empty = Share(0, 0)
    assert (empty.value, empty.low, empty.high, empty.is_small) == (None, None, None, True)
    assert Share(3, LEAST - 1).is_small
    assert not Share(3, LEAST).is_small
