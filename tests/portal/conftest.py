"""A clinic in a fresh place, on both databases."""

import pytest

from tests.support.clinic import Clinic, open_clinic
from tests.support.place import Place


@pytest.fixture
def clinic(place: Place) -> Clinic:
    return open_clinic(place)
