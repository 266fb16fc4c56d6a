"""A result of a patient under 18, which the team allows, is marked wherever it is shown."""

import io
import json
import zipfile
from uuid import UUID

import pytest
from flask import Flask

from portal.accounts import sessions
from portal.intake import submission
from portal.models import Job, JobKind, User, db
from tests.support.people import Person
from tests.support.pictures import dicom
from tests.support.portal_app import (
    HttpWorker,
    analyse,
    core_of,
    make_study,
    make_token,
    post,
    sign_in,
)

UNDER_18 = {"code": "under_18", "message": "The patient is under 18."}
MARK = "model was made for adults"


def test_a_result_of_an_under_18_is_marked_in_lists_case_export_and_api(
    app: Flask, reader: Person
) -> None:
    adult, child = make_study(app, reader), make_study(app, reader, shade=1)
    analyse(app, adult)
    analyse(app, child, quality={"verdict": "limited", "reasons": [UNDER_18]})
    client = sign_in(app, reader)
    for page in ("/worklist", "/history?what=sent"):
        assert client.get(page).text.count("under 18: model made for adults") == 1, page
    assert f"Patient under 18: the {MARK}" in client.get(f"/studies/{child}").text
    assert "Patient under 18" not in client.get(f"/studies/{adult}").text
    token = make_token(app, reader, "studies:read")
    header = {"Authorization": f"Bearer {token}"}
    for study, marked in ((adult, False), (child, True)):
        found = app.test_client().get(f"/api/v1/studies/{study}", headers=header).json
        assert found["result"]["under_18"] is found["prediction"]["under_18"] is marked
        export = f"/studies/{study}/export"
        with zipfile.ZipFile(io.BytesIO(post(client, export, page=export).data)) as archive:
            result = json.loads(archive.read("result.json"))
        assert result["prediction"]["under_18"] is marked


def exam(app: Flask, person: Person, *marked: bool, uid: str) -> tuple[UUID, list[UUID]]:
    """An exam of one patient with these pictures, analysed; which results are of an under-18."""
    core, sent = core_of(app), list[submission.Submitted]()
    for number, _ in enumerate(marked):
        shade = bytes([number + len(uid), 0]) * (640 * 512)
        data = dicom(rows=640, columns=512, pixels=shade, StudyInstanceUID=uid, PatientID="P-7")
        with core.sessions() as session:
            actor = sessions.actor_of(session.get_one(User, person.id))
            now = app.extensions["pleura"].clock()
            sent.append(submission.submit(session, core.vault, actor, "x.dcm", data, now))
    worker = HttpWorker(app)
    for kind in (JobKind.RENDER, JobKind.SEGMENT):
        for one, young in zip(sent, marked, strict=True):
            with app.app_context():
                own = (Job.instance_id == one.instance_id, Job.kind == kind)
                job = db.session.scalars(db.select(Job.id).where(*own)).one()
            quality = {"verdict": "limited", "reasons": [UNDER_18] if young else []}
            # The first one is the most suspicious.
            found = {"quality": quality, "probability": 0.9 if one is sent[0] else 0.8}
            worker.do(job, **(found if kind is JobKind.SEGMENT else {}))
    return sent[0].study_id, [one.instance_id for one in sent]


@pytest.mark.parametrize("marked", [(False, True), (True, False), (False, False)])
def test_a_case_of_the_api_is_marked_by_any_picture_and_each_picture_by_itself(
    app: Flask, reader: Person, marked: tuple[bool, ...]
) -> None:
    study, pictures = exam(app, reader, *marked, uid="1.2.3.8")
    header = {"Authorization": f"Bearer {make_token(app, reader, 'studies:read')}"}
    client = app.test_client()
    found = client.get(f"/api/v1/studies/{study}", headers=header).json
    listed = client.get("/api/v1/studies", headers=header).json["studies"]
    assert found["result"]["under_18"] is listed[0]["result"]["under_18"] is any(marked)
    own = {one["id"]: one["prediction"]["under_18"] for one in found["instances"]}
    assert own == {str(one): young for one, young in zip(pictures, marked, strict=True)}


@pytest.mark.parametrize("marked", [False, True])
def test_a_case_is_marked_over_the_film_in_its_pictures_and_beside_other_exams(
    app: Flask, reader: Person, marked: bool
) -> None:
    study, (adult, young) = exam(app, reader, False, marked, uid="1.2.3.8")
    other, _ = exam(app, reader, False, uid="1.2.3.40")
    client = sign_in(app, reader)
    page = client.get(f"/studies/{study}?picture={adult}").text
    short = "under 18: model made for adults"
    over_the_film = page[page.index('class="film-patient"') :].partition("</p>")[0]
    in_the_bar = page[page.index('class="who-line"') :].partition("</div>")[0]
    # Both change on an open page once the result is there.
    assert 'id="film-patient" data-live' in over_the_film
    assert 'id="case-identity" data-live' in in_the_bar
    for place in (over_the_film, in_the_bar, client.get("/worklist").text):
        assert (short in place) is marked
    line = page[page.index(f"/studies/{study}?picture={young}") :].partition("</a>")[0]
    assert (">under 18<" in line) is marked
    first = page[page.index(f"/studies/{study}?picture={adult}") :].partition("</a>")[0]
    assert "under 18" not in first
    beside = client.get(f"/studies/{other}").text
    prior = beside[beside.index('id="priors-title"') :].partition("</section>")[0]
    assert (">under 18<" in prior) is marked
