"""A Secondary Capture: the picture with outline, result, version and research line burned in.

Many a viewer shows nothing else of a result. No text that is burned in names a patient.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

from worker.contract.contents.object_content import ObjectKind, Outcome
from worker.encode import codes
from worker.encode.parts import Parts, plain, rings, stamp

Colour = tuple[int, int, int]
_AI: Final[Colour] = (0, 179, 164)
_READER: Final[Colour] = (245, 166, 35)
_EDGE: Final[Colour] = (11, 18, 24)
# highdicom asks for one, also where the picture's is not known: then it is emptied afterwards.
_ANY_ORIENTATION: Final = ("L", "F")
# Of the longer side.
_LINE: Final = 1 / 450
_TEXT: Final = 1 / 60


def make(parts: Parts) -> SCImage:
    """The capture, of the preview's size: its longer side has at most 2048 pixels."""
    grey = cv2.imdecode(np.frombuffer(parts.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ValueError("the picture is no JPEG")
    drawn = _with_texts(_with_outlines(np.repeat(grey[:, :, np.newaxis], 3, axis=2), parts), parts)
    made = SCImage.from_ref_dataset(
        ref_dataset=parts.image,
        pixel_array=drawn,
        photometric_interpretation="YBR_FULL_422",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=_ANY_ORIENTATION,
        transfer_syntax_uid=JPEGBaseline8Bit,
        **parts.named(ObjectKind.CAPTURE),
    )
    made.PatientOrientation = parts.image.get("PatientOrientation", "")
    made.Laterality = ""  # of the body part: none is stated where the header states none
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.LossyImageCompression = "01"
    made.LossyImageCompressionMethod = "ISO_10918_1"
    made.LossyImageCompressionRatio = f"{drawn.size / len(made.PixelData):.2f}"
    made.ImageComments = f"{parts.content.ai.headline} {parts.content.research}"
    made.DerivationDescription = "The picture with the result drawn into it"
    made.SourceImageSequence = Sequence([_source(parts)])
    stamp(made, parts)
    made.DateOfSecondaryCapture = made.ContentDate = made.InstanceCreationDate
    made.TimeOfSecondaryCapture = made.ContentTime = made.InstanceCreationTime
    return made


def _source(parts: Parts) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = parts.image.SOPClassUID
    item.ReferencedSOPInstanceUID = parts.image.SOPInstanceUID
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    item.PurposeOfReferenceCodeSequence = Sequence([purpose])
    return item


def _with_outlines(picture: NDArray[np.uint8], parts: Parts) -> NDArray[np.uint8]:
    rows, columns = picture.shape[:2]
    width = max(1, round(max(rows, columns) * _LINE))
    drawn = np.ascontiguousarray(picture)
    for outlined in parts.outlines:
        scale = np.array([columns / outlined.mask.shape[1], rows / outlined.mask.shape[0]])
        lines = [
            np.round(ring * scale * 16).astype(np.int32)[:, np.newaxis]
            for ring in rings(outlined.mask, 0.5)
        ]
        for colour, stroke in ((_EDGE, 2 * width + 1), (_AI if outlined.is_ai else _READER, width)):
            cv2.polylines(drawn, lines, True, colour, stroke, cv2.LINE_AA, shift=4)
    return drawn


def _with_texts(picture: NDArray[np.uint8], parts: Parts) -> NDArray[np.uint8]:
    """A dark band below the picture, so that no text covers any of it."""
    rows, columns = picture.shape[:2]
    size = max(11.0, max(rows, columns) * _TEXT)
    lines = _wrapped(lines_of(parts), ImageFont.load_default(size), columns - 2 * size)
    step = round(size * 1.35)
    band = round(size) + step * len(lines)
    canvas = Image.new("RGB", (columns, rows + band), _EDGE)
    canvas.paste(Image.fromarray(picture), (0, 0))
    pen = ImageDraw.Draw(canvas)
    for number, (line, colour) in enumerate(lines):
        at = (size, rows + size / 2 + number * step)
        pen.text(at, line, fill=colour, font=ImageFont.load_default(size))
    return np.asarray(canvas)


def lines_of(parts: Parts) -> list[tuple[str, Colour]]:
    """What is written below the picture, in signs that Pillow's own font has."""
    ai, white = parts.content.ai, (238, 242, 245)
    lines = [(ai.headline, white)]
    if ai.outcome is Outcome.NOT_ANALYSED:
        lines += [(reason, white) for reason in ai.reasons[:3]]
    for outlined in parts.outlines:
        lines.append((outlined.about.label, _AI if outlined.is_ai else _READER))
    if parts.content.reader and parts.content.reader.assessment:
        meant = codes.ASSESSMENTS[parts.content.reader.assessment.value].meaning
        lines.append((f"Reader: {meant.lower()}", white))
    if ai.model:
        lines.append((f"{ai.model.name} {ai.model.version}", white))
    lines.append((f"{parts.content.research} Not for diagnosis.", white))
    return [(plain(line), colour) for line, colour in lines]


def _wrapped(
    lines: list[tuple[str, Colour]],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    width: float,
) -> list[tuple[str, Colour]]:
    """Lines no wider than the picture, broken between words."""
    found = list[tuple[str, Colour]]()
    for text, colour in lines:
        line = ""
        for word in text.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                found.append((line, colour))
                longer = word
            line = longer
        found.append((line, colour))
    return found
