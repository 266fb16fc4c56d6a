"""Measurements against shapes whose numbers are known in closed form."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.images.picture import Spacing
from ml.inference import hemithorax
from ml.inference.measurements import area_mm2, components, interpleural_distance, measure, side

FINE = Spacing(0.143, 0.143, "detector")


def grid(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The row and column of every pixel's centre."""
    y, x = np.mgrid[:rows, :columns]
    return y + 0.5, x + 0.5


def disc(rows: int, columns: int, y0: float, x0: float, radius: float) -> np.ndarray:
    y, x = grid(rows, columns)
    return np.hypot(y - y0, x - x0) < radius


@given(
    radius=st.floats(60, 300),
    shift=st.floats(12, 50),
    angle=st.floats(0, 2 * math.pi),
    mm=st.floats(0.1, 0.4),
)
@settings(max_examples=25)
def test_a_crescent_is_as_thick_as_its_circles_are_apart(radius, shift, angle, mm):
    outer = disc(700, 700, 350, 350, radius)
    inner = disc(700, 700, 350 + shift * math.sin(angle), 350 + shift * math.cos(angle), radius)
    spacing = Spacing(mm, mm, "calibrated")
    measured = interpleural_distance(outer & ~inner, spacing)
    assert measured is not None
    assert measured.mm is not None
    assert measured.mm == pytest.approx(shift * mm, abs=mm + 1e-9)
    # The line crosses the crescent where it is thickest: opposite to the shift.
    x0, y0, x1, y1 = measured.line
    across = np.array([x1 - x0, y1 - y0]) / math.hypot(x1 - x0, y1 - y0)
    assert abs(across @ (math.cos(angle), math.sin(angle))) > 0.85


@given(
    width=st.integers(1, 120),
    length=st.integers(150, 400),
    degrees=st.floats(0, 180),
)
@settings(max_examples=25)
def test_a_straight_band_is_as_thick_as_it_was_drawn(width, length, degrees):
    y, x = grid(600, 600)
    angle = math.radians(degrees)
    along = (x - 300) * math.cos(angle) + (y - 300) * math.sin(angle)
    across = (y - 300) * math.cos(angle) - (x - 300) * math.sin(angle)
    band = (abs(along) < length / 2) & (abs(across) < width / 2)
    if not band.any():
        return
    measured = interpleural_distance(band)
    assert measured is not None
    assert measured.mm is None
    assert measured.px == pytest.approx(width, abs=1.0)


def test_the_line_lies_on_the_borders_of_the_outlined_air():
    mask = np.zeros((100, 80), dtype=bool)
    mask[20:90, 30:42] = True
    measured = interpleural_distance(mask, FINE)
    assert measured is not None
    x0, y0, x1, y1 = measured.line
    assert (x0, x1) == (30.0, 42.0)
    assert y0 == y1 == pytest.approx(55, abs=1)
    assert measured.px == 12.0
    assert measured.mm == pytest.approx(12 * 0.143)


def test_unequal_spacing_measures_each_direction_in_its_own_millimetres():
    spacing = Spacing(row_mm=0.4, column_mm=0.1, source="detector")
    upright = np.zeros((300, 300), dtype=bool)
    upright[50:250, 100:150] = True
    assert interpleural_distance(upright, spacing).mm == pytest.approx(50 * 0.1)
    assert interpleural_distance(upright.T, spacing).mm == pytest.approx(50 * 0.4, abs=0.1)
    # 60 columns of 0.1 mm are shorter than 20 rows of 0.4 mm, though there are more of them.
    block = np.zeros((300, 300), dtype=bool)
    block[100:120, 100:160] = True
    assert interpleural_distance(block, spacing).mm == pytest.approx(6.0)
    assert interpleural_distance(block).px == pytest.approx(20.0)
    # Of two regions the one that is thicker in millimetres counts, not in pixels.
    two = np.zeros((300, 300), dtype=bool)
    two[20:280, 20:60] = True  # 40 columns, 4 mm
    two[100:120, 100:290] = True  # 20 rows, 8 mm
    assert interpleural_distance(two, spacing).mm == pytest.approx(8.0, abs=0.1)
    assert interpleural_distance(two).px == pytest.approx(40.0)


def test_pinholes_do_not_shorten_the_distance():
    mask = np.zeros((200, 200), dtype=bool)
    mask[50:150, 80:120] = True
    mask[53:150:8, 83:120:8] = False
    assert interpleural_distance(mask).px == pytest.approx(40.0)


@pytest.mark.parametrize("radius", [20.0, 55.5, 140.2])
def test_the_area_of_a_disc_is_right_within_two_percent(radius):
    found = measure(disc(400, 400, 200.3, 180.7, radius), FINE)
    assert found["area_mm2"] == pytest.approx(math.pi * (radius * 0.143) ** 2, rel=0.02)


def test_area_is_row_spacing_times_column_spacing():
    assert area_mm2(10, Spacing(0.5, 0.2, "calibrated")) == pytest.approx(1.0)
    assert area_mm2(10, None) is None


def test_without_spacing_there_are_no_millimetres_anywhere():
    found = measure(disc(100, 100, 50, 20, 10))
    assert found["spacing"] is None
    assert found["area_mm2"] is None
    assert found["distance_mm"] is None
    assert found["components"][0]["area_mm2"] is None
    assert found["area_px"] > 0
    assert found["distance_px"] > 0


def test_an_empty_mask_has_no_side_no_zone_and_no_distance():
    assert measure(np.zeros((50, 60), dtype=bool), FINE) == {
        "area_px": 0,
        "area_mm2": 0.0,
        "side": None,
        "side_assumed": True,
        "zones": [],
        "zones_by": None,
        "distance_px": None,
        "distance_mm": None,
        "distance_line": None,
        "components": [],
        "spacing": {"row_mm": 0.143, "column_mm": 0.143, "source": "detector"},
    }


