"""The attributes that a search answers with at each level, and those it can be asked by.

PS3.18 tables 10.6.1-5, 10.6.3-3, 10.6.3-4 and 10.6.3-5. `docs/dicom.md` lists them, which a test
compares.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword


class Level(StrEnum):
    """What a search lists."""

    STUDIES = "studies"
    SERIES = "series"
    INSTANCES = "instances"


def tag_of(name: str) -> str | None:
    """The tag, eight hexadecimal digits, of a keyword or of a tag; None for what is neither."""
    if len(name) == 8 and all(one in "0123456789abcdefABCDEF" for one in name):
        return name.upper()
    found = tag_for_keyword(name)
    return f"{found:08X}" if found is not None else None


def keyword_of(tag: str) -> str:
    """The keyword of a tag; the tag where it has none."""
    return keyword_for_tag(int(tag, 16)) or tag


def _tags(*keywords: str) -> tuple[str, ...]:
    found = []
    for keyword in keywords:
        tag = tag_of(keyword)
        assert tag is not None, keyword
        found.append(tag)
    return tuple(found)


# What is computed for an answer and is in no header.
AVAILABILITY, RETRIEVE_URL, MODALITIES, SERIES_IN_STUDY, IN_STUDY, IN_SERIES = _tags(
    *("InstanceAvailability", "RetrieveURL", "ModalitiesInStudy", "NumberOfStudyRelatedSeries"),
    *("NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"),
)
STUDY_UID, SERIES_UID, SOP_UID, MODALITY, STUDY_DATE, PATIENT_ID, ACCESSION, PATIENT_NAME = _tags(
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "Modality", "StudyDate"),
    *("PatientID", "AccessionNumber", "PatientName"),
)
COMPUTED: Final = frozenset(
    (AVAILABILITY, RETRIEVE_URL, MODALITIES, SERIES_IN_STUDY, IN_STUDY, IN_SERIES)
)
# Only where the header has it; every other one is there without a value where it has not.
_IF_KNOWN: Final = _tags("TimezoneOffsetFromUTC")

# What each level answers with, whatever is asked for.
ALWAYS: Final = MappingProxyType(
    {
        Level.STUDIES: _tags(
            *("StudyDate", "StudyTime", "AccessionNumber", "InstanceAvailability"),
            *("ModalitiesInStudy", "ReferringPhysicianName", "TimezoneOffsetFromUTC"),
            *("RetrieveURL", "PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
            *("StudyInstanceUID", "StudyID", "NumberOfStudyRelatedSeries"),
            "NumberOfStudyRelatedInstances",
        ),
        Level.SERIES: _tags(
            *("Modality", "TimezoneOffsetFromUTC", "SeriesDescription", "RetrieveURL"),
            *("SeriesInstanceUID", "SeriesNumber", "PerformedProcedureStepStartDate"),
            *("PerformedProcedureStepStartTime", "RequestAttributesSequence"),
            "NumberOfSeriesRelatedInstances",
        ),
        Level.INSTANCES: _tags(
            *("SOPClassUID", "SOPInstanceUID", "InstanceAvailability", "TimezoneOffsetFromUTC"),
            *("RetrieveURL", "InstanceNumber", "Rows", "Columns", "BitsAllocated"),
            "NumberOfFrames",
        ),
    }
)
# Of pictures alone: an object without pixels does not have them.
OF_PIXELS: Final = frozenset(_tags("Rows", "Columns", "BitsAllocated", "NumberOfFrames"))
# What can be asked for beside them, by `includefield`, at each level.
INCLUDABLE: Final = MappingProxyType(
    {
        Level.STUDIES: _tags(
            *("StudyDescription", "IssuerOfPatientID", "PatientAge", "PatientSize"),
            *("PatientWeight", "InstitutionName", "PhysiciansOfRecord", "OtherPatientIDsSequence"),
            *("NameOfPhysiciansReadingStudy", "ProcedureCodeSequence", "PatientComments"),
        ),
        Level.SERIES: _tags(
            *("SeriesDate", "SeriesTime", "BodyPartExamined", "Laterality", "PatientPosition"),
            *("Manufacturer", "ManufacturerModelName", "StationName", "ProtocolName"),
            *("OperatorsName", "PerformingPhysicianName"),
        ),
        # At this level: whatever the header has, but for long values.
        Level.INSTANCES: (),
    }
)
# By which a search can ask, at each level.
KEYS: Final = MappingProxyType(
    {
        Level.STUDIES: (STUDY_UID, PATIENT_ID, ACCESSION, STUDY_DATE, MODALITIES),
        Level.SERIES: (SERIES_UID, MODALITY),
        Level.INSTANCES: (SOP_UID,),
    }
)


def is_if_known(tag: str) -> bool:
    """Whether an answer has it only where the header has it."""
    return tag in _IF_KNOWN


def empty(tag: str) -> dict[str, Any]:
    """An element without a value."""
    return {"vr": dictionary_VR(int(tag, 16))}


def element(tag: str, *values: str | int) -> dict[str, Any]:
    """An element with these values."""
    return {**empty(tag), "Value": list(values)}
