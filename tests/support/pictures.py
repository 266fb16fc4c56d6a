"""Small files of every accepted kind, made without an imaging library."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

CANARY = "CANARY^ZEBRA"


def to_greys(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """0 to 255 from black at `low` to white at `high`, halves upwards as the browser rounds."""
    grey = np.floor((values - low) * (255 / (high - low)) + 0.5)
    return np.clip(grey, 0, 255).astype(np.uint8)


def dicom(*, rows: int = 8, columns: int = 6, pixels: bytes | None = None, **tags: Any) -> bytes:
    """A 12-bit DX picture; `tags` override or, with None, remove elements."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = tags.pop("TransferSyntaxUID", ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1.1")
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    given: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1",
        "SOPInstanceUID": generate_uid(),
        "StudyInstanceUID": generate_uid(),
        "Modality": "DX",
        "PatientName": "PHANTOM^ONE",
        "PatientID": "P-0001",
        "PatientBirthDate": "19630501",
        "PatientSex": "F",
        "StudyDate": "20260304",
        "StudyTime": "084500",
        "AccessionNumber": "A-77",
        "StudyDescription": "Thorax",
        "ViewPosition": "PA",
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": bytes(rows * columns * 2) if pixels is None else pixels,
    } | tags
    for keyword, value in given.items():
        if value is not None:
            setattr(dataset, keyword, value)
    meta.MediaStorageSOPInstanceUID = given["SOPInstanceUID"] or generate_uid()
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OW"
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def compressed_dicom(frame: bytes, *, rows: int = 8, columns: int = 6, **tags: Any) -> bytes:
    """A DX picture whose one frame is a compressed stream."""
    return dicom(
        rows=rows,
        columns=columns,
        pixels=encapsulate([frame]),
        TransferSyntaxUID=JPEGBaseline8Bit,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        **tags,
    )


def png(
    *, rows: int = 8, columns: int = 6, depth: int = 8, colour: int = 0, extra: bytes = b""
) -> bytes:
    """A grey PNG with this size in its header; its pixels may be fewer."""
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(min(rows, 1024) * (min(columns, 1024) + 1)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def mask_png(rows: int, columns: int, runs: Sequence[tuple[int, int]]) -> bytes:
    """A mask as workers store it, with these runs of pixels inside."""
    mask = bytearray(rows * columns)
    for start, end in runs:
        mask[start:end] = b"\xff" * (end - start)
    lines = b"".join(b"\0" + mask[at : at + columns] for at in range(0, rows * columns, columns))
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in chunks)


def chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def jpeg(
    *, rows: int = 8, columns: int = 6, samples: int = 1, bits: int = 8, inside: bytes = b""
) -> bytes:
    """A JPEG with valid markers around no pixels, or around `inside`."""
    components = b"".join(bytes((index + 1, 0x11, 0)) for index in range(samples))
    frame = struct.pack(">BHHB", bits, rows, columns, samples) + components
    return (
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
        + b"\xff\xc0"
        + struct.pack(">H", len(frame) + 2)
        + frame
        + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
        + b"\x12\x34\x56"
        + inside
        + b"\xff\xd9"
    )


def picture(shade: int = 0) -> bytes:
    """A grey PNG of the size of a small X-ray; each shade is another picture."""
    rows, columns = 640, 512
    lines = b"".join(b"\0" + bytes([(row + shade) % 256]) * columns for row in range(rows))
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
