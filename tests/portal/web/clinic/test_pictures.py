"""Several pictures of one case: none is unreachable on the page or for programs."""

from datetime import datetime
from uuid import UUID, uuid4

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts import sessions
from portal.intake import submission
from portal.models import Job, JobKind, User, db
from tests.support.core import Clock, Core
from tests.support.people import Person
from tests.support.pictures import dicom
from tests.support.portal_app import HttpWorker, make_token, sign_in


def send(
    core: Core, person: Person, shade: int, now: datetime, **tags: str
) -> submission.Submitted:
    pixels = bytes([shade, 0]) * (640 * 512)  # of the size that the worker of the tests stores
    data = dicom(rows=640, columns=512, pixels=pixels, StudyInstanceUID="1.2.3.8", **tags)
    with core.sessions() as session:
        actor = sessions.actor_of(session.get_one(User, person.id))
        return submission.submit(session, core.vault, actor, "x.dcm", data, now)


@pytest.fixture
def exam(app: Flask, core: Core, clock: Clock, reader: Person) -> tuple[UUID, list[UUID]]:
    """A lateral and a frontal picture of one exam, in this order, both analysed."""
    lateral = send(core, reader, 1, clock(), ViewPosition="LL", PatientID="P-7")
    clock.forward(seconds=1)
    frontal = send(core, reader, 2, clock(), ViewPosition="AP", PatientID="P-8")
    worker = HttpWorker(app)
    for kind in (JobKind.RENDER, JobKind.SEGMENT):
        with core.sessions() as session:
            waiting = session.scalars(select(Job.id).where(Job.kind == kind)).all()
        for job_id in waiting:
            worker.do(job_id)
    assert lateral.study_id == frontal.study_id
    return lateral.study_id, [lateral.instance_id, frontal.instance_id]


def test_the_page_shows_the_frontal_picture_and_leads_to_the_other(
    app: Flask, reader: Person, exam: tuple[UUID, list[UUID]]
) -> None:
    study_id, (lateral, frontal) = exam
    client = sign_in(app, reader)
    page = client.get(f"/studies/{study_id}").text
    assert f"/blobs/pixels?picture={frontal}" in page
    assert f"/studies/{study_id}?picture={lateral}" in page
    assert "another patient?" in page
    assert 'name="seen" value="done/2"' in page
    other = client.get(f"/studies/{study_id}?picture={lateral}").text
    assert f"/blobs/pixels?picture={lateral}" in other
    for picture in (lateral, frontal):
        read = client.get(f"/studies/{study_id}/blobs/mask?picture={picture}")
        assert (read.status_code, read.content_type) == (200, "image/png")
    assert client.get(f"/studies/{study_id}/blobs/mask").status_code == 200


@pytest.mark.parametrize(
    "picture", ["410bf746-b25a-44bb-bd15-0781701bf997", "1", "../x", str(UUID(int=0))]
)
def test_a_picture_that_is_none_of_the_cases_is_not_found(
    app: Flask, reader: Person, exam: tuple[UUID, list[UUID]], picture: str
) -> None:
    client = sign_in(app, reader)
    for address in (f"/studies/{exam[0]}", f"/studies/{exam[0]}/blobs/pixels"):
        assert client.get(address, query_string={"picture": picture}).status_code == 404


def test_one_picture_of_another_case_is_not_read_through_this_one(
    app: Flask, reader: Person, exam: tuple[UUID, list[UUID]]
) -> None:
    data = dicom(StudyInstanceUID="1.2.3.9")
    services = app.extensions["pleura"]
    with app.app_context():
        actor = sessions.actor_of(db.session().get_one(User, reader.id))
        other = submission.submit(db.session(), services.vault, actor, "y", data, services.clock())
    client = sign_in(app, reader)
    found = client.get(f"/studies/{exam[0]}/blobs/pixels?picture={other.instance_id}")
    assert found.status_code == 404


def test_programs_get_every_picture(
    app: Flask, reader: Person, exam: tuple[UUID, list[UUID]]
) -> None:
    study_id, (lateral, frontal) = exam
    headers = {"Authorization": f"Bearer {make_token(app, reader, 'studies:read')}"}
    client = app.test_client()
    body = client.get(f"/api/v1/studies/{study_id}", headers=headers).get_json()
    listed = [(one["id"], one["names_another_patient"]) for one in body["instances"]]
    assert listed == [(str(lateral), False), (str(frontal), True)]
    assert body["prediction"] == body["instances"][1]["prediction"]
    for picture, status in ((lateral, 200), (frontal, 200), (uuid4(), 404), ("x", 422)):
        read = client.get(
            f"/api/v1/studies/{study_id}/mask.png",
            query_string={"instance": str(picture)},
            headers=headers,
        )
        assert read.status_code == status
