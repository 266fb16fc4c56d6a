"""A stored file that is damaged or gone: a reason in the answer, never the file or a fault."""

from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from ml.preparation import phantom
from portal.accounts import sessions
from portal.intake import submission
from portal.models import User, db
from tests.support.people import Person
from tests.support.portal_app import sign_in


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("harm", [flip, Path.unlink], ids=["flipped", "gone"])
def test_a_damaged_file_is_not_served_and_the_reason_is_shown(
    app: Flask, reader: Person, harm: Callable[[Path], None]
) -> None:
    services = app.extensions["pleura"]
    with app.test_request_context():
        sent = submission.submit(
            db.session(),
            services.vault,
            sessions.actor_of(db.session().get_one(User, reader.id), None, "127.0.0.1"),
            "chest.dcm",
            phantom.dicom(phantom.draw(3, rows=320, columns=320)),
            services.clock(),
        )
    client = app.test_client()
    job_url = f"/worker/v1/jobs/{sent.job_id}"
    token = {"Authorization": f"Bearer {services.settings.worker_token}"}
    claim = client.post(f"{job_url}/claim", json={"worker": "test"}, headers=token).get_json()
    ticket = {"Authorization": f"Bearer {claim['ticket']}"}
    assert client.get(f"{job_url}/inputs/source", headers=ticket).status_code == 200
    blobs = [p for p in (services.settings.data_dir / "blobs").rglob("*") if p.is_file()]
    assert len(blobs) == 1
    harm(blobs[0])
    refused = client.get(f"{job_url}/inputs/source", headers=ticket)
    assert refused.status_code == 503
    assert refused.get_json()["code"] == "damaged"
    assert sign_in(app, reader).get(f"/studies/{sent.study_id}").status_code == 200
