"""A DICOM file without its patient: PS3.15 annex E, Basic Application Confidentiality Profile.

Nothing is taken over unless it is named here, and then only a value of the kind that belongs there:
a number, or one of the standard's own codes. So whatever can hold a free text, known to the profile
or not, private or in a sequence, stays behind. UIDs are replaced by keyed digests, the same for the
same UID; dates and times are removed. No pixel is decoded or changed; bits of a stored word that
are no part of its pixel are cleared, and lookup tables that can be no curve are left out.
"""

import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID

from portal.formats import codestream_scrub, dicom, patient_tags
from portal.formats.codestream_scrub import NotCleanable
from worker.contract import facts
from xray_files import grey_values, kinds, lookup_table, values, view
from xray_files.listed_elements import MOST_VERTICES, SHUTTER_EDGES
from xray_files.lookup_table import LookupTable
from xray_files.picture_header import PictureHeader

METHOD: Final = "Pleura: DICOM PS3.15 Basic Application Confidentiality Profile"
_SECONDARY: Final = "1.2.840.10008.5.1.4.1.1.7"

# Whole numbers, and decimals (which are texts in the file: only what is a number is taken over).
_WHOLE: Final = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PlanarConfiguration", "PixelAspectRatio"),
    *(f"Shutter{edge}Edge" for edge in SHUTTER_EDGES),
    *("CenterOfCircularShutter", "RadiusOfCircularShutter", "VerticesOfThePolygonalShutter"),
)
# Of the pixels' own sign.
_OF_PIXELS: Final = (
    *("SmallestImagePixelValue", "LargestImagePixelValue"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
)
_SPACINGS: Final = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_DECIMAL: Final = (
    *_SPACINGS,
    *("EstimatedRadiographicMagnificationFactor", "DistanceSourceToDetector"),
    *("DistanceSourceToPatient", "WindowCenter", "WindowWidth"),
    *("RescaleIntercept", "RescaleSlope"),
)
_WORDS: Final = {
    "Modality": kinds.MODALITIES,
    "ViewPosition": view.FRONTAL | view.NOT_FRONTAL,
    "ImageLaterality": {"L", "R", "B", "U"},
    "Laterality": {"L", "R"},
    "BodyPartExamined": {"CHEST"},
    "PhotometricInterpretation": kinds.GREY | kinds.COLOUR,
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
_SHUTTERS: Final = frozenset({"RECTANGULAR", "CIRCULAR", "POLYGONAL"})
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


def deidentify(data: bytes, identity: Identity, *, spacing_is_wrong: bool = False) -> bytes:
    """A stored picture's file without anything that names a patient; raises NotCleanable.

    spacing_is_wrong: by the file's pixel spacing the found lungs would be no adult's.
    """
    source, header, frame = dicom.picture(data)
    syntax = header.transfer_syntax
    if syntax in (kinds.BIG_ENDIAN, kinds.DEFLATED):
        syntax = kinds.EXPLICIT  # retired, and seldom understood
    new = _dataset(source, header, identity, spacing_is_wrong)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = new.SOPClassUID
    meta.MediaStorageSOPInstanceUID = new.SOPInstanceUID
    if header.encapsulated:
        new.PixelData = encapsulate([_clean(frame, header)])
        new["PixelData"].VR = "OB"
        new["PixelData"].is_undefined_length = True
    else:
        frame = _without_spare_bits(_little_endian(frame, header), header)
        new.PixelData = frame + b"\0" * (len(frame) % 2)
        new["PixelData"].VR = "OW"
    stream = io.BytesIO()
    whole = FileDataset("", new, file_meta=meta, preamble=b"\0" * 128)
    try:
        whole.save_as(stream, enforce_file_format=True)
    except Exception:  # whatever pydicom can't write of a damaged header
        raise NotCleanable from None
    return stream.getvalue()


def _clean(frame: bytes, header: PictureHeader) -> bytes:
    if header.transfer_syntax != kinds.RLE:
        return codestream_scrub.clean(frame)
    segments = header.samples * header.allocated // 8
    return codestream_scrub.clean_rle(frame, segments, header.rows * header.columns)


def _little_endian(frame: bytes, header: PictureHeader) -> bytes:
    if header.transfer_syntax != kinds.BIG_ENDIAN:
        return frame
    # Words are swapped, also where each holds two pixels of a byte (PS3.5 7.3).
    swapped = bytearray(frame + b"\0" * (len(frame) % 2))
    swapped[::2], swapped[1::2] = swapped[1::2], swapped[::2]
    return bytes(swapped)


def _without_spare_bits(frame: bytes, header: PictureHeader) -> bytes:
    """The same pixels, and nothing in the bits of a word that are none of its pixel's.

    Older machines drew overlays there, and anything else can be written into them. Of signed
    pixels these bits repeat the sign, as readers of today expect.
    """
    allocated, stored, high = header.allocated, header.stored, header.high
    if stored == allocated:
        return frame
    size = allocated // 8
    words = len(frame) // size

    def everywhere(word: int) -> int:
        return int.from_bytes(word.to_bytes(size, "little") * words, "little")

    pixels = int.from_bytes(frame[: words * size], "little")
    pixels &= everywhere(((1 << stored) - 1) << (high + 1 - stored))
    if header.signed:
        signs = pixels & everywhere(1 << high)
        pixels += signs * ((1 << (allocated - high)) - 2)
    return pixels.to_bytes(words * size, "little")


def burned_in(data: bytes, *, spacing_is_wrong: bool = False) -> list[str]:
    """Why text may stand in the picture itself, as codes; none where the header says there is none.

    `burned_in_yes`, `burned_in_unknown` (not stated), `secondary_capture` (a screen or a scan),
    `overlay_in_pixels` (drawn in spare bits of the pixels, as older machines do: they are cleared,
    but what was drawn there was often drawn into the picture as well). And `table_left_out`: a
    lookup table was left out that is no curve and may be a text; `spacing_left_out`: a pixel
    spacing that no chest X-ray has.
    """
    source, header, _ = dicom.picture(data)
    stated = patient_tags.code(source, "BurnedInAnnotation")
    found = [] if stated == "NO" else ["burned_in_yes" if stated == "YES" else "burned_in_unknown"]
    captured = patient_tags.code(source, "Modality") in ("SC", "OT")
    if captured or patient_tags.uid(source, "SOPClassUID").startswith(_SECONDARY):
        found.append("secondary_capture")
    groups = {tag.group for tag in source.keys() if tag.element == 0x0010}  # noqa: SIM118 tags alone
    drawn = [group for group in groups if 0x6000 <= group <= 0x601E]  # overlays: their rows
    if any((group, 0x3000) not in source for group in drawn):
        found.append("overlay_in_pixels")
    if any(_has_odd_table(source, header, keyword) for keyword in _ranges(source, header)):
        found.append("table_left_out")
    if _wrong_spacings(source, header, spacing_is_wrong):
        found.append("spacing_left_out")
    return found


def _pairs(source: Dataset) -> dict[str, tuple[float, float]]:
    """The pixel spacings of a file, mm from row to row and from column to column."""
    several = {name: [float(v) for v in _values(source, name, _decimal)] for name in _SPACINGS}
    return {name: (pair[0], pair[1]) for name, pair in several.items() if len(pair) == 2}


def _wrong_spacings(source: Dataset, header: PictureHeader, each: bool) -> list[str]:
    """The spacings by which the picture would not be as large as a chest X-ray, or each of them."""
    return [
        name
        for name, (row, column) in _pairs(source).items()
        if each or not facts.is_plausible(row, column, header.rows, header.columns)
    ]


def _keep_proportions(new: Dataset, source: Dataset, wrong: list[str]) -> None:
    """State a pixel's height to its width where the spacings that did are all left out."""
    if not wrong or any(name in new for name in _SPACINGS):
        return
    row, column = _pairs(source)[wrong[0]]
    if min(row, column) <= 0 or not 0.01 <= row / column <= 100:
        return  # a mistake, and readers of spacings leave it out
    ratio = Fraction(row / column).limit_denominator(1000)
    new.PixelAspectRatio = [ratio.numerator, ratio.denominator]


def _dataset(
    source: Dataset, header: PictureHeader, identity: Identity, spacing_is_wrong: bool
) -> Dataset:
    new = Dataset()
    _identify(new, source, identity)
    for keyword in _WHOLE:
        _keep(new, keyword, _values(source, keyword, int))
    sign = values.number(source, "PixelIntensityRelationshipSign")
    if sign in (1, -1):
        new.PixelIntensityRelationshipSign = int(sign)
    for keyword in _OF_PIXELS:
        value = values.word(source, keyword, header.signed)
        if value is not None:
            new.add(DataElement(keyword, "SS" if header.signed else "US", value))
    wrong = _wrong_spacings(source, header, spacing_is_wrong)
    for keyword in _DECIMAL:
        if keyword not in wrong:
            _keep(new, keyword, _values(source, keyword, _decimal))
    _keep_proportions(new, source, wrong)
    for keyword, allowed in _WORDS.items():
        code = patient_tags.code(source, keyword)
        if code in allowed:
            setattr(new, keyword, code)
    new.Modality = new.get("Modality", "OT")
    types = ({"ORIGINAL", "DERIVED"}, {"PRIMARY", "SECONDARY"})
    image_type = [value.upper() for value in _values(source, "ImageType", str)][:2]
    if len(image_type) == 2 and all(a in b for a, b in zip(image_type, types, strict=True)):
        new.ImageType = image_type
    directions = _values(source, "PatientOrientation", str)
    if len(directions) == 2 and all(_ORIENTATION.fullmatch(value) for value in directions):
        new.PatientOrientation = directions
    shapes = values.words(source, "ShutterShape")
    if shapes and _SHUTTERS.issuperset(shapes):
        new.ShutterShape = shapes
    for keyword, ends in _ranges(source, header).items():
        tables = _tables(source, keyword, ends)
        if tables:
            setattr(new, keyword, Sequence(tables))
    if header.photometric == "PALETTE COLOR":
        for colour in ("Red", "Green", "Blue"):
            name = f"{colour}PaletteColorLookupTable"
            table = lookup_table.read(source, name, *grey_values.stored_range(header))
            if table is None or not table.is_curve:
                raise NotCleanable  # without its colours the picture can't be shown
            _write_table(new, name, table)
    return new


def _identify(new: Dataset, source: Dataset, identity: Identity) -> None:
    sop_class = patient_tags.uid(source, "SOPClassUID")
    new.SOPClassUID = sop_class if sop_class in kinds.IMAGE_CLASSES else _SECONDARY
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


def _keep(new: Dataset, keyword: str, several: list[Any]) -> None:
    if several:
        setattr(new, keyword, several if len(several) > 1 else several[0])


def _values(source: Dataset, keyword: str, convert: Callable[[str], Any]) -> list[Any]:
    """All values of an element, converted; none where one of them is not of that kind."""
    try:
        value = source.get(keyword)
        if value is None or value == "":
            return []
        several = (
            value if not isinstance(value, str | bytes) and hasattr(value, "__len__") else [value]
        )
        return [convert(str(one).strip()) for one in several][: 2 * MOST_VERTICES]
    except Exception:  # a malformed value counts as missing
        return []


def _decimal(text: str) -> str:
    """A decimal text of at most 16 characters (DICOM PS3.5 DS), or ValueError."""
    number = float(text)
    if not abs(number) < 1e15:
        raise ValueError
    return f"{number:.10g}"


def _ranges(source: Dataset, header: PictureHeader) -> dict[str, tuple[float, float]]:
    """The sequences of tables by which a picture is shown, and the range of their inputs."""
    return {
        grey_values.MODALITY: grey_values.stored_range(header),
        grey_values.VOI: grey_values.modality_range(source, header),
    }


def _tables(source: Dataset, keyword: str, ends: tuple[float, float]) -> list[Dataset]:
    """Lookup tables by which a picture is shown: numbers alone."""
    found = list[Dataset]()
    for item in _items(source, keyword):
        table = lookup_table.read(item, "LUT", *ends)
        if table is None or not table.is_curve:
            continue
        new = Dataset()
        _write_table(new, "LUT", table)
        kind = patient_tags.code(item, "ModalityLUTType")
        if kind in _WORDS["RescaleType"]:
            new.ModalityLUTType = kind
        elif keyword == grey_values.MODALITY:
            new.ModalityLUTType = "US"
        found.append(new)
    return found


def _items(source: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence that hold something."""
    try:
        return [item for item in list(source.get(keyword) or ())[:8] if len(item)]
    except Exception:
        return []


def _has_odd_table(source: Dataset, header: PictureHeader, keyword: str) -> bool:
    """Whether a table is there that is not taken over."""
    ends = _ranges(source, header)[keyword]
    return len(_items(source, keyword)) != len(_tables(source, keyword, ends))


def _write_table(new: Dataset, name: str, table: LookupTable) -> None:
    """Write a table with entries of 16 bits, and its descriptor in the VR that holds it."""
    count, first = len(table.entries), table.first
    signed = first < 0 and count < 2**15
    head = [count & 0xFFFF, first if signed else first & 0xFFFF, table.bits]
    new.add(DataElement(f"{name}Descriptor", "SS" if signed else "US", head))
    if count < 2**15:
        new.add(DataElement(f"{name}Data", "US", list(table.entries)))
    else:  # too long for a VR with two bytes of length
        data = struct.pack(f"<{count}H", *table.entries)
        new.add(DataElement(f"{name}Data", "OW", data))
