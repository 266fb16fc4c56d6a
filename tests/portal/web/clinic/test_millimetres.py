"""Sizes in mm, from the file to page, API, export and drift: only by a plausible pixel spacing.

Drawn chests, read and analysed by the shipped model as workers do it.
"""

import io
import json
import re
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pydicom
import pytest
from flask import Flask

from portal.accounts import sessions
from portal.cli import ai_models
from portal.intake import submission
from portal.models import JobKind, User
from tests.support.people import Person
from tests.support.portal_app import HttpWorker, core_of, job_of, make_token, post, sign_in

pytest.importorskip("openvino", reason="openvino is not installed")
from ml.images import overlay, reader
from ml.inference import serving
from ml.inference.predict import predict
from ml.metrics import recent_predictions
from ml.preparation import phantom

LENGTH = re.compile(r"\d\s?(?:mm|cm²|mm²)")
DRAWN_MM = 35.0


@pytest.fixture(scope="module")
def model() -> serving.Serving:
    return serving.open(device="cpu", threads=1)


def analysed(
    app: Flask, person: Person, model: serving.Serving, field_mm: float, border_px: int
) -> UUID:
    """A chest whose header's spacing gives it a field of this size, after both jobs.

    border_px: how much more than the chest is on the film, on each side.
    """
    core, now = core_of(app), app.extensions["pleura"].clock()
    drawn = phantom.draw(22, "left", DRAWN_MM, rows=512, columns=512)
    drawn = replace(drawn, pixels=np.pad(drawn.pixels, border_px))
    header = pydicom.dcmread(io.BytesIO(phantom.dicom(drawn)))
    header.ImagerPixelSpacing = [field_mm / len(drawn.pixels)] * 2
    stream = io.BytesIO()
    header.save_as(stream)
    with core.sessions() as session:
        actor = sessions.actor_of(session.get_one(User, person.id))
        sent = submission.submit(session, core.vault, actor, "x.dcm", stream.getvalue(), now)
    picture = reader.read(stream.getvalue())
    found = predict(picture, model)
    assert found.mask is not None
    assert found.probability_map is not None
    render = {"pixels": picture.canonical(), "preview": reader.preview(picture)}
    segment = {"probability": found.probability_map.tobytes()}
    for kind, outputs, result in (
        (JobKind.RENDER, {**render, "thumb": reader.thumb(picture)}, {"facts": picture.facts()}),
        (
            JobKind.SEGMENT,
            {**segment, "mask": overlay.mask_png(found.mask)},
            {"prediction": json.loads(json.dumps(found.facts()))},
        ),
    ):
        worker, job = HttpWorker(app), job_of(app, sent.study_id, kind)
        ticket = worker.claim(job).get_json()["ticket"]
        assert {answer.status_code for answer in worker.store(job, ticket, outputs)} == {204}
        assert worker.finish(job, ticket, result).status_code == 204
    return sent.study_id


def lengths(found: Any, name: str = "") -> Iterator[str]:
    """The names of all values in mm that are there."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from lengths(value, key)
    elif isinstance(found, list):
        for value in found:
            yield from lengths(value, name)
    elif found is not None and name.split("_")[-1] in ("mm", "mm2"):
        yield name


@pytest.mark.parametrize(
    ("field_mm", "border_px", "plausible"),
    [
        (370.0, 0, True),
        (146.4, 0, False),  # reduced after acquisition: no chest fits into the field
        (256.0, 80, False),  # the field would do, but the lungs in it are no adult's
    ],
)
def test_sizes_are_in_mm_everywhere_or_nowhere(
    app: Flask,
    reader: Person,
    model: serving.Serving,
    field_mm: float,
    border_px: int,
    plausible: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = analysed(app, reader, model, field_mm, border_px)
    client = sign_in(app, reader)
    page, rows = client.get(f"/studies/{study}").text, client.get("/worklist").text
    assert ("Spacing not plausible" in page) is not plausible
    assert (f"{field_mm / 512:.3f} mm (at the detector)" in page) is plausible
    assert bool(LENGTH.search(page)) is plausible
    assert plausible or not LENGTH.search(rows)

    header = {"Authorization": f"Bearer {make_token(app, reader, 'studies:read')}"}
    case = app.test_client().get(f"/api/v1/studies/{study}", headers=header).get_json()
    measured = case["prediction"]["measurements"]
    if plausible:
        # The network's outline, not the drawn one.
        assert measured["distance_mm"] == pytest.approx(DRAWN_MM, abs=12)
        assert case["result"]["distance_mm"] == measured["distance_mm"]
        assert {"distance_mm", "area_mm2", "row_mm", "mm"} <= set(lengths(case))
    else:
        assert set(lengths(case)) == set()
        assert measured["spacing_problem"] == "not_plausible"

    export = f"/studies/{study}/export"
    with zipfile.ZipFile(io.BytesIO(post(client, export, page=export).data)) as archive:
        result = json.loads(archive.read("result.json"))
        picture = pydicom.dcmread(io.BytesIO(archive.read("image.dcm")))
        manifest = json.loads(archive.read("manifest.json"))
    assert bool(set(lengths(result))) is ("ImagerPixelSpacing" in picture) is plausible
    assert ("spacing_left_out" in manifest["warnings"]) is not plausible

    services = app.extensions["pleura"]
    for name, value in {
        "PLEURA_ENV": "test",
        "PLEURA_DATA_DIR": str(services.settings.data_dir),
        "DATABASE_URL": services.settings.database_url,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ai_models, "now", services.clock)
    assert ai_models._statistics(Namespace(sha256=model.card["sha256"][:12], days=1.0)) == 0
    stored = tmp_path / "recent.jsonl"
    stored.write_text(capsys.readouterr().out)
    assert set(lengths(json.loads(stored.read_text()))) == set()
    summary = recent_predictions.read(stored, model.card["sha256"]).summary
    assert ("spacing is not plausible" in summary) is not plausible
