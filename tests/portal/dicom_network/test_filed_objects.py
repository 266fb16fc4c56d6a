"""Our own objects and the classes that we make: filed to their exam, never analysed."""

import io
from typing import Any

import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from sqlalchemy import func, select

from portal.governance import purges
from portal.models import (
    AuditEvent,
    Blob,
    BlobKind,
    DicomObject,
    Instance,
    Job,
    PurgeReason,
    Study,
)
from portal.studies import sealed_fields, stored_files
from tests.portal.vault.test_vault import files
from tests.support.clinic import Clinic, after
from tests.support.dicom import sender
from tests.support.dicom.listening import add_node, listening
from tests.support.pictures import dicom

SR = "1.2.840.10008.5.1.4.1.1.88.34"
SC = "1.2.840.10008.5.1.4.1.1.7"
STUDY = "1.2.3.77"
OURS = {"Manufacturer": "Pleura", "ManufacturerModelName": "Pleura"}


def report(uid: str = "2.25.1", **tags: Any) -> bytes:
    """A structured report with nothing in it."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(SR), UID(uid)
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    given = {
        "SOPClassUID": SR,
        "SOPInstanceUID": uid,
        "StudyInstanceUID": STUDY,
        "Modality": "SR",
        "PatientName": "PHANTOM^ONE",
    } | tags
    for keyword, value in given.items():
        setattr(dataset, keyword, value)
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def objects(clinic: Clinic) -> list[DicomObject]:
    with clinic.session as session:
        return list(session.scalars(select(DicomObject).order_by(DicomObject.created)))


def count(clinic: Clinic, table: Any) -> int:
    with clinic.session as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.mark.parametrize(
    ("data", "sop_class", "made_here"),
    [
        (report(**OURS), SR, True),
        (report(Manufacturer="Another"), SR, False),
        (dicom(SOPClassUID=SC, Modality="OT", StudyInstanceUID=STUDY, **OURS), SC, True),
    ],
)
def test_an_object_is_filed_to_its_exam_and_never_analysed(
    clinic: Clinic, data: bytes, sop_class: str, made_here: bool
) -> None:
    node = add_node(clinic)
    exam = clinic.submit(StudyInstanceUID=STUDY)
    with (
        listening(clinic) as listens,
        sender.associated(listens, sop_classes=(SR, SC)) as sends,
    ):
        assert sender.store(sends, data).Status == 0
        assert sender.store(sends, data).Status == 0
    (filed,) = objects(clinic)
    assert (filed.instance_id, filed.node_id) == (exam.instance_id, node.id)
    assert (filed.sop_class, filed.made_here) == (sop_class, made_here)
    assert (count(clinic, Study), count(clinic, Instance), count(clinic, Job)) == (1, 1, 1)
    with clinic.session as session:
        blob = session.get_one(Blob, filed.blob_id)
        picture = session.get_one(Instance, filed.instance_id)
        key = sealed_fields.instance_key_of(clinic.vault, picture)
        stored = stored_files.read(clinic.vault, key, blob)
        rows = session.scalars(
            select(AuditEvent).where(AuditEvent.event == "dicom_object_filed")
        ).all()
    assert sender.data_set_of(stored) == sender.data_set_of(data)
    assert [row.study_id for row in rows] == [exam.study_id]


def test_a_secondary_capture_of_somebody_else_is_a_picture(clinic: Clinic) -> None:
    add_node(clinic)
    data = dicom(SOPClassUID=SC, Modality="OT", Manufacturer="Another")
    with listening(clinic) as listens, sender.associated(listens, sop_classes=(SC,)) as sends:
        assert sender.store(sends, data).Status == 0
    assert (objects(clinic), count(clinic, Job)) == ([], 1)


def test_two_objects_of_one_picture_are_both_kept(clinic: Clinic) -> None:
    add_node(clinic)
    clinic.submit(StudyInstanceUID=STUDY)
    with listening(clinic) as listens, sender.associated(listens, sop_classes=(SR,)) as sends:
        for uid in ("2.25.1", "2.25.2"):
            assert sender.store(sends, report(uid)).Status == 0
    assert len(objects(clinic)) == 2


def test_an_object_of_no_exam_here_is_refused_and_not_called_stored(clinic: Clinic) -> None:
    add_node(clinic)
    clinic.submit(actor=clinic.outsider, StudyInstanceUID=STUDY)  # of another team
    with listening(clinic) as listens, sender.associated(listens, sop_classes=(SR,)) as sends:
        answer = sender.store(sends, report(**OURS))
    assert (answer.Status, answer.ErrorComment) == (0xC001, "Refused: exam not here")
    assert objects(clinic) == []
    assert len(files(clinic.core.data_dir)) == 1


def test_an_object_whose_header_is_broken_is_refused(clinic: Clinic) -> None:
    add_node(clinic)
    clinic.submit(StudyInstanceUID=STUDY)
    with listening(clinic) as listens, sender.associated(listens, sop_classes=(SR,)) as sends:
        assert sender.store(sends, report("2.25.7"), uid="2.25.8").Status == 0xA900
        (number,) = [n for n, c in sends._accepted_cx.items() if c.abstract_syntax == SR]
        assert sender.send(sends, number, SR, "2.25.9", b"\xff" * 50).Status == 0xC000
    assert objects(clinic) == []


def test_a_purge_takes_the_objects_of_the_exam_with_it(clinic: Clinic) -> None:
    add_node(clinic)
    study_id = clinic.submit(StudyInstanceUID=STUDY).study_id
    with listening(clinic) as listens, sender.associated(listens, sop_classes=(SR,)) as sends:
        assert sender.store(sends, report()).Status == 0
    with clinic.session as session:
        purges.purge(
            session,
            clinic.vault,
            clinic.admin,
            study_id,
            after(hours=1),
            reason=PurgeReason.TEST_DATA,
        )
    assert objects(clinic) == []
    assert files(clinic.core.data_dir) == []
    with clinic.session as session:
        kinds = session.scalars(select(Blob.kind)).all()
    assert BlobKind.FILED_OBJECT not in kinds
