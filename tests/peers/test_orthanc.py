"""Orthanc takes a film and gives it back by DICOMweb; OHIF shows it in the browser."""

from __future__ import annotations

import io
from collections.abc import Iterator

import httpx2
import numpy as np
import pydicom
import pytest
from playwright.sync_api import Browser

from benchmarks.peers import ohif, orthanc
from benchmarks.viewer import page_load
from ml.preparation import phantom

FAST = page_load.Network("none", 10_000, 0)


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[orthanc.Orthanc]:
    """An Orthanc without films."""
    missing = orthanc.missing()
    if missing:
        pytest.skip(missing)
    with orthanc.orthanc(tmp_path_factory.mktemp("pacs") / "orthanc") as started:
        yield started


def test_a_film_comes_back_by_dicomweb_with_the_same_pixels(pacs: orthanc.Orthanc) -> None:
    drawn = phantom.draw(1, "right", width_mm=25, rows=300, columns=250)
    data = phantom.dicom(drawn)
    sent = pydicom.dcmread(io.BytesIO(data))
    pacs.store(data)
    studies = f"{pacs.url}/dicom-web/studies"
    found = httpx2.get(studies, headers={"Accept": "application/dicom+json"}).json()
    assert [one["0020000D"]["Value"] for one in found] == [[sent.StudyInstanceUID]]
    path = (
        f"{sent.StudyInstanceUID}/series/{sent.SeriesInstanceUID}/instances/{sent.SOPInstanceUID}"
    )
    answer = httpx2.get(
        f"{studies}/{path}/frames/1",
        headers={"Accept": 'multipart/related; type="application/octet-stream"'},
    )
    assert answer.status_code == 200
    assert sent.PixelData.rstrip(b"\0") in answer.content


@pytest.mark.browser
def test_ohif_shows_a_film_of_it(pacs: orthanc.Orthanc, browser: Browser) -> None:
    missing = ohif.missing()
    if missing:
        pytest.skip(missing)
    drawn = phantom.draw(2, "left", width_mm=25, rows=720, columns=640)
    film = phantom.dicom(drawn, study_uid="1.2.3.4.777")
    pacs.store(film)
    shown = pydicom.dcmread(io.BytesIO(film)).pixel_array
    looks = (shown / shown.max() * 255).astype(np.uint8)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(page_load.NOTE)
    with ohif.ohif(pacs.url) as viewer:
        watched = page_load.Watched(context, FAST)
        load = watched.load(f"{viewer}/viewer?StudyInstanceUIDs=1.2.3.4.777", looks)
    context.close()
    assert 0 < load.first_picture < load.full_depth + 2000
    assert load.script_bytes > load.script_bytes_sent > 1_000_000
