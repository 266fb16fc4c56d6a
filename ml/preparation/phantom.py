"""Synthetic frontal chest X-rays with a pneumothorax of known geometry.

They show no patient, so they can be used where an X-ray cannot: in tests, in the demo, in the
documentation. ``draw`` makes one from a seed; ``dicom`` and ``png`` write it as a file.

The pleural cavity's shadow and the collapsed lung are the same shape, the latter moved towards
the hilum by ``width_mm``. The air between them is therefore a crescent over apex and side wall
whose greatest thickness is exactly that width.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from tqdm import tqdm

from ml import cli_options
from ml.errors import BadInput
from ml.images import overlay
from ml.images.picture import Spacing
from ml.preparation import phantom_anatomy

Side = Literal["right", "left"]
SpacingTag = Literal["none", "detector", "calibrated", "corrected"]

BITS = 12
# Unit vector from the upper side wall to the hilum, for the patient's right (picture's left).
_INWARD = np.array([0.8, 0.6])
_CR = "1.2.840.10008.5.1.4.1.1.1"
_DX = "1.2.840.10008.5.1.4.1.1.1.1"


@dataclass(frozen=True)
class Phantom:
    """A drawn picture and its ground truth.

    ``pixels`` uint16 of 12 bits, more is denser; ``mask`` and ``lungs`` (both cavities together)
    bool; all (rows, columns). ``area_mm2`` counts the mask's pixels.
    """

    pixels: NDArray[np.uint16]
    mask: NDArray[np.bool_]
    lungs: NDArray[np.bool_]
    spacing: Spacing
    side: Side | None
    width_mm: float
    area_mm2: float
    seed: int


def draw(
    seed: int,
    side: Side | None = "right",
    width_mm: float = 20.0,
    rows: int = 1024,
    columns: int = 1024,
    field_mm: float = 370.0,
) -> Phantom:
    """One chest of which ``field_mm`` fit into the picture's longer side.

    side: where the pneumothorax is, None for none. The same arguments give the same picture.
    """
    if side is not None and width_mm <= 0:
        raise ValueError("a pneumothorax has a width")
    random = np.random.default_rng(seed)
    mm = field_mm / max(rows, columns)
    canvas = phantom_anatomy.Canvas(rows, columns, mm, stature=float(random.uniform(1.12, 1.2)))
    outlines = {name: phantom_anatomy.lung_outline(name) for name in ("right", "left")}
    fields = {name: canvas.fill(outline) for name, outline in outlines.items()}
    mask = np.zeros((rows, columns), np.bool_)
    if side is not None:
        inward = _INWARD * ((1, 1) if side == "right" else (-1, 1))
        # Divided by the stature: the drawing is scaled, the width is in real millimetres.
        lung = canvas.fill(outlines[side] + inward * width_mm / canvas.stature)
        mask = _largest(fields[side] & ~lung)
    moved = np.zeros(2) if side is None else inward * width_mm / mm
    pixels = _film(canvas, random, list(fields.values()), mask, moved)
    return Phantom(
        pixels=pixels,
        mask=mask,
        lungs=fields["right"] | fields["left"],
        spacing=Spacing(mm, mm, "detector"),
        side=side,
        width_mm=width_mm if side else 0.0,
        area_mm2=float(mask.sum()) * mm * mm,
        seed=seed,
    )


def _largest(field: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The crescent itself, without slivers where the two outlines run along each other."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(field.astype(np.uint8), connectivity=4)
    if len(stats) < 2:
        return field
    chosen: NDArray[np.bool_] = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return chosen


def _film(
    canvas: phantom_anatomy.Canvas,
    random: np.random.Generator,
    fields: list[NDArray[np.bool_]],
    mask: NDArray[np.bool_],
    moved: phantom_anatomy.Points,
) -> NDArray[np.uint16]:
    """Add up what rays pass and turn it into grey values with noise, as a CR reader does.

    moved: how far the collapsed lung is from its place, px (x, y).
    """
    air = canvas.blur(mask.astype(np.float32), 0.4)
    cavity = np.logical_or.reduce(fields)
    lung = np.clip(canvas.blur(cavity.astype(np.float32), 0.6) - air, 0, 1)
    # The visceral pleura is thin, but a ray along it passes a centimetre or two of it.
    inner = cv2.erode(cavity.astype(np.uint8), np.ones((5, 5), np.uint8))
    pleura = canvas.blur((canvas.border(mask) & (inner > 0)).astype(np.float32), 0.35)
    water = phantom_anatomy.body(canvas) - phantom_anatomy.lungs(canvas, fields)
    water += phantom_anatomy.mediastinum(canvas) * np.clip(water / 4, 0, 1)
    water += phantom_anatomy.bones(canvas, random)
    vessels = phantom_anatomy.markings(canvas, random)
    for field in fields:
        if (field & mask).any():  # the collapsed lung takes its vessels along
            shift = np.array([[1, 0, moved[0]], [0, 1, moved[1]]], dtype=np.float32)
            collapsed = cv2.warpAffine(vessels, shift, vessels.shape[::-1])
            vessels = np.where(field, collapsed, vessels)
    water += vessels * lung
    # Air instead of lung: what was left of the lung there is gone, too.
    water -= 0.6 * air
    water += 2.0 * pleura
    coarse = random.standard_normal((canvas.rows // 8 + 2, canvas.columns // 8 + 2))
    cloud = cv2.resize(coarse.astype(np.float32), (canvas.columns, canvas.rows))
    water += 0.5 * canvas.blur(cloud, 2.5) * lung
    water = np.maximum(water, 0)
    # Fewer quanta pass where there is more tissue, so noise grows with it.
    grain = canvas.blur(random.standard_normal(water.shape).astype(np.float32), 0.25)
    water += grain * (0.1 + 0.022 * water)
    # Display curve: a gentle S with its middle at lung and rib.
    grey = 1 / (1 + np.exp(-(water - 10.8) / 3.9))
    top = 2**BITS - 1
    pixels: NDArray[np.uint16] = np.clip(np.rint(grey * top), 0, top).astype(np.uint16)
    return pixels


def png(phantom: Phantom, bits: Literal[8, 16] = 8) -> bytes:
    """The picture as a grey PNG of 8 or 16 bits."""
    shift = BITS - 8
    pixels = (phantom.pixels >> shift).astype(np.uint8) if bits == 8 else phantom.pixels << 4
    ok, encoded = cv2.imencode(".png", pixels)
    if not ok:
        raise RuntimeError("the picture could not be encoded")
    return encoded.tobytes()


def dicom(
    phantom: Phantom,
    *,
    modality: Literal["CR", "DX"] = "DX",
    bits: Literal[8, 12] = 12,
    photometric: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME2",
    spacing_tag: SpacingTag = "detector",
    view: str = "PA",
    body_part: str = "CHEST",
    orientation: tuple[str, str] | None = ("L", "F"),
    patient_name: str = "PHANTOM^CHEST",
    patient_id: str = "PHANTOM",
    patient_age: str = "045Y",
    patient_sex: str = "O",
    study_date: str = "20260101",
    study_uid: str | None = None,
    window: bool = True,
) -> bytes:
    """The picture as a DICOM file, explicit VR little endian, with new UIDs at every call.

    spacing_tag: 'detector' writes ImagerPixelSpacing, 'corrected' adds a magnification of 1.1 to
    a detector spacing larger by as much, 'calibrated' writes PixelSpacing with its type.
    """
    rows, columns = phantom.pixels.shape
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(_CR if modality == "CR" else _DX)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SpecificCharacterSet = "ISO_IR 192"
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    file.StudyInstanceUID = study_uid or generate_uid()
    file.SeriesInstanceUID = generate_uid()
    file.Modality = modality
    file.StudyDate = study_date
    file.StudyTime = "120000"
    file.AccessionNumber = ""
    file.ReferringPhysicianName = ""
    file.StudyID, file.SeriesNumber, file.InstanceNumber = "1", 1, 1
    file.PatientName, file.PatientID = patient_name, patient_id
    file.PatientBirthDate, file.PatientSex = "", patient_sex
    file.PatientAge = patient_age
    file.BodyPartExamined, file.ViewPosition = body_part, view
    if orientation:
        file.PatientOrientation = list(orientation)
    if modality == "DX":
        file.PresentationIntentType = "FOR PRESENTATION"
        inverse = photometric == "MONOCHROME1"
        file.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    file.BurnedInAnnotation = "NO"
    file.ImageType = ["DERIVED", "SECONDARY"]
    _write_spacing(file, phantom.spacing, spacing_tag)
    top = 2**bits - 1
    stored = phantom.pixels >> (BITS - bits)
    if photometric == "MONOCHROME1":
        stored = top - stored
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, photometric
    file.Rows, file.Columns = rows, columns
    file.BitsAllocated = 8 if bits == 8 else 16
    file.BitsStored, file.HighBit, file.PixelRepresentation = bits, bits - 1, 0
    if window:
        file.WindowCenter, file.WindowWidth = 2 ** (bits - 1), 2**bits
    data = stored.astype(np.uint8 if bits == 8 else "<u2").tobytes()
    file.add_new("PixelData", "OB" if bits == 8 else "OW", data + b"\0" * (len(data) % 2))
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _write_spacing(file: FileDataset, spacing: Spacing, tag: SpacingTag) -> None:
    pair = [round(spacing.row_mm, 6), round(spacing.column_mm, 6)]
    if tag == "calibrated":
        file.PixelSpacing = pair
        file.PixelSpacingCalibrationType = "FIDUCIAL"
    elif tag == "corrected":
        file.ImagerPixelSpacing = [round(value * 1.1, 6) for value in pair]
        file.EstimatedRadiographicMagnificationFactor = "1.1"
    elif tag == "detector":
        file.ImagerPixelSpacing = pair


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument(
        "--count",
        type=cli_options.within(int, 1, 10**6),
        default=4,
        help="how many pictures (default 4)",
    )
    parser.add_argument(
        "--seed",
        type=cli_options.within(int, 0),
        default=1,
        help="of the first picture (default 1)",
    )
    parser.add_argument(
        "--width-mm",
        type=cli_options.within(float, 1, 60),
        nargs=2,
        default=(10.0, 40.0),
        metavar=("LEAST", "MOST"),
        help="greatest thickness of the air (default 10 to 40)",
    )
    parser.add_argument("--study-date", default="20260101", help="of the exams, as YYYYMMDD")
    parser.add_argument("--png", action="store_true", help="write PNG instead of DICOM")


def run(args: argparse.Namespace) -> int:
    """Write pictures, their masks and truth.json; every third has no pneumothorax."""
    least, most = args.width_mm
    if least > most:
        raise BadInput(f"--width-mm: {least:g} is more than {most:g}")
    args.out.mkdir(parents=True, exist_ok=True)
    truth = {}
    for index in tqdm(range(args.count), desc="drawing", unit="picture", disable=None):
        seed = args.seed + index
        random = np.random.default_rng(seed)
        side: Side | None = None if index % 3 == 2 else "right" if index % 3 == 0 else "left"
        phantom = draw(seed, side, width_mm=round(float(random.uniform(least, most)), 1))
        name = f"phantom-{seed:03d}"
        if args.png:
            (args.out / f"{name}.png").write_bytes(png(phantom))
        else:
            data = dicom(
                phantom,
                patient_name=f"PHANTOM^{seed:03d}",
                patient_id=name.upper(),
                study_date=args.study_date,
            )
            (args.out / f"{name}.dcm").write_bytes(data)
        # Not .mask.png: that is the name under which `predict` writes what it found.
        (args.out / f"{name}.truth.png").write_bytes(overlay.mask_png(phantom.mask))
        truth[name] = {
            "side": phantom.side,
            "width_mm": phantom.width_mm,
            "area_mm2": round(phantom.area_mm2, 1),
            "spacing_mm": phantom.spacing.row_mm,
        }
    (args.out / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")
    print(f"{args.count} pictures in {args.out}")
    return 0
