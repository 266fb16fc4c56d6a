"""What the listener takes: SOP classes, transfer syntaxes, and the file that a data set becomes."""

import re
import struct
from typing import Final

from pynetdicom.presentation import PresentationContext, build_context

from xray_files import kinds

VERIFICATION: Final = "1.2.840.10008.1.1"
COMMITMENT: Final = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
# Computed Radiography, Digital X-Ray for presentation and for processing, the four kinds of
# Secondary Capture: what is taken as a picture.
PICTURES: Final = kinds.IMAGE_CLASSES
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
# What `worker/encode` makes beside Secondary Captures, with the other two SR documents that hold
# results: filed to their exam, never analysed.
OBJECTS: Final = frozenset(
    _STORAGE + end
    for end in (
        *("88.11", "88.22", "88.33", "88.34"),  # Basic Text, Enhanced, Comprehensive, 3D SR
        "66.4",  # Segmentation
        "11.1",  # Grayscale Softcopy Presentation State
        "104.1",  # Encapsulated PDF
        "88.59",  # Key Object Selection
    )
)
# In the order of preference: without loss of anything that a sender compressed already.
_OF_PICTURES: Final = (
    kinds.EXPLICIT,
    kinds.IMPLICIT,
    kinds.BIG_ENDIAN,
    kinds.DEFLATED,
    *sorted(kinds.ENCAPSULATED),
)
_OF_OBJECTS: Final = (kinds.EXPLICIT, kinds.IMPLICIT, kinds.BIG_ENDIAN, kinds.DEFLATED)
_OF_SERVICES: Final = (kinds.EXPLICIT, kinds.IMPLICIT)
_IMPLEMENTATION: Final = "2.25.183428190437205019836410276510334887155"
IMPLEMENTATION_NAME: Final = "PLEURA"
_UID: Final = re.compile(r"[0-9.]{1,64}", re.ASCII)


def contexts() -> list[PresentationContext]:
    """What is accepted, each class in all its transfer syntaxes."""
    return [
        build_context(VERIFICATION, list(_OF_SERVICES)),
        _commitment(),
        *(build_context(one, list(_OF_PICTURES)) for one in sorted(PICTURES)),
        *(build_context(one, list(_OF_OBJECTS)) for one in sorted(OBJECTS)),
    ]


def _commitment() -> PresentationContext:
    """In both roles: a node asks us, or reports what it was asked."""
    context = build_context(COMMITMENT, list(_OF_SERVICES))
    context.scu_role = context.scp_role = True
    return context


def implementation_uid() -> str:
    """The Implementation Class UID of this listener."""
    return _IMPLEMENTATION


def is_uid(text: str) -> bool:
    """Whether a text can be a UID: digits and points, at most 64."""
    return _UID.fullmatch(text) is not None


def as_file(sop_class: str, sop_instance: str, transfer_syntax: str, data_set: bytes) -> bytes:
    """The data set as it came, behind file meta information of our own (PS3.10 7.1).

    The same data set becomes the same bytes, whoever sends it. The three UIDs are valid ones.
    """
    meta = b"".join(
        (
            struct.pack("<HH2sHL2s", 2, 1, b"OB", 0, 2, b"\0\1"),
            _element(0x02, b"UI", sop_class),
            _element(0x03, b"UI", sop_instance),
            _element(0x10, b"UI", transfer_syntax),
            _element(0x12, b"UI", _IMPLEMENTATION),
            _element(0x13, b"SH", IMPLEMENTATION_NAME),
        )
    )
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta))
    return b"".join((bytes(128), b"DICM", length, meta, data_set))


def _element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value
