"""The board of performance as pages: who sees it, what it shows, and nothing about a patient."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from benchmarks.portal import boards
from portal.models import PerformanceMonth, Role, Study, Team, TeamChoices, User, db
from portal.performance import summaries, tables
from tests.support.core import NOW, Core
from tests.support.people import Person
from tests.support.portal_app import analyse, make_person, make_study, post, sign_in
from tests.support.queries.damaged_pages import overwrite_pages

PAGE = "/admin/performance"
FILES = [
    *(f"{PAGE}/table.csv?table={name}" for name in tables.NAMES),
    f"{PAGE}/readers.json",
]
# Who sees the board, and who sees own numbers under History.
ACCESS = {
    Role.TECHNOLOGIST: (404, False),
    Role.READER: (404, True),
    Role.ADMIN: (200, None),
    Role.AUDITOR: (404, None),
}
OWN = "Only you see these numbers"


def compute(app: Flask) -> None:
    with app.app_context():
        while summaries.refresh(db.session(), NOW):
            pass


@pytest.fixture
def many(app: Flask, core: Core) -> Flask:
    """A portal with the exams of two years, and their summaries."""
    with core.sessions() as session:
        boards.seed(session, 600)
    compute(app)
    return app


@pytest.mark.parametrize("role", list(Role))
def test_who_sees_the_board_and_its_files(
    app: Flask, staffed: tuple[object, dict[Role, Person]], role: Role
) -> None:
    client = sign_in(app, staffed[1][role])
    expected, _ = ACCESS[role]
    for path in (PAGE, *FILES):
        status = client.get(path).status_code
        assert (status == 200) is (expected == 200), (role, path, status)
        assert status in (200, 403, 404)


def test_an_own_number_is_shown_to_the_reader_alone(
    app: Flask, technologist: Person, reader: Person
) -> None:
    study = make_study(app, technologist)
    analyse(app, study)
    client = sign_in(app, reader)
    assert OWN not in client.get("/history").text
    sent = {"finding": "right", "seen": "done", "after": ""}
    assert post(client, f"/studies/{study}/reviews", sent).status_code in (200, 204, 303)
    shown = client.get("/history").text
    assert re.search(r"last 30 days: 1 exam\b", shown)
    assert OWN in shown
    mate = make_person(app, Role.READER)
    other = make_person(app, Role.READER, team="Elsewhere")
    for person in (mate, other, technologist):
        assert OWN not in sign_in(app, person).get("/history").text


def test_own_numbers_are_left_out_where_rows_are_damaged(
    app: Flask, technologist: Person, reader: Person
) -> None:
    study = make_study(app, technologist)
    analyse(app, study)
    client = sign_in(app, reader)
    sent = {"finding": "right", "seen": "done", "after": ""}
    assert post(client, f"/studies/{study}/reviews", sent).status_code == 303
    with app.app_context():
        key = db.session().get_one(Study, study).wrapped_key
        db.session.rollback()
        assert key is not None
        assert overwrite_pages(db.engine, key) == 1
    answer = client.get("/history")
    assert answer.status_code == 200
    assert "Record damaged" in answer.text
    assert OWN not in answer.text


def test_before_anything_is_computed_the_page_explains_why_it_is_empty(
    app: Flask, admin_client: FlaskClient
) -> None:
    assert "has not computed these months yet" in admin_client.get(PAGE).text
    compute(app)
    text = admin_client.get(PAGE).text
    assert "Once the first exams are analysed" in text
    assert "Turnaround" in text
    assert admin_client.get(FILES[0]).status_code == 200


def test_what_nobody_measured_is_called_that(many: Flask, admin_client: FlaskClient) -> None:
    text = admin_client.get(PAGE).text
    for name in (
        r"Sensitivity \(by blind second reads\)",
        "Readers’ kappa, both blind",
    ):
        assert re.search(rf'<dt>{name}</dt><dd[^>]*><span class="faint">—<', text)


def test_numbers_of_few_exams_are_not_shown(
    app: Flask, technologist: Person, admin_client: FlaskClient
) -> None:
    analyse(app, make_study(app, technologist))
    compute(app)
    text = admin_client.get(PAGE).text
    assert text.count("fewer than 10") > 5
    assert '<svg class="interval"' not in text
    assert "No month has enough exams yet." in text


def test_the_page_shows_the_numbers_with_intervals_plots_and_definitions(
    many: Flask, admin_client: FlaskClient
) -> None:
    text = admin_client.get(f"{PAGE}?from=2024-04&to=2026-03").text
    assert ">measured 1</option>" in text
    assert re.search(r"<strong>\d+\.\d %</strong> <span[^>]*>\d+\.\d–\d+\.\d % · \d+ of \d+", text)
    # No month has ten alarms that were judged: their plot is left out. So are those of four steps
    # of the turnaround, because nobody has opened or signed one of these exams.
    assert text.count('role="img"') == text.count("<desc ") == 6
    assert text.count("No month has enough exams yet.") == 5
    for term in ("Alarm", "Reference verdict", "Model version", "Small groups", "Interval"):
        assert f"<dt>{term}</dt>" in text
    assert "style=" not in text.split("<main", 1)[1]


def add_readers(app: Flask, team: str) -> list[str]:
    """Readers of a team, of whom the summary of the running month has numbers; their names."""
    names = ["Test <Alpha>", "Test Beta", "Test Gamma"]
    people = [make_person(app, Role.READER, name=name, team=team) for name in names]
    compute(app)
    with app.app_context():
        row = db.session.scalars(
            select(PerformanceMonth).where(
                PerformanceMonth.month == "2026-03", PerformanceMonth.model_id.is_(None)
            )
        ).one()
        numbers = [
            [one.id.hex, [[30 + at, 40]], [[0.71 + at / 10, 12]]] for at, one in enumerate(people)
        ]
        row.content = row.content | {"by_reader": numbers}
        db.session.commit()
    return names


def test_readers_are_shown_without_names_until_their_team_has_set_it(
    app: Flask, admin_client: FlaskClient
) -> None:
    names = add_readers(app, "Named")
    text = admin_client.get(PAGE).text
    assert "<td>Reader A</td>" in text
    assert "0.71" in text
    assert "20–49" in text
    assert not any(name in text for name in ("Alpha", *names[1:]))
    document = admin_client.get(f"{PAGE}/readers.json").json
    assert document is not None
    assert [one["name"] for one in document["readers"]] == [None] * 3
    with app.app_context():
        team = db.session.scalars(select(Team.id).where(Team.name == "Named")).one()
        db.session.add(TeamChoices(team_id=team, names_on_board=True))
        db.session.commit()
    text = admin_client.get(PAGE).text
    assert "<td>1: <bdi>Test &lt;Alpha&gt;</bdi></td>" in text
    assert "Reader A" not in text
    assert "Test Beta" in admin_client.get(FILES[-2]).text
    document = admin_client.get(f"{PAGE}/readers.json").json
    assert document is not None
    assert [one["name"] for one in document["readers"]] == names


def test_a_reader_is_informed_that_admins_see_the_name(
    app: Flask, technologist: Person, reader: Person
) -> None:
    study = make_study(app, technologist)
    analyse(app, study)
    client = sign_in(app, reader)
    sent = {"finding": "right", "seen": "done", "after": ""}
    assert post(client, f"/studies/{study}/reviews", sent).status_code == 303
    assert "of all readers without names" in client.get("/history").text
    with app.app_context():
        team = db.session.get_one(User, reader.id).team_id
        db.session.add(TeamChoices(team_id=team, names_on_board=True))
        db.session.commit()
    text = client.get("/history").text
    assert "reading time with your name" in text
    assert OWN not in text


@pytest.mark.parametrize(
    "asked",
    ["?from=%00&to=x&model='", "?from=2026-03&to=2024-04", "?model=" + "a" * 5000, "?from=٣"],
)
def test_what_is_no_choice_is_the_default(
    many: Flask, admin_client: FlaskClient, asked: str
) -> None:
    assert admin_client.get(PAGE + asked).status_code == 200


def test_a_file_holds_the_chosen_months_and_another_name_is_not_found(
    many: Flask, admin_client: FlaskClient
) -> None:
    answer = admin_client.get(f"{FILES[1]}&from=2026-02&to=2026-02")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="performance-months.csv"'
    )
    months = {line.split(",")[1] for line in answer.text.splitlines()[1:]}
    assert months == {"2026-02"}
    for name in ("", "patients", "../groups"):
        assert admin_client.get(f"{PAGE}/table.csv?table={name}").status_code == 404


def test_nothing_about_a_patient_or_a_reader_is_on_the_page_or_in_a_file(
    app: Flask, technologist: Person, admin_client: FlaskClient
) -> None:
    study = make_study(app, technologist)
    analyse(app, study)
    compute(app)
    for path in (PAGE, *FILES):
        text = admin_client.get(path).text
        for secret in ("CANARY", "ZEBRA", study.hex, study.hex[:6].upper(), technologist.email):
            assert secret not in text, path
