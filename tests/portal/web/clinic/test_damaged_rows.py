"""A damaged page of the database: its cases are shown as damaged, everything else goes on."""

import pytest
from flask import Flask

from portal.models import Instance, Study, db
from tests.support.people import Person
from tests.support.portal_app import analyse, make_study, sign_in
from tests.support.queries.damaged_pages import overwrite_pages

CASES = 24


@pytest.mark.parametrize("table", [Study, Instance])
def test_a_damaged_page_hides_its_own_cases_alone(
    app: Flask, reader: Person, technologist: Person, table: type[Study] | type[Instance]
) -> None:
    studies = [make_study(app, technologist, shade) for shade in range(CASES)]
    analyse(app, studies[-1])
    with app.app_context():
        column = table.id if table is Study else Instance.study_id
        row = db.session.scalars(db.select(table).where(column == studies[3])).one()
        key = row.wrapped_key
        db.session.rollback()
    assert key is not None
    client, sender = sign_in(app, reader), sign_in(app, technologist)
    with app.app_context():
        assert overwrite_pages(db.engine, key) == 1

    page = client.get("/worklist")
    assert page.status_code == 200
    assert all(f"case-{study}" in page.text for study in studies)
    damaged = page.text.count("Record damaged: read the original")
    assert 1 <= damaged < CASES
    assert studies[3].hex[:6].upper() in page.text
    assert sender.get("/history").text.count("Record damaged") == damaged

    ids = ",".join(map(str, studies))
    live = client.get(f"/worklist/state?ids={ids}")
    assert live.status_code == 200
    assert len(live.json["rows"]) == CASES - damaged
    assert client.get(f"/studies/{studies[-1]}").status_code == 200
    case = client.get(f"/studies/{studies[3]}")
    assert case.status_code == 503
    assert "record or file is damaged" in case.text
