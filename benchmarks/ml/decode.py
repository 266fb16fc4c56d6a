"""Time to read the same picture in each transfer syntax, and as PNG and JPEG.

    python benchmarks/ml/decode.py [--repeats 9] FILE...

Each DICOM file is written again in every syntax that its bits allow; then the files of one picture
take turns. Timed is `ml.images.reader.read`: header, decoding, grey scale, everything that a render
worker does before it writes. Lossless syntaxes must give the same pixels, or the benchmark stops.
Prints medians over all pictures and repeats, beside the size of a file and megapixels per second.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import gdcm
import numpy as np
import pydicom
from openjpeg.utils import encode_array
from pydicom import uid
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate

from ml.images.reader import Unreadable, read


class NotWritten(Exception):
    """A picture that an encoder does not take; the text names it."""


def written(dataset: FileDataset, implicit: bool = False) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, implicit_vr=implicit, little_endian=True, enforce_file_format=True)
    return file.getvalue()


def plain(dataset: FileDataset, syntax: uid.UID) -> bytes:
    dataset.file_meta.TransferSyntaxUID = syntax
    return written(dataset, syntax.is_implicit_VR)


def with_stream(dataset: FileDataset, syntax: uid.UID, stream: bytes) -> bytes:
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    return written(dataset)


def by_gdcm(dataset: FileDataset, syntax: gdcm.TransferSyntax) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.dcm", Path(folder) / "after.dcm"
        before.write_bytes(plain(dataset, uid.ExplicitVRLittleEndian))
        reader = gdcm.ImageReader()
        reader.SetFileName(str(before))
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(syntax)
        if not reader.Read():
            raise NotWritten("GDCM does not read it")
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise NotWritten("GDCM does not compress it")
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(after))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        if not writer.Write():
            raise NotWritten("GDCM does not write it")
        return after.read_bytes()


def compressed(dataset: FileDataset, syntax: uid.UID, by: str) -> bytes:
    dataset.compress(syntax, encoding_plugin=by, generate_instance_uid=False)
    return written(dataset)


def variants(dataset: FileDataset) -> Iterator[tuple[str, bool, Callable[[], bytes]]]:
    """(name, lossless, how it is written) of each syntax that the picture's bits allow."""
    values = dataset.pixel_array

    def fresh() -> FileDataset:
        return copy.deepcopy(dataset)

    yield "implicit VR little endian", True, lambda: plain(fresh(), uid.ImplicitVRLittleEndian)
    yield "explicit VR little endian", True, lambda: plain(fresh(), uid.ExplicitVRLittleEndian)
    yield "RLE lossless", True, lambda: compressed(fresh(), uid.RLELossless, "pydicom")
    yield "JPEG-LS lossless", True, lambda: compressed(fresh(), uid.JPEGLSLossless, "pyjpegls")
    yield (
        "JPEG lossless (process 14, SV1)",
        True,
        lambda: by_gdcm(fresh(), gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1)),
    )
    yield (
        "JPEG 2000 lossless",
        True,
        lambda: with_stream(
            fresh(),
            uid.JPEG2000Lossless,
            encode_array(values, bits_stored=dataset.BitsStored, photometric_interpretation=2),
        ),
    )
    if dataset.BitsStored == 8:
        yield (
            "JPEG baseline (8 bit)",
            False,
            lambda: with_stream(
                fresh(), uid.JPEGBaseline8Bit, cv2.imencode(".jpg", values)[1].tobytes()
            ),
        )
        yield "JPEG, no DICOM", False, lambda: cv2.imencode(".jpg", values)[1].tobytes()
    yield "PNG, no DICOM", False, lambda: cv2.imencode(".png", values)[1].tobytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    seconds: dict[tuple[str, int], list[float]] = {}
    bytes_of: dict[tuple[str, int], list[int]] = {}
    pixels_of: dict[tuple[str, int], list[int]] = {}
    for path in options.files:
        try:
            dataset = pydicom.dcmread(path)
            if dataset.file_meta.TransferSyntaxUID.is_compressed:
                dataset.decompress()
            expected = read(written(dataset)).pixels
        except (pydicom.errors.InvalidDicomError, Unreadable, OSError) as error:
            print(f"left out: {path.name}: {error}", file=sys.stderr)
            continue
        files = {}
        for name, lossless, write in variants(dataset):
            try:
                files[name] = write()
            except NotWritten as error:
                print(f"{path.name}: no {name}: {error}", file=sys.stderr)
                continue
            found = read(files[name]).pixels
            assert found.shape == expected.shape, f"{name} has another shape"
            if lossless:
                np.testing.assert_array_equal(found, expected, err_msg=name)
        for _ in range(options.repeats):
            for name, data in files.items():
                key = (name, int(dataset.BitsStored))
                began = time.perf_counter()
                read(data)
                seconds.setdefault(key, []).append(time.perf_counter() - began)
                bytes_of.setdefault(key, []).append(len(data))
                pixels_of.setdefault(key, []).append(expected.size)
    result = [
        {
            "syntax": name,
            "bits": bits,
            "ms": round(1e3 * statistics.median(times), 1),
            "file_mb": round(statistics.median(bytes_of[name, bits]) / 1e6, 2),
            "megapixels_per_s": round(sum(pixels_of[name, bits]) / 1e6 / sum(times), 1),
        }
        for (name, bits), times in seconds.items()
    ]
    print(json.dumps(result, indent=2))
    return 0 if result else 1


if __name__ == "__main__":
    raise SystemExit(main())
