"""Fractions, levels and indices on drawn lungs of known size."""

import numpy as np
import pytest

from ml.images.picture import Spacing
from ml.inference import hemithorax, size_indices
from ml.preparation import phantom
from ml.runtime.lung_finder import LungFields

MM = Spacing(0.5, 0.5, "calibrated")


def lungs(rows: int = 1000) -> LungFields:
    """Two upright rectangles, 300 px wide and 600 px high, in 1000 columns."""
    mask = np.zeros((rows, 1000), dtype=bool)
    mask[100:700, 100:400] = mask[100:700, 600:900] = True
    return LungFields(mask)


def strip(width: int = 60) -> np.ndarray:
    """Air along the whole side wall of the patient's right lung."""
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[100:700, 100 : 100 + width] = True
    return mask


def one(mask: np.ndarray, **given: object) -> size_indices.Extent:
    values = {"spacing": MM, "orientation": ("L", "F"), "view": "PA"} | given
    found = size_indices.extents(mask, values.pop("fields", lungs()), **values)  # type: ignore[arg-type]
    assert len(found) == 1
    return found[0]


def test_a_strip_is_measured_at_every_level() -> None:
    found = one(strip())
    assert found.side == "right"
    assert found.fraction == pytest.approx(0.2)
    for level in (found.apex, found.upper, found.middle, found.lower):
        assert level.mm == pytest.approx(30.0, abs=0.5)
    assert found.upper.line == (100.0, 250.5, 160.0, 250.5)
    assert found.middle.line == (100.0, 400.5, 160.0, 400.5)
    assert found.lower.line == (100.0, 550.5, 160.0, 550.5)


def test_the_indices_are_the_published_formulas() -> None:
    found = one(strip())
    assert found.collins.percent == pytest.approx(4.2 + 4.7 * 9, abs=0.3)
    assert found.rhea.percent == pytest.approx(5.38 + 8.72 * 3, abs=0.3)
    assert found.light.percent == pytest.approx(100 * (1 - 0.8**3), abs=0.1)
    assert size_indices.collins([0, 0, 0]) == 4.2
    assert size_indices.light(100, 100) == 100
    assert size_indices.light(0, 0) == 0


@pytest.mark.parametrize(
    ("given", "reason", "light"),
    [
        ({"spacing": None}, "no_spacing", True),
        ({"view": "AP"}, "not_pa", False),
        ({"view": None}, "not_pa", False),
    ],
)
def test_an_index_is_shown_only_where_it_applies(
    given: dict[str, object], reason: str, light: bool
) -> None:
    found = one(strip(), **given)
    for index in (found.collins, found.rhea):
        assert (index.percent, index.applies, index.reason) == (None, False, reason)
    assert found.light.applies is light
    assert found.fraction == pytest.approx(0.2)


def test_without_spacing_levels_are_pixels() -> None:
    found = one(strip(), spacing=None)
    assert (found.upper.px, found.upper.mm) == (60.0, None)


def test_air_beside_the_found_lung_belongs_to_the_hemithorax() -> None:
    collapsed = lungs().mask.copy()
    collapsed[:, :250] = False  # the network saw only what is left of the lung
    found = one(strip(150), fields=LungFields(collapsed))
    assert found.fraction == pytest.approx(0.5)
    assert found.light.percent == pytest.approx(100 * (1 - 0.5**3), abs=0.1)


INDICES = ("collins", "rhea", "light")


@pytest.mark.parametrize(
    "missed",
    [
        slice(100, 385),  # almost all of the collapsed lung: air alone would be the hemithorax
        slice(258, 400),  # all but a rim along the outline
        slice(160, 300),  # what is found of it does not begin at the air
    ],
)
def test_where_the_lung_beside_the_air_was_not_found_nothing_is_compared_with_it(
    missed: slice,
) -> None:
    mask = lungs().mask.copy()
    mask[:, missed] = False
    found = one(strip(150), fields=LungFields(mask))
    assert (found.border_found, found.fraction) == (False, None)
    for name in INDICES:
        index = getattr(found, name)
        assert (index.percent, index.applies, index.reason) == (None, False, "border_not_found")
    assert found.middle.mm == pytest.approx(75.0)  # distances are the outline's own


def test_a_side_much_smaller_than_the_other_lacks_lung() -> None:
    mask = lungs().mask.copy()
    mask[:400, :500] = False  # only the lower half of this lung was found
    air = strip(60)
    air[:400] = False
    found = one(air, fields=LungFields(mask))
    assert (found.border_found, found.fraction) == (False, None)


