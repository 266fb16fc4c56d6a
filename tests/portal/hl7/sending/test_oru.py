"""One message: escaped, in the target's character set, valid by hl7apy, the accession number where
the target looks for it.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hl7apy.parser import parse_message

from portal.hl7.sending import codes, oru
from portal.hl7.sending.oru import Content, NotEncodable, Observation
from portal.models import ReportTarget
from portal.settings.network.hl7 import Hl7
from tests.support.core import NOW

SETTINGS = Hl7.model_validate({"PLEURA_HL7_PORT": 0})
CONTENT = Content(
    patient_id="P-0001",
    issuer="CLINIC",
    patient_name="Grün, Ann Li",
    birth_date="1963-05-01",
    sex="F",
    accession="A-77",
    case_number="K7Q2",
    taken="2026-03-04 08:45",
    signer="Dr. Test Mate",
    changed=datetime(2026, 3, 4, 9, 5, tzinfo=UTC),
    text="Report\n1|2^3~4\\5&6 – “ok”",
    research="Research use only – not a medical device.",
    observations=[
        Observation(codes.PNEUMOTHORAX, codes.PRESENT, codes.BY_EYE),
        Observation(codes.AREA, 812.5, codes.BY_AI, codes.SQUARE_MILLIMETRE, "1.ai"),
    ],
)


def target(**stated: Any) -> ReportTarget:
    given: dict[str, Any] = {
        "id": uuid4(),
        "application": "RIS",
        "facility": "HOSP",
        "authority": "",
        "accession_field": "OBR-18",
        "charset": "UNICODE UTF-8",
    }
    return ReportTarget(**(given | stated))


def message(content: Content = CONTENT, codec: str = "utf-8", **stated: Any) -> str:
    to = target(**stated)
    first = oru.header(SETTINGS, to, "ORU^R01^ORU_R01", "C1", NOW)
    return (first + oru.body(to, content)).decode(codec)


def fields(text: str, segment: str) -> list[str]:
    return next(one for one in text.split("\r") if one.startswith(f"{segment}|")).split("|")


def test_it_is_valid_and_holds_what_is_stated() -> None:
    text = message()
    parsed = parse_message(text, find_groups=True)
    assert parsed.validate()
    assert text.startswith("MSH|^~\\&|PLEURA|PLEURA|RIS|HOSP|2026")
    assert fields(text, "MSH")[8:] == [
        *("ORU^R01^ORU_R01", "C1", "P", "2.5.1", "", "", "", "", "", "UNICODE UTF-8"),
    ]
    assert fields(text, "PID")[3:] == ["P-0001^^^CLINIC^MR", "", "Grün^Ann Li", "", "19630501", "F"]
    request = fields(text, "OBR")
    assert (request[2], request[3], request[18]) == ("", "K7Q2", "A-77")
    assert (request[4], request[7]) == (
        "30745-4^XR Chest Views^LN^399208008^Plain chest X-ray^SCT",
        "202603040845",
    )
    assert (request[22], request[24], request[25], request[32]) == (
        *("20260304090500+0000", "RAD", "F"),
        "&Dr. Test Mate",
    )
    assert fields(text, "NTE")[3] == "Research use only – not a medical device."
    lines = [one for one in text.split("\r") if one.startswith("OBX")]
    assert lines[0].split("|")[5] == "Report\\.br\\1\\F\\2\\S\\3\\R\\4\\E\\5\\T\\6 – “ok”"
    assert lines[2] == (
        "OBX|3|NM|42798000^Area^SCT|1.ai|812.5|mm2^square millimeter^UCUM|||||F|||"
        "20260304090500+0000|||123110^Artificial Intelligence^DCM"
    )


@pytest.mark.parametrize(
    ("field", "placer", "filler"), [("OBR-2", "A-77", "K7Q2"), ("OBR-3", "", "A-77")]
)
def test_the_accession_number_is_also_where_the_target_looks(
    field: str, placer: str, filler: str
) -> None:
    text = message(accession_field=field)
    request = fields(text, "OBR")
    assert (request[2], request[3], request[18]) == (placer, filler, "A-77")
    assert fields(text, "ORC")[1:] == ["RE", placer, filler]


def test_a_correction_differs_from_a_final_report_by_its_states_alone() -> None:
    final, corrected = message(), message(replace(CONTENT, is_correction=True))
    assert fields(corrected, "OBR")[25] == "C"
    assert corrected.count("|C|") == final.count("|F|") == 4
    assert corrected.replace("|C|", "|F|") == final


def test_other_character_sets_have_plain_typography_and_no_other_letters() -> None:
    text = message(codec="iso8859-1", charset="8859/1")
    assert "Grün^Ann Li" in text
    assert '\\T\\6 - "ok"' in text
    for charset, content in (
        ("ASCII", CONTENT),
        ("8859/1", replace(CONTENT, patient_name="Łukasz, Jan")),
        ("8859/1", replace(CONTENT, text="Größe ≈ 3")),
    ):
        with pytest.raises(NotEncodable):
            oru.body(target(charset=charset), content)


def test_a_value_adds_no_segment_and_no_field() -> None:
    hostile = "A\rPID|2||X\nOBX|9~^&\\.br\\"
    content = replace(
        CONTENT,
        **dict.fromkeys(("patient_id", "patient_name", "accession", "signer", "sex"), hostile),
    )
    text = message(content)
    assert [one[:3] for one in text.split("\r") if one] == [
        *("MSH", "PID", "ORC", "OBR", "NTE", "OBX", "OBX", "OBX"),
    ]
    assert "A PID\\F\\2\\F\\\\F\\X OBX\\F\\9\\R\\\\S\\\\T\\\\E\\.br\\E\\" in fields(text, "OBR")[18]


@pytest.mark.parametrize(
    ("value", "written"),
    [(1.2e-7, "0.00000012"), (1234567.0, "1234570"), (93.25, "93.25"), (0.0, "0"), (400.0, "400")],
)
def test_a_number_has_no_exponent(value: float, written: str) -> None:
    observed = Observation(codes.CERTAINTY, value, codes.BY_AI, codes.PERCENT, "1.ai")
    text = message(replace(CONTENT, observations=[observed]))
    (line,) = [one for one in text.split("\r") if one.startswith("OBX|2|")]
    assert line.split("|")[5] == written


def test_a_name_in_two_scripts_is_two_names() -> None:
    text = message(replace(CONTENT, patient_name="Yamada, Tarou (山田, 太郎)"))
    assert fields(text, "PID")[5] == "Yamada^Tarou~山田^太郎"
