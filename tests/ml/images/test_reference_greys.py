"""Greys as the viewer draws them at first, beside pydicom's own transformations of the same header.

Photometric interpretation x PresentationLUTShape x kind of window or table x bits x sign. Compared
by hash: every pixel is equal. Where photometric interpretation and shape contradict each other
(PS3.3 C.8.11.3.1 allows only MONOCHROME1 with INVERSE and MONOCHROME2 with IDENTITY), the former
decides.
"""

import hashlib
import io
import itertools
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from ml.images.reader import read
from tests.support.pictures import dicom, to_greys

BITS = (8, 10, 12, 15, 16)
KINDS = ("linear", "linear exact", "sigmoid", "VOI table", "modality table", "rescaled")
SIZE = 64


def stored_values(bits: int, signed: bool) -> NDArray[np.int64]:
    """Values over the whole range that the bits can hold, the ends included."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = np.random.default_rng(bits).integers(low, high + 1, (SIZE, SIZE))
    values[0, :2] = low, high
    return values


def table(entries: int, first: int, depth: int, signed: bool) -> Dataset:
    """A rising curve of a lookup table."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [entries % 65536, first, depth])
    rising = np.linspace(0, 1, entries) ** 1.7 * (2**depth - 1)
    item.add_new("LUTData", "OW", rising.astype("<u2").tobytes())
    return item


def header(kind: str, bits: int, signed: bool) -> dict[str, Any]:
    """The elements of one kind of transformation; none of them maps a value to half a grey."""
    low = -(2 ** (bits - 1)) if signed else 0
    span = 2**bits
    entries = min(span, 4096)
    middle = {"WindowCenter": low + span * 0.45, "WindowWidth": span * 0.613}
    return {
        "linear": middle,
        "linear exact": middle | {"VOILUTFunction": "LINEAR_EXACT"},
        "sigmoid": middle | {"VOILUTFunction": "SIGMOID"},
        "VOI table": {
            "VOILUTSequence": Sequence([table(entries, low + span // 8, 12, signed)]),
        },
        "modality table": {
            "ModalityLUTSequence": Sequence([table(entries, low + span // 8, 16, signed)]),
            "WindowCenter": 28000.3,
            "WindowWidth": 37345.6,
        },
        "rescaled": {
            "RescaleSlope": "0.37",
            "RescaleIntercept": "-12.5",
            "WindowCenter": (low + span * 0.45) * 0.37 - 12.5,
            "WindowWidth": span * 0.613 * 0.37,
            "VOILUTFunction": "LINEAR_EXACT",
        },
    }[kind]


def picture(kind: str, bits: int, signed: bool, photometric: str, shape: str | None) -> bytes:
    """A file with these elements."""
    small = bits == 8
    kinds = (np.int8, np.uint8) if small else (np.int16, np.uint16)
    values = stored_values(bits, signed).astype(kinds[0] if signed else kinds[1])
    return dicom(
        rows=SIZE,
        columns=SIZE,
        pixels=values.tobytes(),
        BitsAllocated=8 if small else 16,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(signed),
        PhotometricInterpretation=photometric,
        PresentationLUTShape=shape,
        **{key: rounded(value) for key, value in header(kind, bits, signed).items()},
    )


def rounded(value: Any) -> Any:
    """Numbers with at most the 16 characters of a decimal string."""
    return f"{value:.8g}" if isinstance(value, float) else value


def as_drawn(data: bytes) -> NDArray[np.uint8]:
    """As static/js/viewer/windowing.js draws the picture before anything is changed."""
    seen = read(data)
    top = 2**seen.bits - 1
    centre, width = seen.windows[0][:2] if seen.windows else (top / 2, top)
    return to_greys(seen.pixels.astype(float), centre - width / 2, centre + width / 2)


def as_pydicom_has_it(data: bytes, kind: str, bits: int) -> NDArray[np.uint8]:
    """By pydicom's functions, to 8 bits in the end."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    # Of 32 bits, as pydicom subtracts in the type that it is given.
    values = apply_modality_lut(dataset.pixel_array.astype(np.int32), dataset)
    depth = {"VOI table": 12, "modality table": 16}.get(kind, bits)
    low, high = 0.0, 2.0**depth - 1
    values = apply_voi_lut(values, dataset)
    if not kind.endswith("table"):
        low, high = output_range(dataset, bits)
    greys = to_greys(values.astype(float), low, high)
    return 255 - greys if dataset.PhotometricInterpretation == "MONOCHROME1" else greys


def output_range(dataset: Dataset, bits: int) -> tuple[float, float]:
    """Between which values pydicom's window ends: those of the stored bits after rescaling."""
    low, high = 0.0, 2.0**bits - 1
    if dataset.PixelRepresentation:
        low, high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    slope = float(dataset.get("RescaleSlope", 1))
    intercept = float(dataset.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", KINDS)
def test_first_greys_are_those_of_pydicom(kind: str, bits: int, signed: bool) -> None:
    differing = []
    for photometric, shape in itertools.product(
        ("MONOCHROME1", "MONOCHROME2"), (None, "IDENTITY", "INVERSE")
    ):
        data = picture(kind, bits, signed, photometric, shape)
        drawn, expected = as_drawn(data), as_pydicom_has_it(data, kind, bits)
        if hashlib.sha256(drawn).digest() != hashlib.sha256(expected).digest():
            off = np.abs(drawn.astype(int) - expected.astype(int))
            differing.append((photometric, shape, int((off > 0).sum()), int(off.max())))
    assert not differing
    assert np.unique(drawn).size > 50  # what is compared is a picture
