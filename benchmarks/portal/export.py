"""Processor time of an export: of one picture without its patient, and of packing it.

    python -m benchmarks.portal.export

A film of 2500 × 2048 pixels of 12 bits with noise, native and in RLE: the time that the confined
process takes for both its questions, and what storing and deflating it takes.
"""

from __future__ import annotations

import io
import sys
import time
import zipfile

import numpy as np
import pydicom
from pydicom.uid import RLELossless

from portal.exchange import deidentified_export
from portal.formats.header_pool import Work
from portal.formats.limited_work import LimitedWork
from tests.support.pictures import dicom

_UIDS = {"study": "2.25.1", "series": "2.25.2", "instance": "2.25.3"}
_ASKED = {"what": "export", "uids": _UIDS, "pseudonym": "PLR1", "number": 1}


def main() -> int:
    rows, columns = 2500, 2048
    noise = np.random.default_rng(1).normal(0, 25, (rows, columns))
    slope = np.add.outer(np.arange(rows) / 2, np.arange(columns) / 2)
    values = np.clip(slope + noise, 0, 4095).astype(np.uint16)
    plain = dicom(rows=rows, columns=columns, pixels=values.tobytes())
    work = LimitedWork(deidentified_export.MODULE)
    for name, syntax in (("native", None), ("RLE", RLELossless)):
        data = plain
        if syntax is not None:
            file, stream = pydicom.dcmread(io.BytesIO(plain)), io.BytesIO()
            file.compress(syntax, generate_instance_uid=False)
            file.save_as(stream)
            data = stream.getvalue()
        spent = Work()
        with work.turn() as ask:
            ask({"what": "uids"}, data)  # the first one of a process takes longer
            ask({"what": "uids"}, data, spent)
            made = ask({**_ASKED, "spacing_is_wrong": False}, data, spent)["body"]
        stored, deflated = (
            _packing(made, way) for way in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        )
        print(
            f"{name}: {len(data) / 1e6:.1f} MB, made in {spent.seconds:.2f} s; stored in "
            f"{stored[0]:.2f} s, deflated in {deflated[0]:.2f} s to {deflated[1]:.0%}"
        )
    work.close()
    return 0


def _packing(data: bytes, way: int) -> tuple[float, float]:
    began, stream = time.process_time(), io.BytesIO()
    with zipfile.ZipFile(stream, "w", way) as archive:
        archive.writestr("image.dcm", data)
    return time.process_time() - began, len(stream.getvalue()) / len(data)


if __name__ == "__main__":
    sys.exit(main())
