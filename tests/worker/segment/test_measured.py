"""worker.segment.measured: an outline is measured on its picture, or the job fails with a code."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from ml.images import reader
from ml.inference import measured_outline, serving
from ml.preparation import phantom
from tests.worker.client.test_portal_client import settings
from worker.client.portal_client import Attempt, PortalClient
from worker.contract import outline_runs
from worker.contract.error_codes import ErrorCode
from worker.contract.facts import Facts
from worker.contract.job import Claim, InputFile, JobKind
from worker.errors import Permanent
from worker.segment import measured
from worker.segment.segmenter import Segmenter

ROWS, COLUMNS = 360, 300


@pytest.fixture(scope="module")
def ready() -> serving.Serving:
    return serving.open(device="cpu", threads=1)


@pytest.fixture
def claimed() -> Callable[[bytes], Attempt]:
    picture = reader.read(phantom.dicom(phantom.draw(3, "right", 30, rows=ROWS, columns=COLUMNS)))
    portal = PortalClient(settings("http://127.0.0.1:9"), JobKind.SEGMENT)

    def make(runs: bytes) -> Attempt:
        inputs = {"pixels": picture.canonical(), "review_mask": runs}
        claim = Claim(
            job=uuid4(),
            kind=JobKind.MEASURE,
            attempt=1,
            ticket="",
            lease_seconds=1.0,
            soft_seconds=1.0,
            inputs={k: InputFile(bytes=len(v), media_type="a/b") for k, v in inputs.items()},
            facts=Facts.parse(picture.facts()),
        )
        return Attempt(portal, claim, inputs)

    return make


def test_a_measure_job_gives_the_numbers_of_its_outline(
    ready: serving.Serving, claimed: Callable[[bytes], Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = phantom.draw(3, "right", 30, rows=ROWS, columns=COLUMNS)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], drawn.mask.ravel().view(np.int8), [0]))))
    pairs = [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
    runs = outline_runs.encode(pairs, ROWS, COLUMNS)
    segmenter = object.__new__(Segmenter)
    segmenter._models = type("Models", (), {"choose": lambda *_: (ready, "balanced")})()  # type: ignore[assignment]
    found: Any = segmenter.do(claimed(runs))
    assert found.measurements.area_px == int(drawn.mask.sum())
    assert found.measurements.side == "right"
    picture = reader.read(phantom.dicom(drawn))
    expected = measured_outline.measure(picture, drawn.mask, ready)
    assert found.measurements.distance_mm == expected["distance_mm"]


@pytest.mark.parametrize("runs", [b"", b"\x00", bytes(9), outline_runs.encode([], COLUMNS, 2)])
def test_what_is_no_outline_of_the_picture_fails_for_good(
    ready: serving.Serving, claimed: Callable[[bytes], Attempt], runs: bytes
) -> None:
    attempt = claimed(runs)
    picture = reader.read(phantom.dicom(phantom.draw(3, "right", 30, rows=ROWS, columns=COLUMNS)))
    with pytest.raises(Permanent) as failed:
        measured.measure(attempt, picture, ready)
    assert failed.value.code is ErrorCode.OUTLINE_DOES_NOT_FIT
