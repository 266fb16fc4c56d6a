"""What the viewer remembers of a person."""

from typing import Any

import pytest

from portal.access import Denied
from portal.errors import Invalid
from portal.reading import viewer_preferences
from portal.reading.viewer_preferences import Preferences
from tests.support.clinic import Clinic

CHOICE = {"overlay": "key", "mode": "heat", "inverted": True, "preset": "lung"}
LINKS = {"beside": True, "link_place": True, "link_window": False}
BRUSH = {"brush_mm": 8.0, "brush_px": 40} | LINKS


def of(clinic: Clinic, actor: Any) -> Preferences:
    with clinic.session as session:
        return viewer_preferences.preferences_of(session, actor)


def save(clinic: Clinic, actor: Any, sent: dict[str, Any]) -> None:
    with clinic.session as session:
        viewer_preferences.save_preferences(session, actor, sent)


def test_at_first_the_outline_is_thin_and_shown(clinic: Clinic) -> None:
    first = of(clinic, clinic.mate).as_json()
    shown = {"overlay": "on", "mode": "outline", "inverted": False, "preset": "window-1"}
    assert first == shown | BRUSH


def test_each_person_has_their_own(clinic: Clinic) -> None:
    save(clinic, clinic.mate, CHOICE)
    save(clinic, clinic.mate, {**CHOICE, "mode": "fill"})
    assert of(clinic, clinic.mate).as_json() == {**CHOICE, "mode": "fill"} | BRUSH
    assert of(clinic, clinic.owner) == Preferences()


def test_the_sizes_of_the_brush_stay_until_others_are_sent(clinic: Clinic) -> None:
    save(clinic, clinic.mate, {**CHOICE, "brush_mm": 12.5, "brush_px": 9})
    save(clinic, clinic.mate, CHOICE)
    assert of(clinic, clinic.mate).as_json() == {**CHOICE, "brush_mm": 12.5, "brush_px": 9} | LINKS


@pytest.mark.parametrize(
    "wrong",
    [
        *({"overlay": "sometimes"}, {"overlay": ["on"]}, {"mode": None}, {"inverted": 1}),
        *({"preset": "window-9"}, {"preset": "PHANTOM^ONE"}, {"preset": {}}),
        *({"brush_mm": 0}, {"brush_px": 10**6}, {"brush_mm": "wide"}),
    ],
)
def test_anything_else_is_refused(clinic: Clinic, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        save(clinic, clinic.mate, {**CHOICE, **wrong})


def test_who_sees_no_pictures_has_none(clinic: Clinic) -> None:
    with pytest.raises(Denied):
        save(clinic, clinic.admin, CHOICE)
