"""Role × whose object × route, over the URL map: every route that names an object, for everybody.

`own` is the person's, `team` a team-mate's, `other` another team's, `granted` another team's case
that the person has opened by emergency access. A route that names an object and has no row in
`ALLOWED` fails. Routes without an object are in `test_rules`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from portal.accounts import api_tokens, break_glass, invitations, sessions
from portal.ai_models import registry
from portal.dicom_network import nodes
from portal.hl7 import nodes as hl7_nodes
from portal.hl7.sending import targets
from portal.jobs import worker_tokens
from portal.models import AuditEvent, BreakGlass, JobKind, Role, Team, User, db
from tests.portal.web.security.test_rules import is_refused
from tests.support.core import Clock, make_settings
from tests.support.people import Person
from tests.support.portal_app import (
    analyse,
    csrf_of,
    job_of,
    make_app,
    make_passkey,
    make_person,
    make_study,
    make_token,
    sign_in,
)

T, R, A, U = Role.TECHNOLOGIST, Role.READER, Role.ADMIN, Role.AUDITOR
OWN, TEAM, OTHER, GRANTED = "own", "team", "other", "granted"
EVERY = {OWN, TEAM, OTHER, GRANTED}
Rights = dict[Role, set[str]]

LOOK: Rights = {T: {OWN}, R: {OWN, TEAM, GRANTED}, A: {GRANTED}}
READ: Rights = {T: {OWN}, R: {OWN, TEAM}}
JUDGE: Rights = {R: {OWN, TEAM}}
READ_OUT: Rights = {R: {OWN, TEAM}}
MINE: Rights = {role: {OWN} for role in Role}
MANAGE: Rights = {A: {TEAM, OTHER}}
NOBODY: Rights = {}

# Of each route that names an object: which roles reach which of them.
ALLOWED: dict[str, Rights] = {
    "reading.case": LOOK,
    "reading.state": LOOK,
    "reading.blob": LOOK,
    "reading.review": JUDGE,
    "reading.analyse_now": READ,
    "retrieval.ask": READ,
    "viewer.annotations": JUDGE,
    "viewer.picture_beside": READ,
    "viewer.picture_shown": NOBODY,  # the address names no picture; test_viewer has one
    "patient.page": JUDGE,
    "patient.compare": JUDGE,
    "patient.merge": JUDGE,
    "patient.undo": NOBODY,  # there is none; test_patient has one
    "critical.mark": JUDGE,
    "sentence.text": JUDGE,
    "critical.acknowledge": JUDGE,
    "critical.communicate": JUDGE,
    "claims.claim": JUDGE,
    "second_reads.ask": JUDGE,
    "claims.release": JUDGE,
    "outline.begin": JUDGE,
    "outline.beat": JUDGE,
    "outline.draft": JUDGE,
    "outline.save": JUDGE,
    "outline.leave": JUDGE,
    "outline.state": LOOK,
    "signing.sign": JUDGE,
    "signing.add": JUDGE,
    "outline.version": NOBODY,  # nothing is drawn here; portal/web/test_outlines.py has one
    "reading.following": {T: EVERY, R: EVERY},  # on to the worklist, whatever is named
    "api.study": READ,
    "api.mask": READ,
    "api.overlay": READ,
    "api.review": JUDGE,
    "account.revoke_token": {T: {OWN}, R: {OWN}},  # nobody else has one
    "account.end_session": MINE,
    "passkeys.remove": MINE,
    "emergency.end": {R: {OWN}, A: {OWN, TEAM, OTHER}, U: {TEAM, OTHER}},
    "admin.set_role": MANAGE,
    "admin.move": MANAGE,
    "admin.disable": MANAGE,
    "admin.enable": MANAGE,
    "admin.reset_factor": MANAGE,
    "admin.end_sessions": {A: {OWN, TEAM, OTHER}},
    "admin.withdraw": {A: {TEAM, OTHER}},
    "admin.retry": {A: {OWN, TEAM, OTHER}},
    "admin.revoke_worker": {A: {OTHER}},
    "teams.rename": {A: {TEAM, OTHER}},
    "dicom.change": {A: {OTHER}},  # without an AE title: 422
    "dicom.switch_off": {A: {OTHER}},
    "dicom.switch_on": {A: {OTHER}},
    "dicom.test": {A: {OTHER}},
    "dicom.send_again": NOBODY,  # a send that is not there
    "backfills.pause": NOBODY,  # there is none; admin/network/test_dicom_backfills.py has one
    "backfills.resume": NOBODY,
    "backfills.end": NOBODY,
    "dicom.retrieve_again": NOBODY,  # a retrieval that is not there
    "exam_links.page": {A: {TEAM, OTHER}},
    "exam_links.make": {A: {TEAM, OTHER}},
    "exam_links.end": NOBODY,  # there is none; admin/incoming/test_exam_links.py has one
    "quarantine.release": NOBODY,  # there is none; admin/incoming/test_quarantine.py has one
    "quarantine.discard": NOBODY,
    "hl7.change": {A: {OTHER}},  # without an application: 422
    "hl7.switch_off": {A: {OTHER}},
    "hl7.switch_on": {A: {OTHER}},
    "report_targets.switch_off": {A: {OTHER}},
    "report_targets.switch_on": {A: {OTHER}},
    "report_targets.test": {A: {OTHER}},  # HL7 is not set up: nothing is called
    "report_targets.end": {A: {OTHER}},
    "report_targets.send_again": NOBODY,  # there is none; admin/network has one
    "notifications.retry": NOBODY,  # there is none; exchange/test_outbox.py has one
    "sentences.page": {A: {TEAM, OTHER}},
    "sentences.change": {A: {TEAM, OTHER}},
    "rules.page": {A: {TEAM, OTHER}},
    "rules.store": {A: {TEAM, OTHER}},
    "rules.change": {A: {TEAM, OTHER}},
    "rules.restore": {A: {TEAM, OTHER}},
    "rules.try_rules": {A: {TEAM, OTHER}},
    "rules.try_file": {A: {TEAM, OTHER}},
    "rota.page": {A: {TEAM, OTHER}},
    "rota.change": {A: {TEAM, OTHER}},
    "teams.team_page": {A: {TEAM, OTHER}},
    "teams.choose": {A: {TEAM, OTHER}},
    "data.purge": {A: EVERY},  # what they send says no reason: 422, nothing is destroyed
    "data.hold": {A: EVERY},
    "data.lift": {A: EVERY},
    "data.proof": NOBODY,  # no study here is purged; test_data_page has one
    "data.proof_file": NOBODY,
    "export.page": READ_OUT,
    "export.export": READ_OUT,
    "report.page": READ_OUT,
    "report.make": READ_OUT,
    "report.state": READ_OUT,
    "report.pdf": NOBODY,  # none is made here; portal/web/test_report.py has one
    "report.make_objects": NOBODY,  # of a report: portal/web/test_report_objects.py has one
    "report.dicom": NOBODY,
    "models.model_page": {A: {OTHER}},
    "model_card.page": {T: {OTHER}, R: {OTHER}},
    "models.promote": {A: {OTHER}},
    "models.operating_point": {A: {OTHER}},
    "models.retract": {A: {OTHER}},
    "models.restore_results": {A: {OTHER}},
    "drift.check": {A: {OTHER}},
    "worker_api.claim": NOBODY,
    "worker_api.read_input": NOBODY,
    "worker_api.store_output": NOBODY,
    "worker_api.heartbeat": NOBODY,
    "worker_api.finish": NOBODY,
    "worker_api.fail": NOBODY,
}
# What a path may name beside an object, and what that is in every cell.
FILLED: dict[str, object] = {
    "kind": "preview",
    "name": "old_exam_hours",
    "merge_id": UUID(int=1),
    "key_id": UUID(int=1),
    "outline_id": UUID(int=1),
    "report_id": UUID(int=1),
}
NO_OBJECT = {"static", "auth.join"}  # a file of the site, a secret of its own
LEAST_CELLS = 510


@dataclass
class Hospital:
    """Two teams with people of every role, and objects of everybody."""

    app: Flask
    clock: Clock
    people: dict[Role, Person]
    ids: dict[tuple[str, Role, str], UUID] = field(default_factory=dict)
    tokens: dict[Role, str] = field(default_factory=dict)

    def relations(self, argument: str, role: Role) -> list[str]:
        """The relations in which there is such an object for this role."""
        return [r for r in (OWN, TEAM, OTHER, GRANTED) if (argument, role, r) in self.ids]

    def client(self, role: Role | None) -> tuple[FlaskClient, str]:
        """A browser that has just been signed in, and its form token; None: nobody's."""
        if role is None:
            client = self.app.test_client()
            return client, csrf_of(client, "/sign-in")
        client = sign_in(self.app, self.people[role])
        return client, csrf_of(client)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    clock = Clock()
    app = make_app(make_settings(Path(tmp_path_factory.mktemp("hospital"))), clock)
    found = Hospital(app, clock, {role: make_person(app, role) for role in Role})
    mates = {role: make_person(app, role) for role in (T, R)}
    others = {role: make_person(app, role, team="Elsewhere") for role in (T, R)}
    _studies(found, mates[T], others[T])
    _belongings(found, {TEAM: mates[R], OTHER: others[R]})
    return found


