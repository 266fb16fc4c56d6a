"""worker.contract.facts: what ml reads from a picture passes, what cannot be does not."""

import json
from typing import Any

import numpy as np
import pytest

from ml.images import field_size, reader
from ml.images.picture import Picture, Spacing
from ml.preparation import phantom
from worker.contract.facts import FIELD_MM, NOT_PLAUSIBLE, Facts, is_plausible
from worker.contract.message import InvalidMessage

WHOLE = {"rows": 8, "columns": 6, "bits": 12, "windows": [[2048, 4096.0, "automatic"]]}


@pytest.mark.parametrize("make", [phantom.dicom, phantom.png])
def test_the_facts_of_a_picture_are_taken_and_lead_back_to_it(make: Any) -> None:
    picture = reader.read(make(phantom.draw(3, "right", rows=320, columns=300)))
    sent = json.loads(json.dumps(picture.facts()))
    facts = Facts.parse(sent)
    assert facts.as_json() == sent
    again = Picture.from_canonical(picture.canonical(), facts.as_json())
    assert np.array_equal(again.pixels, picture.pixels)
    assert again.facts() == picture.facts()


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": 0},
        {"columns": 65536},
        {"bits": 17},
        {"windows": None},
        {"windows": [[1, 2]]},
        {"windows": [[1, -2, "x"]]},
        {"windows": [[1, 2, "x"]] * 101},
        {"spacing": {"row_mm": 0, "column_mm": 0.1, "source": "detector"}},
        {"spacing": {"row_mm": 0.1, "column_mm": 0.1}},
        {"orientation": ["L"]},
        {"orientation": ["L", "F", "H"]},
        {"patient_age_years": -1},
        {"patient_name": "CANARY"},
        {"notes": [""]},
        {"colour": 1.5},
    ],
)
def test_facts_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    Facts.parse(WHOLE)
    with pytest.raises(InvalidMessage):
        Facts.parse(WHOLE | wrong)


@pytest.mark.parametrize("name", WHOLE)
def test_the_size_the_depth_and_the_windows_are_required(name: str) -> None:
    with pytest.raises(InvalidMessage, match=name):
        Facts.parse({key: value for key, value in WHOLE.items() if key != name})


@pytest.mark.parametrize(
    ("row_mm", "column_mm", "plausible"),
    [
        (0.35, 0.35, True),
        (0.143, 0.143, False),  # a picture that was reduced after acquisition
        (1.0, 1.0, False),  # of a converter
        (0.244, 0.244, False),  # 249.9 mm
        (0.2442, 0.488, True),
        (0.35, 0.489, False),
    ],
)
def test_portal_and_ml_find_the_same_spacings_plausible(
    row_mm: float, column_mm: float, plausible: bool
) -> None:
    spacing = Spacing(row_mm, column_mm, "detector")
    assert field_size.is_plausible(spacing, 1024, 1024) is plausible
    assert is_plausible(row_mm, column_mm, 1024, 1024) is plausible
    assert (FIELD_MM, NOT_PLAUSIBLE) == (field_size.FIELD_MM, field_size.NOTE)


def test_an_empty_orientation_is_none() -> None:
    assert Facts.parse(WHOLE | {"orientation": []}).as_json()["orientation"] is None


def test_numbers_and_absent_fields_keep_their_form() -> None:
    stored = Facts.parse(WHOLE | {"patient_age_years": 62}).as_json()
    assert stored == WHOLE | {"patient_age_years": 62.0}
    assert type(stored["patient_age_years"]) is type(stored["windows"][0][0]) is float
