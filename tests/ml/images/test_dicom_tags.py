"""Values of the DICOM header: spacing, view, age."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from ml.images import dicom_tags
from ml.images.reader import Spacing
from portal.formats import upload_header
from portal.formats.refusals import Limits
from tests.support.ml.dicom_files import made, read, written

SPACINGS: list[tuple[dict[str, Any], Spacing | None]] = [
    ({}, None),
    ({"PixelSpacing": [0.2, 0.1]}, Spacing(0.2, 0.1, "detector")),
    ({"ImagerPixelSpacing": [0.2, 0.1]}, Spacing(0.2, 0.1, "detector")),
    (
        {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.2, 0.2]},
        Spacing(0.2, 0.2, "detector"),
    ),
    (
        {"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.18, 0.18]},
        Spacing(0.18, 0.18, "calibrated"),
    ),
    (
        {"PixelSpacing": [0.2, 0.2], "PixelSpacingCalibrationType": "GEOMETRY"},
        Spacing(0.2, 0.2, "calibrated"),
    ),
    (
        {"ImagerPixelSpacing": [0.22, 0.22], "EstimatedRadiographicMagnificationFactor": 1.1},
        Spacing(pytest.approx(0.2), pytest.approx(0.2), "corrected"),
    ),
    (
        {"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": 0},
        Spacing(0.2, 0.2, "detector"),
    ),
    ({"NominalScannedPixelSpacing": [0.17, 0.17]}, Spacing(0.17, 0.17, "detector")),
    ({"PixelSpacing": [0, 0]}, None),
    ({"PixelSpacing": [-0.2, 0.2]}, None),
    ({"PixelSpacing": [100, 100]}, None),
]


@pytest.mark.parametrize(("tags", "expected"), SPACINGS)
def test_spacing_says_where_it_holds(tags, expected):
    assert dicom_tags.spacing(made(**tags)) == expected


@pytest.mark.parametrize(
    ("tags", "view"),
    [
        ({"ViewPosition": "PA"}, "PA"),
        ({"ViewPosition": "ap "}, "AP"),
        ({"ViewPosition": "AP SUPINE"}, "AP"),
        ({"ViewPosition": "LL"}, "LL"),
        ({"ViewPosition": "LATERAL"}, "LL"),
        ({"ViewPosition": "RL"}, "RL"),
        ({"ViewPosition": "RAO"}, None),
        ({"ViewPosition": "LLD"}, "LLD"),
        ({}, None),
        ({"PatientOrientation": ["A", "F"]}, "LL"),
        ({"ViewPosition": "", "PatientOrientation": ["PL", "F"]}, "LL"),
        ({"PatientOrientation": ["F", "A"]}, "LL"),
        *(({"ViewPosition": term}, "LL") for term in ("LLAT", "L LAT", "LEFT LATERAL", "LAT_L")),
        *(({"ViewPosition": term}, "RL") for term in ("RLAT", "R-LAT", "LATERAL RIGHT", "LAT_R")),
        *(({"ViewPosition": term}, "LL") for term in ("SEITLICH", "PROFIL", "LATERAL_L")),
        ({"ViewPosition": "PA/LAT"}, None),
        ({"ViewPosition": "PA LAT", "PatientOrientation": ["A", "F"]}, "LL"),
        ({"ViewPosition": "CHEST", "PatientOrientation": ["A", "F"]}, "LL"),
        ({"ViewPosition": "AP LATERAL DECUBITUS"}, "AP"),
        ({"PatientOrientation": ["L", "F"]}, None),
        ({"PatientOrientation": ["F", "L"]}, None),
        ({"PatientOrientation": ["LA", "F"]}, None),
        ({"ViewPosition": "PA", "PatientOrientation": ["A", "F"]}, "PA"),
    ],
)
def test_views(tags, view):
    assert read(made(**tags)).view == view


def test_ages_that_disagree_on_an_adult_are_remarked_on() -> None:
    assert read(made(PatientAge="045Y", PatientBirthDate="20180101")).notes == ("age_disputed",)
    assert read(made(PatientAge="045Y", PatientBirthDate="19790101")).notes == ()


def test_empty_tables_are_none() -> None:
    plain = read(made())
    for keyword in ("VOILUTSequence", "ModalityLUTSequence"):
        np.testing.assert_array_equal(read(made(**{keyword: []})).pixels, plain.pixels)


def test_the_view_code_stands_in_for_a_missing_position():
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "R-10214", "SRT", "pa"
    assert read(made(ViewCodeSequence=[item])).view == "PA"
    assert read(made(ViewPosition="STANDING", ViewCodeSequence=[item])).view == "PA"


@pytest.mark.parametrize(
    ("code", "view"),
    [
        ("399067008", "LL"),  # lateral, of which side is not stated
        ("R-102CD", "LL"),
        ("399173006", "LL"),
        ("399198007", "RL"),
        ("30730003", "LL"),
        ("272479007", "PA"),
        ("R-40888", "PA"),
        ("399135007", "LLO"),
        ("399038007", "RLO"),
        ("399033003", None),  # frontal: from which side is not stated
    ],
)
def test_each_view_code_of_the_standard_is_a_view(code, view):
    item = Dataset()
    item.CodeValue = code
    picture = made(ViewCodeSequence=[item])
    assert read(picture).view == view
    checked = upload_header.read("x", written(picture), Limits(2**20)).header
    assert checked["view"] == (view or "")


@pytest.mark.parametrize(
    ("tags", "years"),
    [
        ({"PatientAge": "063Y"}, 63),
        ({"PatientAge": "63"}, 63),
        ({"PatientAge": "006M"}, 0.5),
        ({"PatientAge": "002W"}, 0.04),
        ({"PatientAge": "old"}, 74),
        ({}, 74),  # from the two dates
        ({"PatientBirthDate": "20010301", "StudyDate": "20190301"}, 18),  # the very birthday
        ({"PatientBirthDate": "20010302", "StudyDate": "20190301"}, 17),
        ({"StudyDate": "x"}, None),
        ({"PatientBirthDate": "20300101"}, None),
        ({"StudyDate": "", "PatientBirthDate": "20180101", "SeriesDate": "20240101"}, 6),
        ({"PatientAge": "045Y", "PatientBirthDate": "20180101"}, 6),
        ({"PatientBirthDate": "2018.01.01"}, 6),
    ],
)
def test_ages(tags, years):
    assert read(made(**tags)).patient_age_years == years
