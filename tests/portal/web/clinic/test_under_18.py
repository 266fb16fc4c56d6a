"""A result of a patient under 18, which the team allows, is marked wherever it is shown."""

import io
import json
import zipfile

from flask import Flask

from tests.support.people import Person
from tests.support.portal_app import analyse, make_study, make_token, post, sign_in

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
