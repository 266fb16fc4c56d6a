"""A clinic over a fresh core, on both databases."""

import pytest

from tests.support.clinic import Clinic, open_clinic
from tests.support.core import Core


@pytest.fixture
def clinic(core: Core) -> Clinic:
    return open_clinic(core)
