"""Parts of served files: an answer that is none of the file's is not used."""

import json
from typing import Any

import pytest
from pydicom.uid import generate_uid

from portal.dicomweb import file_parts, instances
from portal.dicomweb.file_parts import NoSuchPart
from portal.dicomweb.records import Served
from portal.vault import NotReadable
from tests.support.clinic import Clinic


def served(clinic: Clinic, **tags: Any) -> Served:
    study = clinic.submit(SeriesInstanceUID=generate_uid(), **tags).study_id
    with clinic.session as session:
        (one,) = instances.of_exams(session, clinic.vault, clinic.mate, [study])[study].served
    return one


def test_a_header_is_read_once(clinic: Clinic) -> None:
    one = served(clinic)
    assert not file_parts.is_known(one)
    first = file_parts.header_of(clinic.vault, one)
    assert file_parts.is_known(one)
    assert file_parts.header_of(clinic.vault, one) is first
    assert first.elements["00100020"]["Value"] == ["P-0001"]


def test_a_header_behind_long_values_is_read_as_well(clinic: Clinic) -> None:
    one = served(clinic, ICCProfile=bytes(700_000))
    header = file_parts.header_of(clinic.vault, one)
    assert header.elements["00282000"]["BulkDataURI"] == "#00282000"
    assert header.elements["00280010"]["Value"] == [8]
    assert file_parts.bulk_of(clinic.vault, one, "00282000") == bytes(700_000)


def test_what_is_remembered_is_bounded(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    some = [served(clinic, PatientID=f"P-{number}") for number in range(3)]
    monkeypatch.setattr(file_parts, "MOST_REMEMBERED", 10_000)
    for one in some:
        file_parts.header_of(clinic.vault, one)
    assert not all(file_parts.is_known(one) for one in some)
    assert file_parts.is_known(some[-1])


def test_frames_and_values_that_are_not_there_have_a_reason(clinic: Clinic) -> None:
    one = served(clinic)
    assert file_parts.frames_of(clinic.vault, one, [1]) == ([bytes(96)], "1.2.840.10008.1.2.1")
    with pytest.raises(NoSuchPart) as missing:
        file_parts.frames_of(clinic.vault, one, [2])
    assert missing.value.code == "no_pixels"
    with pytest.raises(NoSuchPart):
        file_parts.bulk_of(clinic.vault, one, "00282000")


def valid(one: Served) -> dict[str, Any]:
    return {
        "0020000D": {"vr": "UI", "Value": [one.study_uid]},
        "0020000E": {"vr": "UI", "Value": [one.series_uid]},
        "00080018": {"vr": "UI", "Value": [one.sop_uid]},
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}},
        {"00080018": {"vr": "UI"}},
        {"no tag": {"vr": "UI"}},
        {"00080008": {"vr": "XX"}},
        {"00080008": {"vr": []}},
        {"00080008": {}},
        {"00080008": {"vr": "CS", "Value": "x"}},
        {"00080008": {"vr": "CS", "Value": [["x"]]}},
        {"00080008": {"vr": "CS", "script": "x"}},
        {"00282000": {"vr": "OB", "BulkDataURI": "https://elsewhere.example/"}},
        {"00282000": {"vr": "OB", "BulkDataURI": 7}},
        {"00282000": {"vr": "OB", "InlineBinary": 7}},
        {"00081140": {"vr": "SQ", "Value": [{"00080008": {"vr": "CS", "Value": [{}, [1]]}}]}},
        {"00081140": {"vr": "SQ", "Value": ["x"]}},
        {"00100010": {"vr": "PN", "Value": [{"Alphabetic": 1}]}},
    ],
)
def test_an_answer_of_a_process_that_was_taken_over_is_not_used(
    clinic: Clinic, changed: dict[str, Any]
) -> None:
    one = served(clinic)
    assert file_parts._checked(json.dumps(valid(one)).encode(), one)
    with pytest.raises(NotReadable):
        file_parts._checked(json.dumps(valid(one) | changed).encode(), one)
    with pytest.raises(NotReadable):
        file_parts._checked(b"[" * 100_000, one)
