"""What is kept of a node's answers."""

from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from portal.dicom_network.retrieving.archive import asked_for

KEYWORDS = ("PatientID", "StudyDate", "StudyInstanceUID", "ModalitiesInStudy", "Rows")


def test_of_an_answer_what_was_asked_for_is_kept() -> None:
    answer = Dataset()
    answer.PatientID, answer.StudyDate, answer.PatientComments = "7", "20200101", "not asked for"
    answer.ModalitiesInStudy = ["CR", "SR"]
    kept = asked_for(answer, KEYWORDS)
    assert {one.keyword for one in kept} == {"PatientID", "StudyDate", "ModalitiesInStudy"}
    assert list(kept.ModalitiesInStudy) == ["CR", "SR"]
    assert len(asked_for(None, KEYWORDS)) == 0


def test_what_is_too_long_or_can_not_be_read_is_left_out() -> None:
    answer = Dataset()
    answer.PatientID = "7" * 60_000
    answer.StudyInstanceUID = "1.2.3"
    answer.Rows = 256
    written = BytesIO()
    answer.save_as(written, implicit_vr=False, little_endian=True)
    sent = written.getvalue().replace(b"US\x02\x00\x00\x01", b"US\x03\x00\x00\x01\x00")
    read = dcmread(BytesIO(sent), force=True)
    read.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    assert {one.keyword for one in asked_for(read, KEYWORDS)} == {"StudyInstanceUID"}
