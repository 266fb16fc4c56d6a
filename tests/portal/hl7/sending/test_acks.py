"""Answers: what each means, in both layouts of errors, and what is none."""

import pytest

from portal.hl7.sending import acks
from portal.hl7.sending.acks import BadAnswer, Meaning
from portal.sends import remarks
from portal.studies.sealed_fields import Patient


def answer(*segments: str, version: str = "2.5.1", charset: str = "") -> bytes:
    head = f"MSH|^~\\&|RIS|HOSP|PLEURA|PLEURA|20260304||ACK|A1|P|{version}||||||{charset}"
    return "".join(f"{one}\r" for one in (head, *segments)).encode("utf-8")


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("AA", Meaning.ACCEPTED),
        ("CA", Meaning.ACCEPTED),
        ("AE", Meaning.AGAIN),
        ("CE", Meaning.AGAIN),
        ("AR", Meaning.NEVER),
        ("CR", Meaning.NEVER),
    ],
)
def test_a_code_means_accepted_again_or_never(code: str, meaning: Meaning) -> None:
    found = acks.read(answer(f"MSA|{code}|C1"), "C1", "ASCII")
    assert (found.meaning, found.codes, found.remark) == (meaning, code, "")


@pytest.mark.parametrize(
    ("segments", "version", "codes", "remark"),
    [
        (("MSA|AE|C1|In words",), "2.3", "AE", "In words"),
        (("MSA|AR|C1", "ERR|PID^1^3^101&Missing&HL70357"), "2.3.1", "AR 101 PID-3", "Missing"),
        (("MSA|AR|C1", "ERR||OBR^1^18|204^Unknown^HL70357|E||||Who?"), "2.6", "AR 204 OBR-18",
         "Who?"),
        (("MSA|AR|C1", "ERR||GRUEN^1^ANN|GRUEN^x"), "2.5", "AR", "x"),
        (("MSA|AR|C1", "ERR||PID^1^1963|12345"), "2.5", "AR PID", ""),
    ],
)  # fmt: skip
def test_the_error_is_kept_as_codes(
    segments: tuple[str, ...], version: str, codes: str, remark: str
) -> None:
    found = acks.read(answer(*segments, version=version), "C1", "ASCII")
    assert (found.codes, found.remark) == (codes, remark)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "no_answer_message"),
        (b"PID|1\r", "no_answer_message"),
        (answer(), "no_answer_message"),
        (answer("MSA|OK|C1"), "no_answer_message"),
        (answer("MSA|AA|C2"), "other_control_id"),
        (answer("MSA|AA"), "other_control_id"),
        (answer("MSA|AA|C1|Grün"), "answer_charset"),
        (answer("MSA|AA|C1|Grün", charset="UTF-7"), "answer_charset"),
    ],
)
def test_what_is_no_answer_is_told_apart(raw: bytes, code: str) -> None:
    with pytest.raises(BadAnswer) as refused:
        acks.read(raw, "C1", "ASCII")
    assert refused.value.code == code


def test_an_answer_that_names_no_set_is_in_the_targets() -> None:
    found = acks.read(answer("MSA|AE|C1|Grün"), "C1", "UNICODE UTF-8")
    assert found.remark == "Grün"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Unknown STRAUß, Änne", "Unknown …"),
        ("Unknown Strauß^Änne", "Unknown …^…"),
        ("born 1963-05-01 or 01.05.1963 or 5/1/1963", "born … or … or …"),
        ("2.5.1 is not known here", "2.5.1 is not known here"),
        ("x" * 113 + " Strauß", "x" * 113 + " …"),
        ("x" * 116 + " Strauß", "x" * 116 + " …"),
    ],
)
def test_a_remark_is_kept_without_the_patient(said: str, kept: str) -> None:
    found = acks.read(answer(f"MSA|AR|C1|{said.replace('^', chr(92) + 'S' + chr(92))}"), "C1",
                      "UNICODE UTF-8")  # fmt: skip
    patient = Patient("Strauß, Änne", "P-1")
    assert remarks.without_patient(found.remark, patient, 120) == kept
