"""Which kinds of DICOM pictures are read: modalities, classes, transfer syntaxes, colours."""

from __future__ import annotations

from typing import Final

MODALITIES: Final = frozenset({"CR", "DX", "DR", "RG", "SC", "OT"})
# For files that leave the modality out: CR, DX for presentation and processing, the four SC kinds.
IMAGE_CLASSES: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.1",
        "1.2.840.10008.5.1.4.1.1.1.1",
        "1.2.840.10008.5.1.4.1.1.1.1.1",
        "1.2.840.10008.5.1.4.1.1.7",
        "1.2.840.10008.5.1.4.1.1.7.2",
        "1.2.840.10008.5.1.4.1.1.7.3",
        "1.2.840.10008.5.1.4.1.1.7.4",
    }
)
IMPLICIT: Final = "1.2.840.10008.1.2"
EXPLICIT: Final = "1.2.840.10008.1.2.1"
BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
# JPIP: the pixels are on a server, and the rest may be deflated.
DEFLATED_REFERENCE: Final = "1.2.840.10008.1.2.4.95"
RLE: Final = "1.2.840.10008.1.2.5"
ENCAPSULATED: Final = frozenset(
    "1.2.840.10008.1.2" + suffix
    for suffix in (
        *(".5", ".4.50", ".4.51", ".4.57", ".4.70"),  # RLE; JPEG baseline, extended, lossless
        *(".4.80", ".4.81", ".4.90", ".4.91"),  # JPEG-LS, JPEG 2000
        *(".4.201", ".4.202", ".4.203"),  # High-Throughput JPEG 2000
    )
)
TRANSFER_SYNTAXES: Final = ENCAPSULATED | {IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED}
GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
COLOUR: Final = frozenset(
    {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"}
)

MOST_PIXELS: Final = 100_000_000
"""Above this a picture is not decoded at all: a chest film at the finest detectors has 20 MP."""
LONGEST_SIDE: Final = 20_000


def looks_like_dicom(data: bytes) -> bool:
    """Whether the bytes are DICOM, with the preamble or (older files) beginning with a tag."""
    if data[128:132] == b"DICM":
        return True
    # No preamble: groups 0002 or 0008 come first, with a small element number.
    return len(data) > 132 and data[:2] in (b"\x02\x00", b"\x08\x00") and data[3] == 0
