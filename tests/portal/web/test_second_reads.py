"""A second reader learns nothing of the first one's finding: every route that shows a case to them
answers alike whatever the first reader stated, drew and wrote.

Two portals are the same but for what the first reader did. What differs from one portal to the next
in any case (ids, numbers of cases, tokens) is replaced by names.
"""

import io
import json
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.sessions import actor_of
from portal.models import (
    AiShown,
    ProofMethod,
    Role,
    SecondRead,
    Study,
    TeamChoices,
    User,
    db,
)
from portal.reading import signing
from portal.reading.case import open_study
from portal.reading.lists import claims
from portal.reading.signing import Proof
from tests.support.clinic import Clinic, after, open_clinic
from tests.support.core import NOW, Clock, make_settings
from tests.support.jobs import REFUSED
from tests.support.outlines.pages import Page, drawn
from tests.support.people import Person, add_account
from tests.support.pictures import dicom
from tests.support.portal_app import (
    analyse,
    core_of,
    csrf_of,
    make_app,
    make_person,
    make_study,
    make_token,
    post,
    sign_in,
)
from tests.support.second_reads.readers import ask, state

# Two first readers who could not differ more.
STATED: dict[str, dict[str, Any]] = {
    "A": {"finding": "right", "size": "above_30", "comment": "Large, with a shift."},
    "B": {"finding": "none", "reason": "skin_fold"},
}
LISTS = (
    "/worklist",
    "/worklist?state=all",
    "/worklist?state=read",
    "/worklist?state=all&reader=nobody",
    "/worklist?state=all&reader=mine",
    "/worklist?state=all&result=positive",
    "/second-reads",
    "/history",
    "/history?what=sent",
)


@dataclass
class World:
    """A portal in which a first reader has read a case, and a second one looks at it."""

    app: Flask
    clinic: Clinic
    study_id: UUID
    outline_id: UUID
    signature_id: UUID
    first: UUID
    second: Person
    token: str

    @property
    def number(self) -> str:
        with self.clinic.session as session:
            return session.get_one(Study, self.study_id).case_number

    @property
    def client(self) -> FlaskClient:
        return sign_in(self.app, self.second)


def make_world(
    folder: Path, staffed: Path, stated: dict[str, Any], *, is_blind: bool = True, **result: Any
) -> World:
    shutil.copytree(staffed, folder)
    app = make_app(make_settings(folder), Clock())
    clinic = open_clinic(core_of(app))
    study_id = clinic.submit(dicom(BurnedInAnnotation="NO")).study_id
    clinic.segment(clinic.render(study_id), **result)
    page = Page(clinic, study_id, clinic.mate)
    page.begin()
    runs = drawn((0, 4)) if stated["finding"] == "right" else drawn((20, 21), (30, 31))
    outline = page.save(runs).outline
    assert outline is not None
    state(clinic, clinic.mate, study_id, **stated)
    signature_id = uuid4()
    if stated["finding"] == "right":
        signature_id = signed(clinic, study_id, **stated)
    if is_blind:
        ask(clinic, clinic.mate, study_id)
    if stated["finding"] == "right":
        page.begin()  # they go on drawing
        page.draft(drawn((0, 5)))
    second = make_person(app, Role.READER, team="Here", name="Test second")
    token = make_token(app, second, "studies:read", "reviews:write")
    return World(
        app, clinic, study_id, outline.id, signature_id, clinic.mate.user_id, second, token
    )


def signed(clinic: Clinic, study_id: UUID, **stated: Any) -> UUID:
    """The first reader signs what they have stated, and adds to it."""
    proof = Proof(ProofMethod.PASSWORD_CODE, NOW)
    with clinic.session as session:
        view = open_study(session, clinic.vault, clinic.mate, study_id, NOW)
        more = {"shown": view.shown, "after": view.reviews[-1].review_id.hex, "proof": proof}
        args = session, clinic.vault, clinic.mate, study_id
        made = signing.sign(*args, **(stated | {"comment": ""}), **more, now=NOW)
        signing.add_addendum(*args, "The ward was called.", proof=proof, now=NOW)
    return made.signature.id


@pytest.fixture
def worlds(tmp_path: Path, staffed: tuple[Path, object]) -> dict[str, World]:
    return {
        name: make_world(tmp_path / name, staffed[0], stated) for name, stated in STATED.items()
    }


