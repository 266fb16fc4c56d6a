"""What the hospital's systems have stated of a case, on its page."""

import pytest
from flask import Flask
from sqlalchemy import select

from portal.hl7 import nodes
from portal.models import AiShown, HospitalOrder, HospitalReport, Review, Team, TeamChoices, Verdict
from tests.portal.web.clinic.test_identity import send
from tests.support.core import NOW
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import give
from tests.support.people import Person
from tests.support.portal_app import core_of, sign_in
from tests.support.queries.damaged_pages import overwrite_pages


@pytest.fixture
def node(app: Flask, reader: Person) -> None:
    """A system of the reader's team."""
    with core_of(app).sessions() as session:
        team = session.scalars(select(Team)).first()
        assert team is not None
        stated = nodes.Described("Information system", "RIS", "HOSP", team.id, "127.0.0.1")
        nodes.add(session, None, stated, NOW)


@pytest.mark.usefixtures("node")
def test_order_and_report_are_on_the_page_as_texts(app: Flask, reader: Person) -> None:
    study = send(app, reader)
    client = sign_in(app, reader)
    assert "From the hospital" not in client.get(f"/studies/{study}").text
    text = r"<script>alert(1)</script>\.br\second line"
    acks = give(core_of(app), made.orm("S", place="ED^<b>^A"), made.oru(text))
    assert [ack.code for ack in acks] == ["AA", "AA"]
    page = client.get(f"/studies/{study}").text
    assert "From the hospital" in page
    assert "STAT" in page
    assert "ED, &lt;b&gt;, A" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\nsecond line" in page
    assert "Report, final" in page
    give(core_of(app), made.orm("S", control_code="CA", at="20260304100000"))
    page = client.get(f"/studies/{study}").text
    assert "order cancelled" in page
    assert ">STAT<" not in page


@pytest.mark.usefixtures("node")
def test_corrected_patient_data_are_shown_with_their_day(app: Flask, reader: Person) -> None:
    study = send(app, reader)
    give(core_of(app), made.adt(patient=made.pid("NEWNAME^ANNA", born="19530601")))
    page = sign_in(app, reader).get(f"/studies/{study}").text
    for text in ("NEWNAME, ANNA", "born 1953-06-01", "corrected 2026-03-04", "F 72"):
        assert text in page
    assert "PHANTOM" not in page


@pytest.mark.usefixtures("node")
def test_what_names_another_patient_is_only_mentioned(app: Flask, reader: Person) -> None:
    give(core_of(app), made.oru("Not yours.", patient=made.pid(number="P-0009")))
    study = send(app, reader)
    page = sign_in(app, reader).get(f"/studies/{study}").text
    assert "names another patient" in page
    assert "Not yours." not in page


@pytest.mark.usefixtures("node")
def test_a_report_is_shown_after_ones_own_finding_where_findings_are_hidden(
    app: Flask, reader: Person
) -> None:
    study = send(app, reader)
    give(core_of(app), made.oru("Pneumothorax on the left."))
    with core_of(app).sessions() as session:
        team = session.scalars(select(Team)).one()
        session.add(TeamChoices(team_id=team.id, ai_shown=AiShown.AFTER_VERDICT))
        session.commit()
    client = sign_in(app, reader)
    page = client.get(f"/studies/{study}").text
    assert "It is shown after your finding." in page
    assert "on the left." not in page
    with core_of(app).sessions() as session:
        session.add(Review(study_id=study, reader_id=reader.id, verdict=Verdict.AGREE, created=NOW))
        session.commit()
    assert "on the left." in client.get(f"/studies/{study}").text


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("table", [HospitalOrder, HospitalReport])
def test_a_damaged_page_of_what_was_stated_hides_no_case(
    app: Flask, reader: Person, table: type[HospitalOrder] | type[HospitalReport]
) -> None:
    study = send(app, reader)
    give(core_of(app), made.orm(), made.oru())
    client = sign_in(app, reader)
    with core_of(app).sessions() as session:
        mark = session.scalars(select(table.wrapped_key)).one()
    assert overwrite_pages(core_of(app).engine, mark) == 1
    page = client.get(f"/studies/{study}")
    assert page.status_code == 200
    assert "What the hospital has sent for this case can’t be read" in page.text