def _studies(hospital: Hospital, mate: Person, other: Person) -> None:
    app, shades = hospital.app, iter(range(1, 100))

    def study(person: Person) -> UUID:
        made = make_study(app, person, shade=next(shades))
        analyse(app, made)
        return made

    teams, elses = study(mate), study(other)
    for role in Role:
        person = hospital.people[role]
        at = {TEAM: teams, OTHER: elses}
        if role in (T, R):
            at[OWN] = study(person)
            scopes = ["studies:read", *(["reviews:write"] if role is R else [])]
            hospital.tokens[role] = make_token(app, person, *scopes)
        if role in (R, A):
            at[GRANTED] = study(other)
            _break_glass(hospital, person, at[GRANTED])
        for relation, study_id in at.items():
            hospital.ids["study_id", role, relation] = study_id
            if relation != GRANTED:
                hospital.ids["job_id", role, relation] = job_of(app, study_id, JobKind.RENDER)


def _belongings(hospital: Hospital, holders: dict[str, Person]) -> None:
    """Sessions, tokens, passkeys, grants and accounts of each person and of two others."""
    app, now = hospital.app, hospital.clock()
    spare = {TEAM: make_person(app, T), OTHER: make_person(app, T, team="Elsewhere")}
    foreign = make_study(app, hospital.people[T], shade=150)
    far = make_study(app, spare[OTHER], shade=151)
    for relation, holder in holders.items():
        grant = _break_glass(hospital, holder, far if relation == TEAM else foreign)
        for role in Role:
            hospital.ids["grant_id", role, relation] = grant
    with app.app_context():
        session = db.session()
        model = registry.add(
            session, {"name": "m", "version": "1", "sha256": "cd" * 32}, source="here", now=now
        )
        worker_token, _ = worker_tokens.create(
            session, name="w", queue=JobKind.RENDER, lifetime=timedelta(days=1), now=now
        )
        team = session.query(Team).first()
        stated = nodes.Described("n", "NODE", team.id, networks="10.0.0.1")
        node = nodes.add(session, None, stated, now)
        sends = hl7_nodes.Described("s", "RIS", "HOSP", team.id, networks="10.0.0.1")
        sender = hl7_nodes.add(session, None, sends, now)
        for role in Role:  # of nobody
            gets = targets.Described(role.value, team.id, "ris.example", "2575", role.value)
            target = targets.add(session, None, gets, now)
            hospital.ids["target_id", role, OTHER] = target.id
            hospital.ids["node_id", role, OTHER] = node.id
            hospital.ids["hl7_node_id", role, OTHER] = sender.id
            hospital.ids["model_id", role, OTHER] = model.id
            hospital.ids["worker_token_id", role, OTHER] = worker_token.id
    for role in Role:
        person = hospital.people[role]
        for relation, holder in {OWN: person, **holders}.items():
            hospital.ids["session_id", role, relation] = _session(hospital, holder)
            hospital.ids["passkey_id", role, relation] = make_passkey(app, holder)
            if relation != OWN or role in (T, R):
                make_token(app, holder, "studies:read")
                with app.app_context():
                    newest = api_tokens.tokens_of(db.session(), holder.id, now)[-1]
                    hospital.ids["token_id", role, relation] = newest.id
        for relation, account in {OWN: person, **spare}.items():
            hospital.ids["user_id", role, relation] = account.id
        if role in (R, A):
            case = hospital.ids["study_id", role, GRANTED]
            with app.app_context():
                query = db.select(BreakGlass.id).filter_by(user_id=person.id, study_id=case)
                hospital.ids["grant_id", role, OWN] = db.session.execute(query).scalar_one()
        with app.app_context():
            session = db.session()
            for relation, name in ((TEAM, "Radiology"), (OTHER, "Elsewhere")):
                hospital.ids["team_id", role, relation] = (
                    session.query(Team).filter_by(name=name).one().id
                )
                email = f"{role}.{relation}@example.com"
                invitation, _ = invitations.invite(
                    session, None, name="N", email=email, role=R, team=name, now=now
                )
                hospital.ids["invitation_id", role, relation] = invitation.id


