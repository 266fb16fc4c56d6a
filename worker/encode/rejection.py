"""A rejected result: a Key Object Selection that names the objects not to be used."""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.dataset import Dataset

from worker.contract.contents.object_content import ObjectKind
from worker.encode import codes
from worker.encode.parts import Parts, stamp
from worker.encode.structured_report import referred

# What shows the AI result as if it stood; the structured report names the verdict itself.
SHOWING = (ObjectKind.SEGMENTATION, ObjectKind.CAPTURE, ObjectKind.PRESENTATION)


def make(parts: Parts, shown: Sequence[Dataset]) -> KeyObjectSelectionDocument:
    """The note about the objects of this set that show the result, and those of the one before."""
    rejected = [*shown, *earlier(parts)]
    model = parts.content.ai.model
    by = f" {model.name} {model.version}." if model else ""
    made = KeyObjectSelectionDocument(
        evidence=[_with_patient(one, parts.image) for one in rejected],
        content=KeyObjectSelection(
            document_title=codes.REJECTED_FOR_QUALITY,
            referenced_objects=rejected,
            description=f"AI result rejected by the reader.{by} {parts.content.research}",
        ),
        specific_character_set="ISO_IR 192",
        **parts.named(ObjectKind.REJECTION),
    )
    stamp(made, parts)
    return made


def earlier(parts: Parts) -> list[Dataset]:
    """The objects of the set before that show the result."""
    return [
        referred(parts.image, one.sop_class, one.series, one.instance)
        for one in parts.content.before
        if one.kind in (*SHOWING, ObjectKind.STRUCTURED_REPORT)
    ]


def _with_patient(one: Dataset, image: Dataset) -> Dataset:
    """The same with the patient and the study, which the note inherits."""
    whole = Dataset()
    for keyword in (
        *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
        *("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyInstanceUID"),
    ):
        setattr(whole, keyword, image[keyword].value)
    whole.SOPClassUID, whole.SOPInstanceUID = one.SOPClassUID, one.SOPInstanceUID
    whole.SeriesInstanceUID = one.SeriesInstanceUID
    return whole
