"""Teams in the pages: making and renaming them, moving people, and what the move does."""

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts import teams
from portal.models import Role, User, db
from portal.teams.settings import BOUNDS
from tests.support.core import NOW, Clock
from tests.support.people import PASSWORD, Person
from tests.support.portal_app import make_person, make_study, post, sign_in


@pytest.fixture
def elsewhere(app: Flask, admin_client: FlaskClient) -> UUID:
    """The id of another team, made on the page."""
    assert post(admin_client, "/admin/teams", {"name": "Elsewhere"}).status_code == 303
    with app.app_context():
        return next(t.id for t in teams.teams(db.session()) if t.name == "Elsewhere")


def test_a_team_is_made_and_renamed(admin_client: FlaskClient, elsewhere: UUID) -> None:
    page = admin_client.get("/admin/teams").text
    assert "Radiology" in page
    assert "Elsewhere" in page
    renamed = post(admin_client, f"/admin/teams/{elsewhere}/name", {"name": "Chest clinic"})
    assert renamed.status_code == 303
    page = admin_client.get("/admin/teams").text
    assert "Chest clinic" in page
    assert "Elsewhere" not in page


def test_a_name_that_is_taken_is_refused_where_it_was_typed(
    admin_client: FlaskClient, elsewhere: UUID
) -> None:
    for path in ("/admin/teams", f"/admin/teams/{elsewhere}/name"):
        answer = post(admin_client, path, {"name": "radiology"})
        assert answer.status_code == 422
        assert answer.text.count("There is a team of this name already.") == 1


def save(client: FlaskClient, team_id: UUID, name: str, value: str, shown: str = "") -> Any:
    return post(client, f"/admin/teams/{team_id}/settings/{name}", {"value": value, "shown": shown})


# What is typed, and what the page then states as following from it.
EFFECTS = [
    ("ai_shown", "never", "never see an AI result"),
    ("ai_shown", "after_verdict", "until they have saved a finding on it"),
    ("age_min", "12", "from 12 years on get a result"),
    ("age_min", "0", "every age get a result"),
    ("old_exam_hours", "1", "more than 1 hour before it arrives"),
    ("old_exam_hours", "1000", "more than 1,000 hours before it arrives"),
    ("names_on_board", "yes", "with their name, also of earlier months"),
]


@pytest.mark.parametrize(("name", "typed", "effect"), EFFECTS)
def test_a_setting_is_chosen_and_its_effect_is_shown_and_it_is_taken_back(
    admin_client: FlaskClient, elsewhere: UUID, name: str, typed: str, effect: str
) -> None:
    page = f"/admin/teams/{elsewhere}"
    before = admin_client.get(page).text
    assert effect not in before
    assert save(admin_client, elsewhere, name, typed).location == f"{page}#{name}"
    chosen = admin_client.get(page).text
    assert effect in chosen
    assert f'value="{typed}"' in chosen
    assert save(admin_client, elsewhere, name, "", shown=typed).status_code == 303
    after = admin_client.get(page).text
    assert effect not in after
    assert ">chosen<" not in after


def test_every_setting_has_an_effect_bounds_and_a_default(
    admin_client: FlaskClient, elsewhere: UUID
) -> None:
    page = admin_client.get(f"/admin/teams/{elsewhere}").text
    assert page.count("/settings/") == len(re.findall('class="card setting"', page))
    for name, bounds in BOUNDS.items():
        if f'id="{name}"' in page:
            assert f"{bounds.least:,} to {bounds.most:,}; empty for the default: " in page
    assert "more than 24 hours before it arrives" in page  # the installation's


@pytest.mark.parametrize(
    ("active", "disabled", "warning"),
    [
        (0, 1, "The team has no reader"),
        (1, 1, "The team has one reader."),
        (2, 1, "The team has two readers."),
        (3, 0, ""),
    ],
)
def test_a_team_whose_second_reads_cannot_end_is_named_with_the_setting(
    app: Flask,
    admin_client: FlaskClient,
    elsewhere: UUID,
    active: int,
    disabled: int,
    warning: str,
) -> None:
    people = [
        make_person(app, Role.READER, team="Elsewhere", name=f"Reader {number}")
        for number in range(active + disabled)
    ]
    make_person(app, Role.TECHNOLOGIST, team="Elsewhere")
    with app.app_context():
        for person in people[active:]:
            db.session.get_one(User, person.id).disabled_at = NOW
        db.session.commit()
    assert save(admin_client, elsewhere, "second_read_percent", "10").status_code == 303
    setting = admin_client.get(f"/admin/teams/{elsewhere}").text
    setting = setting.split('id="second_read_percent"')[1].split("</section>")[0]
    assert "About 10 of 100 exams" in setting
    assert ("notice warn" in setting) is bool(warning)
    assert warning in setting