def test_an_index_needs_the_border_at_its_own_levels() -> None:
    mask = lungs().mask.copy()
    mask[350:450, :500] = False  # lung is missing at the middle alone
    found = one(strip(60), fields=LungFields(mask))
    assert found.border_found
    assert found.light.reason == "border_not_found"
    assert found.collins.applies
    mask = lungs().mask.copy()
    mask[500:600, :500] = False  # and at the middle of the lower half
    found = one(strip(60), fields=LungFields(mask))
    assert (found.light.applies, found.collins.reason) == (True, "border_not_found")


@pytest.mark.parametrize(("below", "applies"), [(60, True), (20, False)])
def test_light_needs_an_even_collapse(below: int, applies: bool) -> None:
    mask = strip(60)
    mask[300:, 100 + below :] = False  # thick at the apex alone
    found = one(mask)
    assert found.light.applies is applies
    assert found.light.reason == (None if applies else "uneven")
    assert found.collins.applies


def test_the_reason_tells_an_implausible_spacing_from_none() -> None:
    found = one(strip(), spacing=None, no_spacing="spacing_not_plausible")
    assert found.collins.reason == found.rhea.reason == "spacing_not_plausible"


def test_both_sides_are_reported_the_larger_first_and_specks_are_not() -> None:
    mask = strip(60) | np.fliplr(strip(90))
    found = size_indices.extents(mask, lungs(), MM, ("L", "F"), "PA")
    assert [one.side for one in found] == ["left", "right"]
    speck = strip(60)
    speck[200:210, 700:710] = True
    assert [one.side for one in size_indices.extents(speck, lungs(), MM, ("L", "F"))] == ["right"]


def test_a_mirrored_picture_has_its_sides_by_the_header() -> None:
    assert one(strip(), orientation=("R", "F")).side == "left"


def test_levels_without_air_are_nothing() -> None:
    mask = strip()
    mask[400:] = False
    found = one(mask)
    assert (found.lower.px, found.lower.line) == (0.0, None)
    # Light is taken at the middle alone, where this air has ended.
    assert (found.light.percent, found.light.reason) == (None, "no_air_at_level")
    assert found.collins.percent == pytest.approx(4.2 + 4.7 * 6, abs=0.3)


def test_air_between_the_levels_alone_is_no_volume_by_the_formulas_constants() -> None:
    mask = strip()
    mask[:480] = mask[520:] = False
    found = one(mask)
    assert [level.px for level in (found.apex, found.upper, found.lower)] == [0.0, 0.0, 0.0]
    for index in (found.collins, found.rhea):
        assert (index.percent, index.applies, index.reason) == (None, False, "no_air_at_levels")


@pytest.mark.parametrize(
    "fields",
    [
        LungFields(np.zeros((500, 500), dtype=bool)),
        LungFields(np.eye(500, dtype=bool)),
        LungFields(np.pad(np.ones((500, 300), dtype=bool), ((0, 0), (100, 100)))),
    ],
    ids=["none", "too little", "one region"],
)
def test_without_two_lungs_nothing_is_reported(fields: LungFields) -> None:
    assert size_indices.extents(strip(), fields, MM, ("L", "F"), "PA") == []
    assert hemithorax.midline(fields) is None


def test_an_empty_mask_and_a_picture_upside_down_have_no_extent() -> None:
    assert size_indices.extents(np.zeros((1000, 1000), bool), lungs(), MM) == []
    assert size_indices.extents(strip(), lungs(), MM, ("L", "H")) == []


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("width", [12.0, 30.0])
def test_a_phantom_s_width_and_area_come_back(side: phantom.Side, width: float) -> None:
    drawn = phantom.draw(5, side, width)
    found = size_indices.extents(
        drawn.mask, LungFields(drawn.lungs), drawn.spacing, ("L", "F"), "PA"
    )[0]
    mm = drawn.spacing.row_mm
    assert found.side == side
    # The crescent is the lung moved by its width: nowhere thicker, at the apex almost as thick.
    assert found.apex.mm == pytest.approx(width, abs=2 * mm)
    cavity = drawn.lungs | drawn.mask
    half = cavity[:, :512] if side == "right" else cavity[:, 512:]
    assert found.fraction == pytest.approx(drawn.mask.sum() / half.sum(), rel=0.02)
