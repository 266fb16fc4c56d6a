"""Each fault of the campaign once: the rest is `make campaign NAME=outline-faults`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.campaigns.outline_faults import FAULTS, Ward, round_of, ward

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def place(browser: Browser) -> Iterator[Ward]:
    with ward(browser) as opened:
        yield opened


@pytest.mark.sampled(2)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_loses_no_stroke(place: Ward, fault: str) -> None:
    drawn, lost, overwritten = round_of(place, fault, seed=17 + list(FAULTS).index(fault))
    assert drawn > 3
    assert (lost, overwritten) == (0, 0)
