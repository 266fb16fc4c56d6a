"""A DICOM file without its patient: PS3.15 annex E, Basic Application Confidentiality Profile.

Nothing is taken over unless it is named here, and then only a value of the kind that belongs there:
a number, or one of the standard's own words. So whatever can hold a free text, known to the profile
or not, private or in a sequence, stays behind. UIDs are replaced by keyed digests, the same for
the same UID; dates and times are removed. No pixel is decoded or changed.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

from portal import codestream, dicom, patient
from portal.codestream import NotCleanable

METHOD: Final = "Pleura: DICOM PS3.15 Basic Application Confidentiality Profile"
_SECONDARY: Final = "1.2.840.10008.5.1.4.1.1.7"
_RLE: Final = "1.2.840.10008.1.2.5"

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


def deidentify(data: bytes, identity: Identity) -> bytes:
    """The file of a kept picture without anything that names a patient; raises NotCleanable."""
    source, header, frame = dicom.picture(data)
    syntax = header["transfer_syntax"]
    new = _dataset(source, identity)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = new.SOPClassUID
    meta.MediaStorageSOPInstanceUID = new.SOPInstanceUID
    if UID(syntax).is_encapsulated:
        new.PixelData = encapsulate([frame if syntax == _RLE else codestream.clean(frame)])
        new["PixelData"].VR = "OB"
        new["PixelData"].is_undefined_length = True
    else:
        new.PixelData = frame + b"\0" * (len(frame) % 2)
        new["PixelData"].VR = "OW"
    stream = io.BytesIO()
    whole = FileDataset("", new, file_meta=meta, preamble=b"\0" * 128)
    try:
        whole.save_as(stream, enforce_file_format=True)
    except Exception:  # whatever pydicom can't write of a damaged header
        raise NotCleanable from None
    return stream.getvalue()


def burned_in(data: bytes) -> list[str]:
    """Why text may stand in the picture itself, as codes; none where the header says there is none.

    `burned_in_yes`, `burned_in_unknown` (it does not say), `secondary_capture` (a screen or a
    scan), `overlay_in_pixels` (drawn in spare bits of the pixels, as older machines do).
    """
    source, _, _ = dicom.picture(data)
    said = patient.word(source, "BurnedInAnnotation")
    found = [] if said == "NO" else ["burned_in_yes" if said == "YES" else "burned_in_unknown"]
    captured = patient.word(source, "Modality") in ("SC", "OT")
    if captured or patient.uid(source, "SOPClassUID").startswith(_SECONDARY):
        found.append("secondary_capture")
    groups = {tag.group for tag in source.keys() if tag.element == 0x0010}  # noqa: SIM118 tags alone
    drawn = [group for group in groups if 0x6000 <= group <= 0x601E]  # overlays: their rows
    if any((group, 0x3000) not in source for group in drawn):
        found.append("overlay_in_pixels")
    return found


def _dataset(source: Dataset, identity: Identity) -> Dataset:
    new = Dataset()
    _identify(new, source, identity)
    for keyword in _WHOLE:
        _keep(new, keyword, _values(source, keyword, int))
    for keyword in _DECIMAL:
        _keep(new, keyword, _values(source, keyword, _decimal))
    for keyword, allowed in _WORDS.items():
        word = patient.word(source, keyword)
        if word in allowed:
            setattr(new, keyword, word)
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
        _keep_table(new, source, f"{colour}PaletteColorLookupTable")
    return new


def _identify(new: Dataset, source: Dataset, identity: Identity) -> None:
    sop_class = patient.uid(source, "SOPClassUID")
    new.SOPClassUID = sop_class if sop_class in dicom.IMAGE_CLASSES else _SECONDARY
    new.StudyInstanceUID = identity.uid("study", patient.uid(source, "StudyInstanceUID"))
    new.SeriesInstanceUID = identity.uid("series", patient.uid(source, "SeriesInstanceUID"))
    new.SOPInstanceUID = identity.uid("instance", patient.uid(source, "SOPInstanceUID"))
    new.PatientName = new.PatientID = identity.pseudonym
    new.InstanceNumber = 1
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
    except Exception:  # a value that is not what it should be is as good as none
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
        kind = patient.word(item, "ModalityLUTType")
        if kind in _WORDS["RescaleType"]:
            new.ModalityLUTType = kind
        elif keyword == "ModalityLUTSequence":
            new.ModalityLUTType = "US"
        found.append(new)
    return found


def _keep_table(new: Dataset, source: Dataset, name: str) -> bool:
    """Take a table over if it has exactly the entries that its descriptor says."""
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
    setattr(new, f"{name}Descriptor", descriptor)
    setattr(new, f"{name}Data", raw)
    new[f"{name}Data"].VR = "OW" if isinstance(raw, bytes) else "US"
    return True
