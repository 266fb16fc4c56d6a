"""Zones, midline, size and visceral border of drawn lungs."""

import numpy as np
import pytest

from ml.inference import hemithorax
from ml.preparation import phantom
from ml.runtime.lung_finder import LungFields

HALVES = (slice(0, 250), slice(250, 500))


def lungs() -> LungFields:
    """Two upright rectangles on a grid of half the picture's size, which is 1000 x 1000."""
    mask = np.zeros((500, 500), dtype=bool)
    mask[50:350, 50:200] = mask[50:350, 300:450] = True
    return LungFields(mask)


def air(rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def zone_of(mask: np.ndarray, **given: object) -> set[str]:
    found = hemithorax.zones(lungs(), mask, 500, **given)  # type: ignore[arg-type]
    assert found is not None
    return {hemithorax.ZONES[number - 1] for number in np.unique(found[mask])}


@pytest.mark.parametrize(
    ("rows", "columns", "zone"),
    [
        ((110, 290), (110, 390), "apical"),
        ((310, 490), (110, 240), "lateral"),
        ((310, 490), (260, 390), "medial"),  # beside the heart, not "lateral"
        ((510, 690), (110, 390), "basal"),
        ((310, 490), (760, 890), "lateral"),  # the other side is mirrored
        ((310, 490), (610, 740), "medial"),
    ],
)
def test_a_zone_is_a_part_of_the_lung_field(
    rows: tuple[int, int], columns: tuple[int, int], zone: str
) -> None:
    assert zone_of(air(rows, columns)) == {zone}


def test_a_picture_upside_down_has_its_apices_below() -> None:
    assert zone_of(air((110, 290), (110, 390)), upside_down=True) == {"basal"}
    assert zone_of(air((510, 690), (110, 390)), upside_down=True) == {"apical"}
    assert zone_of(air((310, 490), (110, 240)), upside_down=True) == {"lateral"}


def test_air_beside_a_lung_that_was_not_found_is_lateral_all_the_same() -> None:
    fields = lungs().mask.copy()
    fields[:, 50:120] = False  # the finder saw what is left of the lung
    mask = air((310, 490), (100, 240))
    found = hemithorax.zones(LungFields(fields), mask, 500)
    assert found is not None
    assert {hemithorax.ZONES[n - 1] for n in np.unique(found[mask])} == {"lateral"}


def test_without_plausible_lungs_there_are_no_zones() -> None:
    empty = LungFields(np.zeros((500, 500), dtype=bool))
    assert hemithorax.zones(empty, air((0, 9), (0, 9)), None) is None
    assert hemithorax.thorax(empty) is None


def test_a_phantoms_crescent_is_apical_and_lateral() -> None:
    drawn = phantom.draw(5, "left", 25, rows=512, columns=512)
    found = hemithorax.zones(LungFields(drawn.lungs), drawn.mask, 256)
    assert found is not None
    share = {
        zone: float((found[drawn.mask] == hemithorax.number(zone)).mean())
        for zone in hemithorax.ZONES
    }
    assert min(share["apical"], share["lateral"]) > 0.25
    assert share["medial"] < 0.1


def test_the_thorax_reaches_over_lungs_and_air() -> None:
    found = hemithorax.thorax(lungs())
    assert found is not None
    assert (found.width, found.height, found.cut) == (0.8, 0.6, (False, False))
    wider = hemithorax.thorax(lungs(), air((50, 200), (0, 200)))
    assert wider is not None
    assert (wider.width, wider.height, wider.cut) == (0.9, 0.65, (True, False))


def test_the_border_is_where_lung_begins_beside_the_air() -> None:
    border = hemithorax.visceral_border(lungs(), air((100, 700), (100, 180)), *HALVES)
    assert border.found
    assert border.is_at(180, 400)
    assert border.is_at(170, 400)
    assert not border.is_at(100, 400)
    assert not border.is_at(180, 900)


def test_a_thin_rim_of_found_lung_is_no_border() -> None:
    fields = lungs().mask.copy()
    fields[:, 95:250] = False
    border = hemithorax.visceral_border(LungFields(fields), air((100, 700), (100, 180)), *HALVES)
    assert not border.found
    assert not border.near.any()
