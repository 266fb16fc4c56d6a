"""When a refusal is to be written, and with how many."""

import pytest

from portal.listeners import refusals
from portal.listeners.refusals import Refused


def test_of_one_reason_and_address_one_row_a_minute_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 100.0
    monkeypatch.setattr(refusals.time, "monotonic", lambda: moment)
    refused = Refused()
    assert [refused.due("a", "1") for _ in range(5)] == [1, 0, 0, 0, 0]
    assert (refused.due("b", "1"), refused.due("a", "2")) == (1, 1)
    moment += 61
    assert refused.due("a", "1") == 5
    assert refused.counted == {"a": 7, "b": 1}


def test_what_is_counted_is_bounded() -> None:
    refused = Refused()
    for number in range(5000):
        assert refused.due("a", str(number)) == 1
    assert len(refused._written) <= 1000
