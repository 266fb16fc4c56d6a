"""The elements of a DICOM header that are read, and how much of each at most.

Every other element is passed over by its length. What is longer than its bound is cut before
anything is converted: texts are shown shortened anyway, and of several values only the first ones
are used.
"""

from dataclasses import dataclass, field
from typing import Final

from pydicom.datadict import tag_for_keyword

_BULK_VRS: Final = frozenset({"OW", "OB", "US", "SS", "US or OW", "US or SS or OW"})


@dataclass(frozen=True, slots=True)
class Bound:
    """How much of an element's value is read: bytes, values, and the items of a sequence.

    `vrs`: the only value representations that it is read in, and then not at all where it is longer
    than its bound: a part of a table is none. `items` names what is read of each item of a
    sequence; `values` is then the number of items.
    """

    most_bytes: int = 64
    values: int = 1
    vrs: frozenset[str] | None = None
    items: "dict[int, Bound]" = field(default_factory=dict)


def _tags(bounds: dict[str, Bound]) -> dict[int, Bound]:
    return {tag: bound for word, bound in bounds.items() if (tag := tag_for_keyword(word))}


# Longer than any text that is shown (200 characters) in any character set.
_TEXT: Final = Bound(1024)
_CODE: Final = Bound(128)
_NUMBER: Final = Bound()
_NUMBERS: Final = Bound(64 * 64, 64)
_TABLE: Final = Bound(2 * 65536, 65536, _BULK_VRS)

CHARACTER_SET: Final = 0x00080005
SHUTTER_EDGES: Final = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
MOST_VERTICES: Final = 1000

INTAKE: Final = _tags(
    {
        "SpecificCharacterSet": Bound(16 * 20, 16),
        **dict.fromkeys(
            (
                *("PatientName", "PatientID", "IssuerOfPatientID", "AccessionNumber"),
                *("StudyDescription", "SeriesDescription"),
            ),
            _TEXT,
        ),
        **dict.fromkeys(
            (
                *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
                *("Modality", "PatientSex", "PatientAge", "ViewPosition"),
                *("BodyPartExamined", "PresentationIntentType"),
                *("PhotometricInterpretation", "PatientBirthDate", "AcquisitionDateTime"),
                *("StudyDate", "StudyTime", "AcquisitionDate", "AcquisitionTime"),
                *("ContentDate", "ContentTime", "SeriesDate"),
            ),
            _CODE,
        ),
        **dict.fromkeys(
            (
                *("Rows", "Columns", "BitsAllocated", "NumberOfFrames", "SamplesPerPixel"),
                *("BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
            ),
            _NUMBER,
        ),
        "PatientOrientation": Bound(1024, 16),
        "ViewCodeSequence": Bound(values=1, items=_tags({"CodeValue": _CODE})),
    }
)
"""What an upload is checked by and described with."""

_LUT: Final = _tags({"LUTDescriptor": _NUMBERS, "LUTData": _TABLE, "ModalityLUTType": _CODE})

EXPORT: Final = INTAKE | _tags(
    {
        **dict.fromkeys(
            (
                *("SmallestImagePixelValue", "LargestImagePixelValue"),
                *("PixelPaddingValue", "PixelPaddingRangeLimit", "PixelAspectRatio"),
                *("PixelIntensityRelationshipSign", "PixelSpacing", "ImagerPixelSpacing"),
                *("NominalScannedPixelSpacing", "EstimatedRadiographicMagnificationFactor"),
                *("DistanceSourceToDetector", "DistanceSourceToPatient", "WindowCenter"),
                *("WindowWidth", "RescaleIntercept", "RescaleSlope"),
                *(f"Shutter{edge}Edge" for edge in SHUTTER_EDGES),
                *("CenterOfCircularShutter", "RadiusOfCircularShutter"),
            ),
            _NUMBERS,
        ),
        **dict.fromkeys(
            (
                *("ImageLaterality", "Laterality", "PresentationLUTShape"),
                *("PixelIntensityRelationship", "RescaleType"),
                *("PixelSpacingCalibrationType", "VOILUTFunction", "LossyImageCompression"),
                *("BurnedInAnnotation", "ConversionType"),
            ),
            _CODE,
        ),
        "ImageType": Bound(1024, 16),
        "ShutterShape": Bound(256, 3),
        "VerticesOfThePolygonalShutter": Bound(16 * 2 * MOST_VERTICES, 2 * MOST_VERTICES),
        **dict.fromkeys(("ModalityLUTSequence", "VOILUTSequence"), Bound(values=9, items=_LUT)),
        **{
            f"{colour}PaletteColorLookupTable{part}": bound
            for colour in ("Red", "Green", "Blue")
            for part, bound in (("Descriptor", _NUMBERS), ("Data", _TABLE))
        },
    }
)
"""What a picture is exported with, without its patient."""

PICTURE: Final = EXPORT | _tags({"WindowCenterWidthExplanation": Bound(64 * 64, 64)})
"""What a picture is decoded and displayed by."""


def is_overlay(tag: int) -> bool:
    """Whether the tag is an overlay's rows or data: only whether it is there counts."""
    return 0x6000 <= tag >> 16 <= 0x601E and tag & 0xFFFF in (0x0010, 0x3000)


MADE_BY: Final = _tags(dict.fromkeys(("Manufacturer", "ManufacturerModelName"), _CODE))
"""By which an object is known as one of Pleura's own."""

STATION: Final = _tags({"StationName": _CODE})
"""What the rules for arrivals ask for beside `INTAKE`; nothing of it is exported."""

OBJECT: Final = MADE_BY | _tags(
    {
        "SpecificCharacterSet": Bound(16 * 20, 16),
        **dict.fromkeys(("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"), _CODE),
    }
)
"""What is read of an object that is no picture."""

MOST_COMMITTED: Final = 4096
_REFERENCE: Final = _tags(
    dict.fromkeys(("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"), _CODE)
)
COMMITMENT: Final = _tags(
    {
        "TransactionUID": _CODE,
        "ReferencedSOPSequence": Bound(values=MOST_COMMITTED + 1, items=_REFERENCE),
        "FailedSOPSequence": Bound(
            values=MOST_COMMITTED + 1, items=_REFERENCE | _tags({"FailureReason": _NUMBER})
        ),
    }
)
"""What a request for storage commitment and its report state (PS3.4 J.3.2, J.3.3)."""
