"""worker.contract.outline_runs: a mask has one form alone, and anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract import outline_runs
from worker.contract.outline_runs import BYTES_MAX, BadRuns, Run

ROWS, COLUMNS = 5, 7


def runs_of(mask: list[bool]) -> list[Run]:
    ends = [
        i for i in range(len(mask) + 1) if (i > 0 and mask[i - 1]) != (i < len(mask) and mask[i])
    ]
    return list(zip(ends[::2], ends[1::2], strict=True))


masks = st.lists(st.booleans(), min_size=ROWS * COLUMNS, max_size=ROWS * COLUMNS)


@given(masks)
def test_every_mask_comes_back(mask: list[bool]) -> None:
    runs = runs_of(mask)
    data = outline_runs.encode(runs, ROWS, COLUMNS)
    assert outline_runs.decode(data, ROWS, COLUMNS) == runs
    assert outline_runs.pixels(runs) == sum(mask)


@given(st.binary(max_size=60))
def test_bytes_are_one_masks_or_refused(data: bytes) -> None:
    try:
        runs = outline_runs.decode(data, ROWS, COLUMNS)
    except BadRuns:
        return
    assert outline_runs.encode(runs, ROWS, COLUMNS) == data


@given(masks, masks)
def test_dice_is_that_of_the_pixels(one: list[bool], other: list[bool]) -> None:
    both = sum(one) + sum(other)
    shared = sum(a and b for a, b in zip(one, other, strict=True))
    found = outline_runs.dice(runs_of(one), runs_of(other))
    assert found == (2 * shared / both if both else 1.0)


def test_a_picture_of_a_hundred_megapixels_takes_its_numbers() -> None:
    whole = outline_runs.encode([(5, 10_000 * 10_000)], 10_000, 10_000)
    assert outline_runs.decode(whole, 10_000, 10_000) == [(5, 100_000_000)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes(BYTES_MAX + 1), "too_large"),
        (b"", "wrong_size"),
        (b"\x22", "wrong_size"),
        (b"\x24", "wrong_size"),
        (b"\x03\x00\x20", "broken"),
        (b"\xa3\x00", "broken"),
        (b"\xa3", "broken"),
        (b"\xff" * 6, "broken"),
    ],
)
def test_the_reason_is_named(data: bytes, code: str) -> None:
    with pytest.raises(BadRuns) as refused:
        outline_runs.decode(data, ROWS, COLUMNS)
    assert refused.value.code == code