def _session(hospital: Hospital, person: Person) -> UUID:
    with hospital.app.app_context():
        session = db.session()
        user, now = session.get_one(User, person.id), hospital.clock()
        found = sessions.load_session(
            session, sessions.start_session(session, user, address="", agent="", now=now), now
        )
        assert found is not None
        return found[1].id


def _break_glass(hospital: Hospital, person: Person, study_id: UUID) -> UUID:
    services = hospital.app.extensions["pleura"]
    with hospital.app.app_context():
        session = db.session()
        break_glass.open_case(
            session,
            services.vault,
            services.throttle,
            sessions.actor_of(session.get_one(User, person.id)),
            case=str(study_id),
            reason="emergency",
            explanation="Asked by the ward.",
            now=hospital.clock(),
            lifetime=timedelta(hours=1),
        )
        query = db.select(BreakGlass.id).filter_by(user_id=person.id, study_id=study_id)
        return db.session.execute(query).scalar_one()


def named(app: Flask) -> Iterator[tuple[Rule, str, str]]:
    """Every route that names an object, with its methods and the name of the argument."""
    # `emergency.end` comes last: it closes what the routes before it look at.
    ordered = sorted(
        app.url_map.iter_rules(), key=lambda r: (r.endpoint == "emergency.end", r.endpoint)
    )
    for rule in ordered:
        objects = sorted(rule.arguments - set(FILLED))
        if not objects or rule.endpoint in NO_OBJECT:
            continue
        if rule.endpoint.startswith("dicomweb_"):  # by UIDs: tests/portal/web/dicomweb/test_access
            continue
        assert len(objects) == 1, rule.rule
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule, method, objects[0]


