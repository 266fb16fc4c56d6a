"""worker.life: a worker counts as alive by what it consumes, and ends where it does not."""

from __future__ import annotations

import pytest

from worker.life import Consumer


def test_a_message_that_cannot_be_acknowledged_ends_the_worker() -> None:
    consumer = Consumer()
    assert consumer.fault(0.0, unacknowledged=4.5, silent=0.0, idle=False, waiting=int) is None
    fault = consumer.fault(1.0, unacknowledged=5.5, silent=0.0, idle=False, waiting=int)
    assert fault == "a message can't be acknowledged"


def test_messages_that_wait_beside_an_idle_worker_end_it_at_the_second_look() -> None:
    consumer = Consumer()
    faults = [
        consumer.fault(float(second), unacknowledged=0, silent=60, idle=True, waiting=lambda: 3)
        for second in range(25)
    ]
    assert [second for second, fault in enumerate(faults) if fault] == [20, 21, 22, 23, 24]


@pytest.mark.parametrize(
    ("silent", "idle", "waiting"),
    [(2.0, True, 3), (60.0, False, 3), (60.0, True, 0)],
    ids=["a message came just now", "it is busy", "none waits, or Redis is away"],
)
def test_a_worker_that_gets_messages_or_is_busy_goes_on(
    silent: float, idle: bool, waiting: int
) -> None:
    consumer = Consumer()
    for second in range(100):
        fault = consumer.fault(
            float(second), unacknowledged=0, silent=silent, idle=idle, waiting=lambda: waiting
        )
        assert fault is None
