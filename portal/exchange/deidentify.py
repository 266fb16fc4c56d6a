"""A DICOM file without its patient: PS3.15 annex E, Basic Application Confidentiality Profile.

Nothing is taken over unless it is named here, and then only a value of the kind that belongs there:
a number, or one of the standard's own codes. So whatever can hold a free text, known to the profile
or not, private or in a sequence, stays behind. UIDs are replaced by keyed digests, the same for the
same UID; dates and times are removed. No pixel is decoded or changed; bits of a stored word that
are no part of its pixel are cleared, and lookup tables that can be no curve are left out.
"""

import io
import itertools
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

from portal.exchange import codestream_scrub
from portal.exchange.codestream_scrub import NotCleanable
from portal.formats import dicom, patient_tags

METHOD: Final = "Pleura: DICOM PS3.15 Basic Application Confidentiality Profile"
_SECONDARY: Final = "1.2.840.10008.5.1.4.1.1.7"
_RLE: Final = "1.2.840.10008.1.2.5"
_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"

# Whole numbers, and decimals (which are texts in the file: only what is a number is taken over).
_WHOLE: Final = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PlanarConfiguration", "SmallestImagePixelValue"),
    *("LargestImagePixelValue", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("PixelIntensityRelationshipSign", "PixelAspectRatio"),
)
_DECIMAL: Final = (
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("EstimatedRadiographicMagnificationFactor", "DistanceSourceToDetector"),
    *("DistanceSourceToPatient", "WindowCenter", "WindowWidth"),
    *("RescaleIntercept", "RescaleSlope"),
)
_WORDS: Final = {
    "Modality": dicom.MODALITIES,
    "ViewPosition": {"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO"},
    "ImageLaterality": {"L", "R", "B", "U"},
    "Laterality": {"L", "R"},
    "BodyPartExamined": {"CHEST"},
    "PhotometricInterpretation": dicom.GREY | dicom.COLOUR,
    "PresentationLUTShape": {"IDENTITY", "INVERSE"},
    "PresentationIntentType": {"FOR PRESENTATION", "FOR PROCESSING"},
    "PixelIntensityRelationship": {"LIN", "LOG", "DISP"},
    "PixelSpacingCalibrationType": {"GEOMETRY", "FIDUCIAL"},
    "RescaleType": {"US", "OD", "HU"},
    "VOILUTFunction": {"LINEAR", "LINEAR_EXACT", "SIGMOID"},
    "LossyImageCompression": {"00", "01"},
    "BurnedInAnnotation": {"YES", "NO"},
    "ConversionType": {"DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN"},
}
_ORIENTATION: Final = re.compile(r"[APRLHF]{1,3}")
_LUTS: Final = ("ModalityLUTSequence", "VOILUTSequence")
_PALETTE: Final = ("Red", "Green", "Blue")
# Type 2 by the standard: there, and empty.
_EMPTY: Final = (
    *("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber"),
    *("ReferringPhysicianName", "StudyID", "SeriesNumber", "Manufacturer"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the picture is now: a pseudonym, and UIDs by the old ones."""

    pseudonym: str
    uid: Callable[[str, str], str]  # of a kind ("study", "series", "instance") and the old UID
    number: int = 1  # of the picture in what is exported


def deidentify(data: bytes, identity: Identity) -> bytes:
    """A stored picture's file without anything that names a patient; raises NotCleanable."""
    source, header, frame = dicom.picture(data)
    syntax = header["transfer_syntax"]
    new = _dataset(source, identity)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = new.SOPClassUID
    meta.MediaStorageSOPInstanceUID = new.SOPInstanceUID
    if UID(syntax).is_encapsulated:
        new.PixelData = encapsulate([_clean(frame, header)])
        new["PixelData"].VR = "OB"
        new["PixelData"].is_undefined_length = True
    else:
        frame = _without_spare_bits(frame, source, header)
        new.PixelData = frame + b"\0" * (len(frame) % 2)
        new["PixelData"].VR = "OW"
    stream = io.BytesIO()
    whole = FileDataset("", new, file_meta=meta, preamble=b"\0" * 128)
    try:
        whole.save_as(stream, enforce_file_format=True)
    except Exception:  # whatever pydicom can't write of a damaged header
        raise NotCleanable from None
    return stream.getvalue()


def _clean(frame: bytes, header: dict[str, Any]) -> bytes:
    if header["transfer_syntax"] != _RLE:
        return codestream_scrub.clean(frame)
    grey = not header["colour"] or header["photometric"] == "PALETTE COLOR"
    segments = (1 if grey else 3) * header["bits_allocated"] // 8
    return codestream_scrub.clean_rle(frame, segments, header["rows"] * header["columns"])


def _without_spare_bits(frame: bytes, source: Dataset, header: dict[str, Any]) -> bytes:
    """The same pixels, and nothing in the bits of a word that are none of its pixel's.

    Older machines drew overlays there, and anything else can be written into them. Of signed
    pixels these bits repeat the sign, as readers of today expect.
    """
    allocated = header["bits_allocated"]
    stored = patient_tags.whole(source, "BitsStored", allocated)
    high = patient_tags.whole(source, "HighBit", stored - 1)
    if not 0 < stored <= high + 1 <= allocated:
        raise NotCleanable
    if header["transfer_syntax"] == _BIG_ENDIAN:
        raise NotCleanable  # retired: its bytes are not swapped here
    if stored == allocated:
        return frame
    size = allocated // 8
    words = len(frame) // size

    def everywhere(word: int) -> int:
        return int.from_bytes(word.to_bytes(size, "little") * words, "little")

    pixels = int.from_bytes(frame[: words * size], "little")
    pixels &= everywhere(((1 << stored) - 1) << (high + 1 - stored))
    if patient_tags.whole(source, "PixelRepresentation", 0) == 1:
        signs = pixels & everywhere(1 << high)
        pixels += signs * ((1 << (allocated - high)) - 2)
    return pixels.to_bytes(words * size, "little")


def burned_in(data: bytes) -> list[str]:
    """Why text may stand in the picture itself, as codes; none where the header says there is none.

    `burned_in_yes`, `burned_in_unknown` (not stated), `secondary_capture` (a screen or a scan),
    `overlay_in_pixels` (drawn in spare bits of the pixels, as older machines do: they are cleared,
    but what was drawn there was often drawn into the picture as well). And `table_left_out`: a
    lookup table was left out that is no curve and may be a text.
    """
    source, _, _ = dicom.picture(data)
    stated = patient_tags.code(source, "BurnedInAnnotation")
    found = [] if stated == "NO" else ["burned_in_yes" if stated == "YES" else "burned_in_unknown"]
    captured = patient_tags.code(source, "Modality") in ("SC", "OT")
    if captured or patient_tags.uid(source, "SOPClassUID").startswith(_SECONDARY):
        found.append("secondary_capture")
    groups = {tag.group for tag in source.keys() if tag.element == 0x0010}  # noqa: SIM118 tags alone
    drawn = [group for group in groups if 0x6000 <= group <= 0x601E]  # overlays: their rows
    if any((group, 0x3000) not in source for group in drawn):
        found.append("overlay_in_pixels")
    if any(_has_odd_table(source, keyword) for keyword in _LUTS):
        found.append("table_left_out")
    return found


def _dataset(source: Dataset, identity: Identity) -> Dataset:
    new = Dataset()
    _identify(new, source, identity)
    for keyword in _WHOLE:
        _keep(new, keyword, _values(source, keyword, int))
    for keyword in _DECIMAL:
        _keep(new, keyword, _values(source, keyword, _decimal))
    for keyword, allowed in _WORDS.items():
        code = patient_tags.code(source, keyword)
        if code in allowed:
            setattr(new, keyword, code)
    new.Modality = new.get("Modality", "OT")
    kinds = ({"ORIGINAL", "DERIVED"}, {"PRIMARY", "SECONDARY"})
    image_type = [value.upper() for value in _values(source, "ImageType", str)][:2]
    if len(image_type) == 2 and all(a in b for a, b in zip(image_type, kinds, strict=True)):
        new.ImageType = image_type
    directions = _values(source, "PatientOrientation", str)
    if len(directions) == 2 and all(_ORIENTATION.fullmatch(value) for value in directions):
        new.PatientOrientation = directions
    for keyword in _LUTS:
        tables = _tables(source, keyword)
        if tables:
            setattr(new, keyword, Sequence(tables))
    for colour in _PALETTE:
        name = f"{colour}PaletteColorLookupTable"
        if f"{name}Data" in source and not _keep_table(new, source, name):
            raise NotCleanable  # without its colours the picture can't be shown
    return new


def _identify(new: Dataset, source: Dataset, identity: Identity) -> None:
    sop_class = patient_tags.uid(source, "SOPClassUID")
    new.SOPClassUID = sop_class if sop_class in dicom.IMAGE_CLASSES else _SECONDARY
    new.StudyInstanceUID = identity.uid("study", patient_tags.uid(source, "StudyInstanceUID"))
    new.SeriesInstanceUID = identity.uid("series", patient_tags.uid(source, "SeriesInstanceUID"))
    new.SOPInstanceUID = identity.uid("instance", patient_tags.uid(source, "SOPInstanceUID"))
    new.PatientName = new.PatientID = identity.pseudonym
    new.InstanceNumber = identity.number
    for keyword in _EMPTY:
        setattr(new, keyword, "")
    new.PatientIdentityRemoved = "YES"
    new.DeidentificationMethod = METHOD
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    new.DeidentificationMethodCodeSequence = Sequence([code])
    new.LongitudinalTemporalInformationModified = "REMOVED"


def _keep(new: Dataset, keyword: str, values: list[Any]) -> None:
    if values:
        setattr(new, keyword, values if len(values) > 1 else values[0])


def _values(source: Dataset, keyword: str, convert: Callable[[str], Any]) -> list[Any]:
    """All values of an element, converted; none where one of them is not of that kind."""
    try:
        value = source.get(keyword)
        if value is None or value == "":
            return []
        several = (
            value if not isinstance(value, str | bytes) and hasattr(value, "__len__") else [value]
        )
        return [convert(str(one).strip()) for one in several][:64]
    except Exception:  # a malformed value counts as missing
        return []


def _decimal(text: str) -> str:
    """A decimal text of at most 16 characters (DICOM PS3.5 DS), or ValueError."""
    number = float(text)
    if not abs(number) < 1e15:
        raise ValueError
    return f"{number:.10g}"


def _tables(source: Dataset, keyword: str) -> list[Dataset]:
    """Lookup tables by which a picture is shown: numbers alone."""
    found = list[Dataset]()
    try:
        items = list(source.get(keyword) or ())[:8]
    except Exception:
        return []
    for item in items:
        new = Dataset()
        if not _keep_table(new, item, "LUT"):
            continue
        kind = patient_tags.code(item, "ModalityLUTType")
        if kind in _WORDS["RescaleType"]:
            new.ModalityLUTType = kind
        elif keyword == "ModalityLUTSequence":
            new.ModalityLUTType = "US"
        found.append(new)
    return found


def _has_odd_table(source: Dataset, keyword: str) -> bool:
    """Whether a table is there that is not taken over."""
    try:
        return len(source.get(keyword) or ()) != len(_tables(source, keyword))
    except Exception:
        return True


def _keep_table(new: Dataset, source: Dataset, name: str) -> bool:
    """Copy a table if it has as many entries as its descriptor states, and is a curve."""
    descriptor = _values(source, f"{name}Descriptor", int)
    if len(descriptor) != 3:
        return False
    entries, bits = descriptor[0] or 65536, descriptor[2]
    try:
        raw = source.get(f"{name}Data")
    except Exception:
        return False
    if isinstance(raw, bytes):
        if not 0 < entries <= 65536 or len(raw) not in (entries * 2, entries + entries % 2):
            return False
    elif not 8 <= bits <= 16 or len(raw or ()) != entries:
        return False
    if not any(_is_curve(values) for values in _entries(raw, entries)):
        return False
    setattr(new, f"{name}Descriptor", descriptor)
    setattr(new, f"{name}Data", raw)
    new[f"{name}Data"].VR = "OW" if isinstance(raw, bytes) else "US"
    return True


def _entries(raw: Any, entries: int) -> list[Iterable[int]]:
    """A table's values, read in each way that its bytes may be: either order, or one for each."""
    if not isinstance(raw, bytes):
        return [[int(value) for value in raw]]
    if len(raw) == entries * 2:
        return [struct.unpack(f"{order}{entries}H", raw) for order in "<>"]
    return [raw[:entries]]  # the last byte may be there to fill


def _is_curve(values: Iterable[int]) -> bool:
    """Whether a table rises or falls throughout, as what maps pixels to greys does.

    A text written as numbers does not: its letters go up and down.
    """
    pairs = list(itertools.pairwise(values))
    return all(a <= b for a, b in pairs) or all(a >= b for a, b in pairs)