def ask(
    app: Flask,
    client: FlaskClient,
    form_token: str,
    api_token: str | None,
    rule: Rule,
    method: str,
    named: dict[str, UUID],
) -> TestResponse:
    """The request of this route about this object, with all that a caller would send."""
    given = {name: value for name, value in FILLED.items() if name in rule.arguments}
    with app.test_request_context():
        path = app.url_for(rule.endpoint, **given, **named)
    headers = {}
    if rule.endpoint.startswith("api.") and api_token is not None:
        headers["Authorization"] = f"Bearer {api_token}"
    sent: dict[str, object] = {} if method == "GET" else {"data": {"csrf_token": form_token}}
    if rule.endpoint == "api.review":
        sent = {"json": {"finding": "right"}}
    return client.open(path, method=method, headers=headers, **sent)


def test_every_route_that_names_an_object_has_a_row(hospital: Hospital) -> None:
    assert {rule.endpoint for rule, _, _ in named(hospital.app)} == set(ALLOWED)


def test_each_role_reaches_exactly_its_objects(hospital: Hospital) -> None:
    cells, wrong = 0, []
    for rule, method, argument in named(hospital.app):
        for role in (*Role, None):
            client, token = hospital.client(role)
            for relation in hospital.relations(argument, role or T):
                expected = role is not None and relation in ALLOWED[rule.endpoint].get(role, set())
                object_id = hospital.ids[argument, role or T, relation]
                key = hospital.tokens.get(role) if role else None
                answer = ask(hospital.app, client, token, key, rule, method, {argument: object_id})
                # Nobody manages themself: that is refused with a reason.
                themself = argument == "user_id" and relation == OWN and answer.status_code == 422
                cells += 1
                reached = not is_refused(answer) and not themself
                if reached is not expected:
                    wrong.append((method, rule.rule, role, relation, answer.status_code))
                if argument == "user_id" and relation == OWN:
                    client, token = hospital.client(role)  # they may have ended this session
    assert wrong == []
    assert cells >= LEAST_CELLS, f"only {cells} cells were tried"
    print(f"{cells} cells")


@pytest.mark.parametrize("role", [T, R])
def test_a_list_holds_no_case_that_the_role_may_not_open(hospital: Hospital, role: Role) -> None:
    client, _ = hospital.client(role)
    raw = make_token(hospital.app, hospital.people[role], "studies:read")  # the first one has ended
    header = {"Authorization": f"Bearer {raw}"}
    shown = {
        "worklist": client.get("/worklist?state=all").text,
        "history": client.get("/history").text,
        "api": client.get("/api/v1/studies?per_page=200", headers=header).text,
    }
    for relation in hospital.relations("study_id", role):
        study = str(hospital.ids["study_id", role, relation])
        expected = relation in READ[role]
        assert (study in shown["worklist"]) is expected, relation
        assert (study in shown["api"]) is expected, relation
        assert expected or study not in shown["history"], relation
        states = client.get(f"/worklist/state?ids={study}").text
        assert (study in states) is expected, relation


def test_the_log_names_every_case_that_was_asked_for_in_vain(hospital: Hospital) -> None:
    client, _ = hospital.client(R)
    case = hospital.ids["study_id", R, OTHER]
    client.get(f"/studies/{case}")
    with hospital.app.app_context():
        query = db.select(AuditEvent).filter_by(study_id=case, event="access_refused")
        rows = db.session.execute(query).scalars().all()
    assert hospital.people[R].id in {row.actor_id for row in rows}
