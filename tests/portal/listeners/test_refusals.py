"""When a refusal is to be written, and with how many."""

import pytest

from portal.listeners import refusals
from portal.listeners.refusals import Refused


class Watch:
    """The time of the module's clock, in seconds."""

    def __init__(self) -> None:
        self.moment = 100.0

    def monotonic(self) -> float:
        return self.moment


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    found = Watch()
    monkeypatch.setattr(refusals, "time", found)
    return found


def counts(refused: Refused, reason: str, *addresses: str) -> list[int]:
    return [refused.due(reason, address).count for address in addresses]


def test_of_one_reason_and_address_one_row_a_minute_is_due(watch: Watch) -> None:
    refused = Refused()
    assert counts(refused, "a", *(["1"] * 5)) == [1, 0, 0, 0, 0]
    assert counts(refused, "b", "1") + counts(refused, "a", "2") == [1, 1]
    watch.moment += 61
    assert counts(refused, "a", "1") == [5]
    assert refused.counted == {"a": 7, "b": 1}


def test_a_network_of_ipv6_counts_as_one_address(watch: Watch) -> None:
    refused = Refused()
    some = [f"2001:db8::{number:x}" for number in range(50)]
    assert counts(refused, "a", *some, "2001:db8:0:1::1") == [1] + [0] * 49 + [1]
    assert counts(refused, "a", "10.0.0.1", "::ffff:10.0.0.1") == [1, 0]


def test_from_many_addresses_few_rows_are_due_and_none_is_lost(watch: Watch) -> None:
    refused, rows, total = Refused(), 0, 0
    for number in range(5000):
        due = refused.due("a", f"10.0.{number // 256}.{number % 256}")
        rows, total = rows + bool(due.count), total + due.count
    assert rows == 61
    watch.moment += 61
    others = next(
        due for number in range(61) if (due := refused.due("a", f"10.1.0.{number}")).address == ""
    )
    assert total + 60 + others.count == 5061


def test_what_is_kept_is_bounded(watch: Watch) -> None:
    refused = Refused()
    for number in range(20_000):
        refused.due("a", f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
        watch.moment += 0.5
        assert len(refused._written) + len(refused._between) <= 2000