def test_a_value_that_cannot_be_is_refused_where_it_was_typed(
    admin_client: FlaskClient, elsewhere: UUID
) -> None:
    answer = save(admin_client, elsewhere, "age_min", "18")
    assert answer.status_code == 422
    assert answer.text.count("A whole number of years from 0 to 17") == 1
    assert 'value="18"' in answer.text


def test_a_setting_that_was_changed_meanwhile_is_shown_and_not_overwritten(
    admin_client: FlaskClient, elsewhere: UUID
) -> None:
    save(admin_client, elsewhere, "age_min", "12")
    answer = save(admin_client, elsewhere, "age_min", "9")
    assert answer.status_code == 409
    assert "Somebody has changed this setting" in answer.text
    assert "from 12 years on" in answer.text


def test_a_setting_is_chosen_only_after_password_and_code_again(
    admin_client: FlaskClient, elsewhere: UUID, clock: Clock
) -> None:
    clock.forward(minutes=14)
    answer = save(admin_client, elsewhere, "age_min", "12")
    assert answer.location.startswith("/confirm")
    page = admin_client.get(f"/admin/teams/{elsewhere}").text
    assert "from 12 years on" not in page
    assert "<form" not in page.split("</header>")[-1] or "/settings/" not in page


def test_a_team_that_is_not_there_is_not_found(admin_client: FlaskClient) -> None:
    assert post(admin_client, f"/admin/teams/{uuid4()}/name", {"name": "X"}).status_code == 404
    assert save(admin_client, uuid4(), "age_min", "9").status_code == 404
    assert admin_client.get(f"/admin/teams/{uuid4()}").status_code == 404


def test_a_setting_that_is_not_there_is_not_found(
    admin_client: FlaskClient, elsewhere: UUID
) -> None:
    assert save(admin_client, elsewhere, "name", "x").status_code == 404


def test_a_moved_reader_sees_the_new_team_and_not_the_old(
    app: Flask,
    admin_client: FlaskClient,
    reader: Person,
    technologist: Person,
    elsewhere: UUID,
) -> None:
    theirs = make_person(app, Role.TECHNOLOGIST, team="Elsewhere")
    here, there = make_study(app, technologist), make_study(app, theirs, shade=1)
    before = sign_in(app, reader)
    assert [before.get(f"/studies/{i}").status_code for i in (here, there)] == [200, 404]
    moved = post(admin_client, f"/admin/people/{reader.id}/team", {"team": str(elsewhere)})
    assert moved.status_code == 303
    assert before.get("/worklist").location.startswith("/sign-in")
    after = sign_in(app, reader)
    assert [after.get(f"/studies/{i}").status_code for i in (here, there)] == [404, 200]


@pytest.mark.parametrize("team", ["", "radiology", str(UUID(int=7))])
def test_nobody_is_moved_to_where_nothing_is(
    app: Flask, admin_client: FlaskClient, reader: Person, team: str
) -> None:
    answer = post(admin_client, f"/admin/people/{reader.id}/team", {"team": team})
    assert answer.status_code == 422
    assert sign_in(app, reader).get("/account").text.count("Radiology") == 1


def test_an_admin_who_follows_their_own_link_raises_an_alarm(
    app: Flask, admin_client: FlaskClient, auditor: Person
) -> None:
    form = {"name": "N", "email": "n@example.org", "role": "reader", "team": "Radiology"}
    page = post(admin_client, "/admin/people", form).text
    found = re.search(r"/join/[\w-]+", page)
    assert found is not None
    link = found.group()
    assert post(admin_client, link, {"password": PASSWORD}, page=link).status_code == 303
    log = sign_in(app, auditor).get("/audit").text
    assert "Followed a link that they had made themselves" in log
    assert "Gave a person access to patients’ data" in log
