"""What a node's status means, and its comment without what could name a patient."""

import pytest

from portal.dicom_network.sending import answers
from portal.dicom_network.sending.answers import Meaning
from portal.studies.sealed_fields import Patient

PATIENT = Patient(patient_name="Grün^Ann Li", patient_id="P-0001", accession="A77")


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (0x0000, Meaning.STORED),
        (0xB000, Meaning.STORED),
        (0xB007, Meaning.STORED),
        (0x0111, Meaning.STORED),  # it has it: sent again after its answer was lost
        (0xA700, Meaning.AGAIN),
        (0x0110, Meaning.AGAIN),
        (0x0213, Meaning.AGAIN),
        (0xFFFF, Meaning.AGAIN),
        (0xA900, Meaning.NEVER),
        (0xC000, Meaning.NEVER),
        (0x0122, Meaning.NEVER),
        (0x0124, Meaning.NEVER),
    ],
)
def test_a_status_means_stored_again_or_never(status: int, meaning: Meaning) -> None:
    assert answers.meaning(status) is meaning


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Out of resources", "Out of resources"),
        ("Unknown patient GRÜN^ann", "Unknown patient …^…"),
        ("P-0001 is not known", "… is not known"),
        ("cannot file A77", "cannot file …"),
        ("no study 1.2.840.10008.1", "no study …"),
        ("born 19630501, room 12", "born …, room 12"),
        ("a\r\nb\x00\u202ec", "a bc"),
        ("x" * 100, "x" * 64),
        (None, ""),
    ],
)
def test_a_comment_is_short_and_names_nobody(text: str | None, kept: str) -> None:
    assert answers.comment(text, PATIENT) == kept
