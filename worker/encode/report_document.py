"""The report as an Encapsulated PDF."""

from __future__ import annotations

from highdicom.base import SOPClass
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from worker.contract.contents.object_content import ObjectKind
from worker.encode.parts import Parts, stamp

# HL7 and DICOM have it for reports of imaging (PS3.16, CID 7001 names it too).
_RADIOLOGY_REPORT = ("18782-3", "LN", "Radiology Study observation (narrative)")


def make(parts: Parts) -> SOPClass:
    """The document; the caller has seen that the set has a report."""
    image = parts.image
    made = SOPClass(
        study_instance_uid=image.StudyInstanceUID,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient_id=image.PatientID,
        patient_name=image.PatientName,
        patient_birth_date=image.PatientBirthDate,
        patient_sex=image.PatientSex,
        accession_number=image.AccessionNumber,
        study_id=image.StudyID,
        study_date=image.StudyDate,
        study_time=image.StudyTime,
        referring_physician_name=image.ReferringPhysicianName,
        specific_character_set="ISO_IR 192",
        **parts.named(ObjectKind.REPORT),
    )
    for keyword in ("IssuerOfPatientID", "PatientAge", "StudyDescription"):
        if keyword in image:
            setattr(made, keyword, image[keyword].value)
    made.ConversionType = "WSD"
    made.AcquisitionDateTime = ""
    made.BurnedInAnnotation = "YES"
    made.DocumentTitle = f"{parts.content.title}. {parts.content.research}"
    made.VerificationFlag = "VERIFIED" if parts.content.signed else "UNVERIFIED"
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = _RADIOLOGY_REPORT
    made.ConceptNameCodeSequence = Sequence([title])
    source = Dataset()
    source.ReferencedSOPClassUID = image.SOPClassUID
    source.ReferencedSOPInstanceUID = image.SOPInstanceUID
    made.SourceInstanceSequence = Sequence([source])
    made.MIMETypeOfEncapsulatedDocument = "application/pdf"
    made.EncapsulatedDocumentLength = len(parts.pdf)
    made.EncapsulatedDocument = parts.pdf + b"\0" * (len(parts.pdf) % 2)
    stamp(made, parts)
    return made
