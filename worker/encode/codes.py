"""The coded concepts of the objects: the standard's where it has one, else Pleura's own.

IHE's AI Results and its assessment of them name no registered codes for a reader's verdict, so
these are in the private scheme 99PLEURA, which each object that uses it identifies.
"""

from typing import Final

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

SCHEME: Final = "99PLEURA"


def scheme() -> CodingSchemeIdentificationItem:
    """What identifies the private scheme in an object."""
    return CodingSchemeIdentificationItem(
        designator=SCHEME, name="Pleura", version="1", responsible_organization="Pleura"
    )


def _own(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, SCHEME, meaning)


PNEUMOTHORAX: Final = CodedConcept("36118008", "SCT", "Pneumothorax")
ABNORMAL: Final = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
PLEURA: Final = CodedConcept("3120008", "SCT", "Pleura")
SIDES: Final = {
    "right": CodedConcept("24028007", "SCT", "Right"),
    "left": CodedConcept("7771000", "SCT", "Left"),
    "both": CodedConcept("51440002", "SCT", "Bilateral"),
}
CHEST_X_RAY: Final = CodedConcept("399208008", "SCT", "Plain chest X-ray")
ARTIFICIAL_INTELLIGENCE: Final = CodedConcept("123110", "DCM", "Artificial Intelligence")
COMMENT: Final = CodedConcept("121106", "DCM", "Comment")
REJECTED_FOR_QUALITY: Final = CodedConcept("113001", "DCM", "Rejected for Quality Reasons")

SUMMARY: Final = CodedConcept("111017", "DCM", "CAD Processing and Findings Summary")
WITH_FINDINGS: Final = CodedConcept("111242", "DCM", "All algorithms succeeded; with findings")
WITHOUT_FINDINGS: Final = CodedConcept(
    "111241", "DCM", "All algorithms succeeded; without findings"
)
NO_ALGORITHM: Final = CodedConcept("111245", "DCM", "No algorithms succeeded; without findings")

# Named where nothing was found: a finding that is only looked for must not read as one.
LOOKED_FOR: Final = _own("looked-for", "Looked for")

CERTAINTY: Final = CodedConcept("111012", "DCM", "Certainty of Finding")
AREA: Final = CodedConcept("42798000", "SCT", "Area")
DISTANCE: Final = _own("greatest-distance", "Greatest interpleural distance")
AIR_SHARE: Final = _own("air-share", "Air in the hemithorax in the picture")
LEVELS: Final = {
    "apex": _own("distance-apex", "Interpleural distance at the apex"),
    "upper": _own("distance-upper", "Interpleural distance at the upper level"),
    "middle": _own("distance-middle", "Interpleural distance at the middle level"),
    "lower": _own("distance-lower", "Interpleural distance at the lower level"),
}
INDICES: Final = {
    "collins": _own("collins", "Size by Collins"),
    "rhea": _own("rhea", "Size by Rhea"),
    "light": _own("light", "Size by Light"),
}

PERCENT: Final = CodedConcept("%", "UCUM", "percent")
MILLIMETRE: Final = CodedConcept("mm", "UCUM", "millimeter")
SQUARE_MILLIMETRE: Final = CodedConcept("mm2", "UCUM", "square millimeter")
PIXEL: Final = CodedConcept("{pixels}", "UCUM", "pixels")

ASSESSMENT: Final = _own("assessment", "Reader's assessment of the AI result")
ASSESSMENTS: Final = {
    "accepted": _own("accepted", "Accepted"),
    "changed": _own("changed", "Accepted with changes"),
    "rejected": _own("rejected", "Rejected"),
    "undecided": _own("undecided", "Undecided"),
}
READER_FINDING: Final = _own("reader-finding", "Reader's finding of pneumothorax")
READER_FINDINGS: Final = {
    "none": _own("none", "None seen"),
    "right": _own("right", "Right"),
    "left": _own("left", "Left"),
    "both": _own("both", "Both sides"),
    "unsure": _own("unsure", "Unsure"),
}