@pytest.mark.parametrize(
    ("column", "orientation", "expected", "assumed"),
    [
        (20, None, "right", True),
        (80, None, "left", True),
        (20, ("L", "F"), "right", False),
        (80, ("L", "F"), "left", False),
        (20, ("R", "F"), "left", False),
        (80, ("R", "F"), "right", False),
        (20, ("P", "F"), "right", True),  # says nothing about left and right
        (20, ("F", "L"), None, False),  # lies on its side: columns are not sides
        (80, ("H", "R"), None, False),
        (80, ("FL", "R"), "left", True),
    ],
)
def test_the_side_follows_the_header_and_is_otherwise_assumed(
    column, orientation, expected, assumed
):
    found = measure(disc(100, 100, 50, column, 8), orientation=orientation)
    assert found["side"] == expected
    assert found["side_assumed"] is assumed


def test_a_picture_on_its_side_has_a_distance_but_neither_side_nor_zone():
    found = measure(disc(100, 100, 50, 20, 8), FINE, ("F", "L"), midline=50.0)
    assert found["components"][0]["side"] is None
    assert found["zones"] == []
    assert found["distance_px"] == pytest.approx(16, abs=1)


@pytest.mark.parametrize("spacing", [None, Spacing(0.2, 0.1, "detector")])
@pytest.mark.parametrize(("radius", "shift"), [(700, 3), (700, 12.5), (900, 40), (1200.7, 161.3)])
def test_on_a_film_of_many_pixels_the_distance_is_right_within_one(radius, shift, spacing):
    side_px = int(2 * radius + shift + 60)
    centre = side_px / 2
    outer = disc(side_px, side_px, centre, centre, radius)
    inner = disc(side_px, side_px, centre, centre + shift, radius)
    found = interpleural_distance(outer & ~inner, spacing)
    expected, off = (shift, 1.0) if spacing is None else (shift * 0.1, 0.1 + 1e-4)
    assert (found.px if spacing is None else found.mm) == pytest.approx(expected, abs=off)
    x0, _, x1, _ = found.line
    assert 0 < x0 <= x1 < centre


@pytest.mark.parametrize("width", [1, 2, 7, 29, 200])
def test_a_long_band_is_measured_in_its_middle_however_thin(width):
    mask = np.zeros((3000, 900), dtype=bool)
    mask[100:2900, 400 : 400 + width] = True
    mask[500:2500:7, 400 + width // 2] = width < 3  # pinholes, where there is room for them
    found = interpleural_distance(mask)
    assert found.px == pytest.approx(width, abs=1.0)
    assert found.line[1] == pytest.approx(1500, abs=20)


def test_speckle_on_a_large_film_is_measured_all_the_same():
    speckle = np.random.default_rng(3).random((3000, 2500)) < 0.3
    found = interpleural_distance(speckle)
    assert 0 < found.px < 100


def test_a_known_midline_decides_instead_of_the_pictures_middle():
    assert side(55, 50, None) == "left"
    mask = disc(100, 100, 50, 55, 4)
    assert measure(mask)["side"] == "left"
    assert measure(mask, midline=62.0)["side"] == "right"


def test_air_on_both_sides_is_both_but_a_speck_decides_nothing():
    large, other = disc(200, 200, 60, 40, 25), disc(200, 200, 60, 160, 15)
    speck = disc(200, 200, 100, 170, 3)
    assert measure(large | other)["side"] == "both"
    found = measure(large | speck)
    assert found["side"] == "right"
    assert [part["side"] for part in found["components"]] == ["right", "left"]


def zone_map(**places: tuple[slice, slice]) -> np.ndarray:
    """100 x 100 pixels without a zone but for these places."""
    map_ = np.zeros((100, 100), np.uint8)
    for zone, place in places.items():
        map_[place] = hemithorax.number(zone)
    return map_


def test_every_zone_that_holds_a_fair_share_is_named_in_its_order():
    zones = zone_map(
        apical=(slice(0, 40), slice(0, 100)),
        lateral=(slice(40, 60), slice(0, 100)),
        basal=(slice(60, 100), slice(0, 100)),
    )
    mask = np.zeros((100, 100), dtype=bool)
    mask[10:90, 10:18] = True
    found = measure(mask, zones=zones)
    assert (found["zones"], found["zones_by"]) == (["apical", "lateral", "basal"], "lung_field")
    mask[10:90] = False
    mask[20:60, 10] = mask[60:69, 10] = True  # 9 of 49 pixels are too few
    assert measure(mask, zones=zones)["zones"] == ["apical", "lateral"]


def test_without_lung_fields_no_zone_is_named():
    found = measure(disc(100, 100, 46, 20, 8))
    assert (found["zones"], found["zones_by"]) == ([], None)
    turned = measure(disc(100, 100, 46, 20, 8), orientation=("F", "L"), zones=zone_map())
    assert turned["zones"] == []


def test_components_come_largest_first_with_their_boxes():
    mask = np.zeros((40, 40), dtype=bool)
    mask[2:4, 2:5] = True
    mask[10:20, 30:36] = True
    found = components(mask, FINE)
    assert [part.area_px for part in found] == [60, 6]
    assert found[0].box == (30, 10, 36, 20)


def test_air_that_touches_the_pictures_edge_is_measured_to_the_edge():
    assert interpleural_distance(np.ones((30, 9), dtype=bool)).px == pytest.approx(9.0)


def test_the_result_is_plain_json():
    found = measure(disc(100, 100, 30, 20, 8), FINE, ("L", "F"))
    assert json.loads(json.dumps(found))["distance_line"] == found["distance_line"]