def plain(text: str, world: World) -> str:
    """What is the same in both portals."""
    text = re.sub(r'(name="csrf-token" content|name="csrf_token" value)="[^"]+"', r"\1", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", text)
    # What was shown: of its three digests the one of the pictures' ids.
    text = re.sub(r"\b[0-9a-f]{16}(\.[0-9a-f]{16}\.[0-9a-f]{16}\b)", r"PICTURES\1", text)
    text = re.sub(r"known=[0-9.]+", "known", text.replace(world.number, "NUMBER"))
    return re.sub(r'(error_id"?: ?"|rror <code>|class="mono">)[0-9a-f]{6,16}', r"\1ERROR", text)


def pages_of(world: World) -> dict[str, tuple[int, str, str]]:
    """What the second reader gets from every route with a GET, by its rule."""
    client, found = world.client, {}
    values: dict[str, Any] = {"study_id": world.study_id, "outline_id": world.outline_id}
    paths = [*LISTS, f"/worklist?state=all&reader={world.first.hex}"]
    paths.append(f"/worklist/state?ids={world.study_id}")
    paths.append(f"/studies/{world.study_id}?seen={world.signature_id}")
    adapter = world.app.url_map.bind("localhost")
    for rule in world.app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or "study_id" not in rule.arguments:
            continue
        kinds = ("preview", "pixels", "thumb", "overlay", "mask", "probability", "review_mask")
        for kind in kinds if "kind" in rule.arguments else ("",):
            more = {"kind": kind} if kind else {}
            if rule.arguments <= {*values, *more}:
                given = {k: v for k, v in (values | more).items() if k in rule.arguments}
                paths.append(adapter.build(rule.endpoint, given))
    paths += ["/api/v1/studies", "/api/v1/studies?state=read"]
    for path in paths:
        headers = {"Authorization": f"Bearer {world.token}"} if path.startswith("/api") else {}
        answer = client.get(path, headers=headers)
        if answer.mimetype.startswith("image") or answer.mimetype == "application/octet-stream":
            text = answer.data.hex()
        else:
            text = plain(answer.text, world)
        key = plain(path, world)
        found[key] = (answer.status_code, answer.mimetype, text)
    return found


def test_every_page_and_api_answers_alike_whatever_the_first_reader_did(
    worlds: dict[str, World],
) -> None:
    one, other = (pages_of(world) for world in worlds.values())
    assert one.keys() == other.keys()
    assert len(one) > 25
    for path, answer in one.items():
        assert answer == other[path], path
        # Without what filters and forms offer to choose from.
        shown = re.sub(r"<option.*?</option>|data-known=\"[^\"]*\"", "", answer[2])
        shown = re.sub(r'<input type="checkbox" name="reason" value="\w+"> [^<]*<', "<", shown)
        for telling in ("Test mate", "with a shift", "Skin fold", "above 30", "skin_fold"):
            assert telling not in shown, path


@pytest.mark.parametrize("result", [{"band": "none_found", "probability": 0.02}, REFUSED])
def test_nor_do_they_show_what_the_ai_found(
    tmp_path: Path, staffed: tuple[Path, object], result: dict[str, Any]
) -> None:
    """Also where a team's readers see it with the picture."""
    one = pages_of(make_world(tmp_path / "one", staffed[0], STATED["A"]))
    other = pages_of(make_world(tmp_path / "other", staffed[0], STATED["A"], **result))
    for path, answer in one.items():
        assert answer == other[path], path


def test_without_a_second_read_these_answers_do_differ(
    tmp_path: Path, staffed: tuple[Path, object]
) -> None:
    """The comparison above could not fail otherwise."""
    one, other = (
        pages_of(make_world(tmp_path / name, staffed[0], stated, is_blind=False))
        for name, stated in STATED.items()
    )
    assert {
        "/worklist?state=all",
        "/worklist?state=read",
        "/worklist?state=all&reader=ID",
        "/worklist/state?ids=ID",
        "/studies/ID",
        "/studies/ID/outline/ID",
        "/api/v1/studies",
        "/api/v1/studies/ID",
    } <= {path for path in one if one[path] != other[path]}


def test_everything_is_shown_once_the_second_finding_is_stated(worlds: dict[str, World]) -> None:
    for world in worlds.values():
        answer = post(world.client, f"/studies/{world.study_id}/reviews", {"finding": "unsure"})
        assert answer.status_code == 303
    one, other = (pages_of(world) for world in worlds.values())
    differ = {path for path in one if one[path] != other[path]}
    assert {"/studies/ID", "/studies/ID/outline/ID", "/api/v1/studies/ID"} <= differ
    assert "with a shift" in one["/studies/ID"][2]
    with worlds["A"].clinic.session as session:
        row = session.scalars(select(SecondRead)).one()
        assert (row.ended, row.second_review_id is not None) == (None, True)


def sent(world: World, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    client = world.client
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    answer = client.post(f"/studies/{world.study_id}{path}", json=body, headers=headers)
    text = plain(answer.text, world)
    return answer.status_code, json.loads(text) if answer.is_json else text


def test_what_is_sent_is_answered_alike(worlds: dict[str, World]) -> None:
    """The claim of the first reader, their outline and their draft leave no trace."""
    answers = []
    for name, world in worlds.items():
        if name == "A":
            with world.clinic.session as session:
                claims.claim(session, world.clinic.mate, world.study_id, NOW)
        page = Page(world.clinic, world.study_id, world.clinic.mate)
        opened = sent(world, "/outline/begin", {"picture": str(page.picture)})
        saved = {"finding": "right", "after": "", "seen": "done"}
        answers.append(
            [
                sent(world, "/claim", {}),
                opened,
                world.client.get(f"/studies/{world.study_id}/outline/state").json,
                sent(world, "/second-read", {})[0],
                sent(world, "/addenda", {"id": str(uuid4()), "text": "Also."}),
                sent(world, "/reviews", saved | {"after": "0" * 32}),
            ]
        )
    for one, other in zip(*answers, strict=True):
        assert one == other
    claim, opened, *_ = answers[0]
    assert claim[1]["mine"] is True
    assert (opened[0], opened[1]["origin"], opened[1]["kept"]) == (200, "empty", False)


def export(world: World, client: FlaskClient | None = None) -> dict[str, Any]:
    client = client or world.client
    answer = post(client, f"/studies/{world.study_id}/export", {"looked": "yes"})
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        result = json.loads(archive.read("result.json"))
        masks = len(archive.read("masks.csv").splitlines())
        return {"files": sorted(archive.namelist()), "result": result, "masks": masks}


def test_an_export_holds_nothing_of_the_first_reader(worlds: dict[str, World]) -> None:
    one, other = (export(world) for world in worlds.values())
    assert one == other
    assert one["result"]["reviews"] == []
    assert [name for name in one["files"] if "mask" in name] == ["masks.csv"]
    assert one["masks"] == 1, "the head alone"


def test_nor_does_the_first_readers_hold_what_the_second_draws(worlds: dict[str, World]) -> None:
    world = worlds["B"]
    with world.clinic.session as session:
        second = actor_of(session.get_one(User, world.second.id))
        first = session.get_one(User, world.clinic.mate.user_id)
    person = add_account(world.clinic.core, first, NOW)
    before = export(world, sign_in(world.app, person))
    page = Page(world.clinic, world.study_id, second)
    page.begin()
    assert page.save(drawn((2, 9))).outline is not None
    assert export(world, sign_in(world.app, person)) == before
    assert "reader-mask-by-a.png" in before["files"]
    state(world.clinic, second, world.study_id, "none", after(minutes=1))
    assert "reader-mask-by-b.png" in export(world, sign_in(world.app, person))["files"]


def test_the_first_reader_and_other_teams_see_what_they_saw(worlds: dict[str, World]) -> None:
    """Blind is who may become the second reader, nobody else."""
    world = worlds["A"]
    for actor in (world.clinic.mate, world.clinic.owner):
        with world.clinic.session as session:
            view = open_study(session, world.clinic.vault, actor, world.study_id, NOW)
            assert [one.finding for one in view.reviews] == ["right"]
            assert [one.outline_id for one in view.outlines] == [world.outline_id]


def test_a_team_of_two_is_shown_that_nobody_can_decide(app: Flask, clinic: Clinic) -> None:
    first = make_person(app, Role.READER, team="Here", name="Test first")
    second = make_person(app, Role.READER, team="Here", name="Test second")
    with app.app_context():
        for user in db.session.scalars(select(User).where(User.id.not_in([first.id, second.id]))):
            user.disabled_at = NOW
        db.session.commit()
    study_id = clinic.done()
    client, other = sign_in(app, first), sign_in(app, second)
    post(client, f"/studies/{study_id}/reviews", {"finding": "right"})
    post(client, f"/studies/{study_id}/second-read")
    assert "The team has two readers." in other.get("/second-reads").text
    post(other, f"/studies/{study_id}/reviews", {"finding": "none"})
    assert str(study_id) not in other.get("/second-reads").text
    third = sign_in(app, make_person(app, Role.READER, team="Here"))
    page = third.get("/second-reads").text
    assert "For a third reader" in page
    assert "The team has" not in page


def test_one_asks_for_a_second_reader_and_the_next_case_is_the_next_of_that_list(
    app: Flask, clinic: Clinic
) -> None:
    first = make_person(app, Role.READER, team="Here", name="Test first")
    second = make_person(app, Role.READER, team="Here", name="Test second")
    ids = [clinic.done() for _ in range(3)]
    client = sign_in(app, first)
    for study_id in ids:
        post(client, f"/studies/{study_id}/reviews", {"finding": "right"})
        assert "Ask for a second reader" in client.get(f"/studies/{study_id}").text
    for study_id in ids[:2]:
        answer = post(client, f"/studies/{study_id}/second-read?state=read")
        assert answer.location == f"/studies/{study_id}?state=read"
    assert "drawn by chance" not in client.get(f"/studies/{ids[0]}").text
    assert "asked for by Test first" in client.get(f"/studies/{ids[0]}").text
    assert "No case waits for you" in client.get("/second-reads").text

    other = sign_in(app, second)
    shown = other.get("/second-reads").text
    assert [str(i) in shown for i in ids] == [True, True, False]
    assert 'href="/second-reads">2' in other.get("/worklist").text
    assert other.get("/worklist?state=second_read").location == "/second-reads"
    post(other, f"/studies/{ids[0]}/reviews", {"finding": "right"})
    following = other.get(f"/studies/{ids[0]}/next?state=second_read").location
    assert following == f"/studies/{ids[1]}?state=second_read"
    post(other, f"/studies/{ids[1]}/reviews", {"finding": "none"})
    assert other.get(f"/studies/{ids[1]}/next?state=second_read").location == "/second-reads"
    third = sign_in(app, make_person(app, Role.READER, team="Here"))
    page = third.get("/second-reads").text
    assert "For a third reader" in page
    assert "For a second reader" not in page
    seen = third.get(f"/studies/{ids[1]}").text
    assert "yours decides" in seen
    assert seen.count("Test first") >= 1
    assert seen.count("Test second") >= 1


@pytest.mark.parametrize("policy", list(AiShown))
@pytest.mark.parametrize("is_drawn", [True, False])
def test_why_an_exam_is_read_twice_is_shown_only_to_who_may_see_the_ai(
    app: Flask, technologist: Person, reader: Person, policy: AiShown, is_drawn: bool
) -> None:
    percent = 100 if is_drawn else 0
    with app.app_context():
        team_id = db.session.get_one(User, reader.id).team_id
        db.session.add(TeamChoices(team_id=team_id, ai_shown=policy, second_read_percent=percent))
        db.session.commit()
    study_id = make_study(app, technologist)
    analyse(app, study_id)
    client = sign_in(app, reader)
    page = f"/studies/{study_id}"
    seen = "done" if policy is AiShown.WITH_PICTURE else "ready"
    answer = post(client, f"{page}/reviews", {"finding": "right", "seen": seen, "after": ""})
    assert answer.status_code == 303
    if not is_drawn:
        assert post(client, f"{page}/second-read", {}).status_code == 303
    for person in (client, sign_in(app, technologist)):
        text = person.get(page).text
        assert "The case waits for a second reader" in text
        is_shown = policy is not AiShown.NEVER
        assert ("drawn by chance" in text) is (is_shown and is_drawn)
        assert ("asked for by" in text) is (is_shown and not is_drawn)
