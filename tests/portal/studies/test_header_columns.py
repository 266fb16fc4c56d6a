"""Columns that are made from a header: age bands, digests of patients, the order of acquisition."""

import pytest

from portal.formats import dicom
from portal.formats.refusals import Limits
from portal.models import Study
from portal.studies import header_columns
from tests.support import pictures
from tests.support.core import Core


@pytest.mark.parametrize(
    ("phi", "band"),
    [
        ({"age": "63Y"}, 60),
        ({"age": "8M"}, 0),
        ({"age": "30M"}, 0),
        ({"age": "9Y"}, 0),
        ({"age": "10Y"}, 10),
        ({"age": "101Y"}, 90),
        ({"birth_date": "1963-05-01", "study_date": "2026-04-30"}, 60),
        ({"birth_date": "1966-05-01", "study_date": "2026-04-30"}, 50),
        ({"birth_date": "1966-05-01", "study_date": "2026-05-01"}, 60),
        ({"birth_date": "2027-05-01", "study_date": "2026-05-01"}, None),
        ({"birth_date": "1963-05-01"}, None),
        ({}, None),
    ],
)
def test_an_age_is_its_ten_years(phi: dict[str, str], band: int | None) -> None:
    assert header_columns.age_band(phi) == band


def taken(**tags: str | None) -> int | None:
    _, _, header = dicom.read(pictures.dicom(**tags), Limits(10**6))
    found: int | None = header["acquired"]
    return found


def test_the_acquisitions_own_time_counts_before_the_studys() -> None:
    day = 20516 * 86400  # 2026-03-04
    assert taken() == day + 8 * 3600 + 45 * 60
    assert taken(AcquisitionDate="20260305", AcquisitionTime="0001") == day + 86400 + 60
    assert taken(AcquisitionDateTime="20260304091502.25+0100") == day + 9 * 3600 + 15 * 60 + 2
    assert taken(StudyTime=None) == day
    assert taken(StudyDate="nonsense") is None
    assert taken(StudyDate="18950101", StudyTime="2500") == -2366755200


def test_patients_are_distinguished_by_issuer_and_found_by_their_number(core: Core) -> None:
    def keys(**named: str) -> tuple[str | None, str | None]:
        study = Study()
        header_columns.describe_study(core.vault, study, {}, named, None)
        return study.patient_key, study.patient_id_key

    here, there = keys(patient_id="7", issuer="A"), keys(patient_id="7", issuer="B")
    bare = keys(patient_id="7")
    assert len({here[0], there[0], bare[0]}) == 3
    assert here[1] == there[1] == bare[1] == core.vault.lookup("patient_id", "7")
    assert keys(issuer="A") == (None, None)
    assert keys(patient_id="Mrn-7 ")[1] == keys(patient_id="MRN-7")[1]


def test_the_order_of_acquisition_is_true_and_no_date(core: Core) -> None:
    first, later = core.vault.acquired(0), core.vault.acquired(90)
    assert later - first == 90
    assert 0 <= first < 2**40
