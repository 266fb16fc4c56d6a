"""The page on which two patient IDs are merged: look first, then merge, then undo."""

import re
from uuid import UUID

from flask import Flask

from tests.support.people import Person
from tests.support.pictures import dicom
from tests.support.portal_app import core_of, post, sign_in


def sent(app: Flask, person: Person, **tags: str) -> UUID:
    from portal.accounts import sessions
    from portal.intake import submission
    from portal.models import User

    core, now = core_of(app), app.extensions["pleura"].clock()
    with core.sessions() as session:
        actor = sessions.actor_of(session.get_one(User, person.id))
        data = dicom(**tags)
        return submission.submit(session, core.vault, actor, "x.dcm", data, now).study_id


def test_two_ids_are_compared_merged_and_parted(app: Flask, reader: Person) -> None:
    one = sent(app, reader, PatientID="A-1", PatientName="Adler^Anna")
    other = sent(app, reader, PatientID="B-2", PatientName="Adler^Annie")
    client, page = sign_in(app, reader), f"/studies/{one}/patient"
    assert page in client.get(f"/studies/{one}").text
    shown = client.get(page).text
    assert "Adler, Anna" in shown
    assert "Annie" not in shown
    wrong = post(client, page, {"other": "nothing"})
    assert (wrong.status_code, "no such case" in wrong.text) == (409, True)
    compared = post(client, page, {"other": str(other)})
    assert "Adler, Annie" in compared.text
    form = {"other_id": str(other), "reason": ""}
    assert post(client, f"{page}/merge", form).status_code == 422
    assert post(client, f"{page}/merge", {"other_id": "x"}).status_code == 422
    assert post(client, f"{page}/merge", form | {"reason": "two_ids"}).location == page
    again = post(client, f"{page}/merge", form | {"reason": "two_ids"})
    assert (again.status_code, "same patient already" in again.text) == (409, True)
    merged = client.get(page).text
    assert "The patient has two IDs" in merged
    assert f"/studies/{other}" in client.get(f"/studies/{one}").text
    found = re.search(r'action="(/studies/[^"]+/undo)"', merged)
    assert found is not None
    assert post(client, found[1]).location == page
    assert post(client, found[1]).status_code == 409
    assert f"/studies/{other}" not in client.get(f"/studies/{one}").text
