"""The viewer's data: the marks of the patient's sides."""

from typing import Any

import pytest

from portal.reading import case
from portal.reading.viewer_preferences import Preferences
from portal.web.present import case_view
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.jobs import REFUSED

NO_LUNGS = {
    "quality": {
        "verdict": "refused",
        "reasons": [{"code": "no_lungs", "message": "No lungs."}],
    }
}


@pytest.mark.parametrize(
    ("facts", "tags", "predicted", "side"),
    [
        ({"orientation": ["L", "F"]}, {}, {}, "R"),
        ({"orientation": ["R", "F"]}, {}, {}, "L"),
        ({"orientation": ["A", "F"]}, {}, {}, ""),
        ({"orientation": ["L", "F"], "view": "LL"}, {"ViewPosition": "LL"}, REFUSED, ""),
        ({"orientation": []}, {}, {}, "R?"),  # frontal by its view position
        ({"orientation": [], "view": "LL"}, {"ViewPosition": "LL"}, REFUSED, ""),
        ({"orientation": [], "view": "LL"}, {"ViewPosition": "LL"}, None, ""),
        ({"orientation": [], "view": "LLO"}, {"ViewPosition": "LLO"}, {}, ""),
        ({"orientation": [], "view": None}, {"ViewPosition": ""}, {}, "R?"),
        ({"orientation": [], "view": None}, {"ViewPosition": ""}, REFUSED | NO_LUNGS, ""),
        ({"orientation": [], "view": None}, {"ViewPosition": ""}, None, ""),  # not known yet
    ],
)
def test_sides_are_marked_only_where_a_picture_can_have_them(
    clinic: Clinic,
    facts: dict[str, Any],
    tags: dict[str, str],
    predicted: dict[str, Any] | None,
    side: str,
) -> None:
    study_id = clinic.submit(**tags).study_id
    segmenting = clinic.render(study_id, **facts)
    if predicted is not None:
        clinic.segment(segmenting, **predicted)
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)
    assert case_view.case_page(view, clinic.mate, Preferences()).viewer["leftSide"] == side
