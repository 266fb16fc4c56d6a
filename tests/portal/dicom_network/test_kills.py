"""A listener killed between two of its steps: each 0x0000 is there exactly once.

A sample: `make campaign NAME=listener-kills` does it twenty times for each step.
"""

import pytest

from tests.support.clinic import Clinic
from tests.support.dicom.kills import ALL_STEPS, killed_after
from tests.support.dicom.listening import add_node

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("step", ALL_STEPS)
def test_a_picture_is_there_once_wherever_the_listener_was_killed(
    clinic: Clinic, step: str
) -> None:
    add_node(clinic)
    outcome = killed_after(clinic, step)
    assert outcome.problem == ""
    assert outcome.first == (0 if step == "answered" else None)
