"""The coded concepts of outgoing messages, each with its coding system (HL7 table 0396).

LN is LOINC, SCT SNOMED CT, DCM the codes of DICOM PS3.16, RADLEX RadLex, UCUM units. What none of
them has is in Pleura's own 99PLEURA; those that DICOM objects use too have the same codes there
(`worker.encode.codes`).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """A code, its text and its coding system; and the same in another system, where it is known."""

    value: str
    text: str
    system: str
    other: tuple[str, str, str] = ("", "", "")


def own(value: str, text: str) -> Code:
    """A code of Pleura's own."""
    return Code(value, text, "99PLEURA")


CHEST_X_RAY: Final = Code(
    "30745-4", "XR Chest Views", "LN", ("399208008", "Plain chest X-ray", "SCT")
)
REPORT: Final = Code("18782-3", "Radiology Study observation (narrative)", "LN")
PNEUMOTHORAX: Final = Code("36118008", "Pneumothorax", "SCT", ("RID5352", "pneumothorax", "RADLEX"))
PRESENT: Final = Code("52101004", "Present", "SCT")
ABSENT: Final = Code("2667000", "Absent", "SCT")
UNSURE: Final = Code("82334004", "Indeterminate", "SCT")
LATERALITY: Final = Code("272741003", "Laterality", "SCT")
SIDES: Final = {
    "right": Code("24028007", "Right", "SCT"),
    "left": Code("7771000", "Left", "SCT"),
    "both": Code("51440002", "Bilateral", "SCT"),
}
SIZE_BY_EYE: Final = own("size-by-eye", "Share of the lung field by eye")
SIZES: Final = {
    "below_10": own("below-10", "under 10 %"),
    "10_to_30": own("10-to-30", "10 to 30 %"),
    "above_30": own("above-30", "over 30 %"),
    "unknown": own("unknown", "unknown"),
}
# How an observation was made (OBX-17): a receiver tells the model's from the reader's by it.
BY_AI: Final = Code("123110", "Artificial Intelligence", "DCM")
BY_READER: Final = own("reader-outline", "Reader's outline")
BY_EYE: Final = own("reader", "Read by a radiologist")

SUMMARY: Final = Code("111017", "CAD Processing and Findings Summary", "DCM")
WITH_FINDINGS: Final = Code("111242", "All algorithms succeeded; with findings", "DCM")
WITHOUT_FINDINGS: Final = Code("111241", "All algorithms succeeded; without findings", "DCM")
NO_ALGORITHM: Final = Code("111245", "No algorithms succeeded; without findings", "DCM")
RETRACTED: Final = own("retracted", "Retracted")
CERTAINTY: Final = Code("111012", "Certainty of Finding", "DCM")
ALGORITHM: Final = Code("111001", "Algorithm Name", "DCM")
OPERATING_POINT: Final = own("operating-point", "Operating point")
AREA: Final = Code("42798000", "Area", "SCT")
DISTANCE: Final = own("greatest-distance", "Greatest interpleural distance")
AIR_SHARE: Final = own("air-share", "Air in the hemithorax in the picture")
LEVELS: Final = {
    "apex": own("distance-apex", "Interpleural distance at the apex"),
    "upper": own("distance-upper", "Interpleural distance at the upper level"),
    "middle": own("distance-middle", "Interpleural distance at the middle level"),
    "lower": own("distance-lower", "Interpleural distance at the lower level"),
}
INDICES: Final = {
    "collins": own("collins", "Size by Collins"),
    "rhea": own("rhea", "Size by Rhea"),
    "light": own("light", "Size by Light"),
}
PERCENT: Final = Code("%", "percent", "UCUM")
MILLIMETRE: Final = Code("mm", "millimeter", "UCUM")
SQUARE_MILLIMETRE: Final = Code("mm2", "square millimeter", "UCUM")
