"""Role × route × own, team-mate's, other team's: made from the URL map. A new route fails here."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from portal.accounts import api_tokens, break_glass, invitations, people, sessions
from portal.ai_models import registry
from portal.dicom_network import nodes
from portal.hl7 import nodes as hl7_nodes
from portal.hl7.sending import targets
from portal.jobs import worker_tokens
from portal.models import AuditEvent, BreakGlass, Job, JobKind, Role, db
from portal.web.security import guard
from tests.support.core import Clock, make_settings
from tests.support.portal_app import (
    csrf_of,
    make_app,
    make_passkey,
    make_person,
    make_study,
    make_token,
    sign_in,
)

EVERYBODY = {"owner", "colleague", "reader", "outsider", "admin", "auditor"}
SENDERS = {"owner", "colleague", "reader", "outsider"}
OF_THE_CASE = {"owner", "reader"}

# Which of the people below may use an endpoint. `None`: open to all, signed in or not.
# "token" and "worker": no browser session opens it at all.
EXPECTED: dict[str, set[str] | str | None] = {
    "static": None,
    "auth.sign_in": None,
    "auth.sign_out": None,
    "auth.join": None,
    "auth.code": EVERYBODY,
    "auth.enrol": EVERYBODY,
    "auth.confirm": EVERYBODY,
    "auth.confirm_challenge": {"owner"},  # who has a passkey
    "sso.leave": set(),  # no issuer is set here; test_single_sign_on has one
    "sso.back": set(),
    "auth.passkey": EVERYBODY,
    "auth.passkey_challenge": {"owner"},
    "passkeys.begin": EVERYBODY,
    "passkeys.register": EVERYBODY,
    "passkeys.remove": {"owner"},
    "session.state": EVERYBODY,
    "session.active": EVERYBODY,
    "auth.start": EVERYBODY,
    "account.account": EVERYBODY,
    "account.password": EVERYBODY,
    "account.language": EVERYBODY,
    "account.recovery_codes": EVERYBODY,
    "account.end_session": EVERYBODY,
    "account.end_others": EVERYBODY,
    "account.make_token": EVERYBODY,  # what they send names no scope: 422, none is made
    "account.revoke_token": {"owner"},
    "admin.people_page": {"admin"},
    "admin.invite": {"admin"},
    "admin.set_role": {"admin"},
    "admin.move": {"admin"},
    "admin.disable": {"admin"},
    "admin.enable": {"admin"},
    "admin.reset_factor": {"admin"},
    "admin.end_sessions": {"admin"},
    "admin.withdraw": {"admin"},
    "admin.jobs_page": {"admin"},
    "admin.retry": {"admin"},
    "data.page": {"admin"},
    "data.confirm_clock": {"admin"},
    "data.purge": {"admin"},  # what they send says no reason: 422, nothing is destroyed
    "data.hold": {"admin"},
    "data.lift": {"admin"},
    "data.proof": set(),  # the study is not purged
    "data.proof_file": set(),
    "admin.revoke_worker": {"admin"},
    "audit.export": {"auditor"},
    "teams.page": {"admin"},
    "teams.make": {"admin"},
    "teams.rename": {"admin"},
    "notifications.page": {"admin"},
    "notifications.retry": set(),  # there is none; test_outbox has one
    "exam_links.page": {"admin"},
    "exam_links.make": {"admin"},
    "exam_links.end": set(),  # there is none; admin/incoming/test_exam_links has one
    "exam_link.arrive": None,
    "exam_link.form": None,
    "exam_link.take": None,  # of no link: 410
    "exam_link.go": SENDERS,  # without a link: 410
    "quarantine.page": {"admin"},
    "quarantine.release": set(),  # there is none; admin/incoming/test_quarantine has one
    "quarantine.discard": set(),
    "dicom.page": {"admin"},
    "dicom.add": {"admin"},  # what they send has no AE title: 422, none is added
    "dicom.change": {"admin"},  # likewise
    "dicom.switch_off": {"admin"},
    "dicom.switch_on": {"admin"},
    "hl7.page": {"admin"},
    "hl7.add": {"admin"},  # what they send has no application: 422, none is added
    "hl7.change": {"admin"},  # likewise
    "hl7.switch_off": {"admin"},
    "hl7.switch_on": {"admin"},
    "report_targets.page": {"admin"},
    "report_targets.add": {"admin"},  # what they send has no name: 422, none is added
    "report_targets.switch_off": {"admin"},
    "report_targets.switch_on": {"admin"},
    "report_targets.test": {"admin"},  # HL7 is not set up: nothing is called
    "report_targets.end": {"admin"},
    "report_targets.send_again": set(),  # there is none; admin/network has one
    "dicom.test": {"admin"},  # it has no host: nothing is called
    "dicom.send_again": set(),  # a send that is not there
    "backfills.page": {"admin"},
    "backfills.begin": {"admin"},  # what they send names no node: 422
    "backfills.pause": set(),  # there is none; admin/network/test_dicom_backfills has one
    "backfills.resume": set(),
    "backfills.end": set(),
    "dicom.retrieve_again": set(),  # a retrieval that is not there
    "sentences.page": {"admin"},
    "sentences.change": {"admin"},
    "rules.page": {"admin"},
    "rules.store": {"admin"},  # what they send has no name: 422, none is added
    "rules.change": {"admin"},  # it names no button: 422
    "rules.restore": {"admin"},  # of no version: 409
    "rules.try_rules": {"admin"},
    "rules.try_file": {"admin"},  # without a file: 422
    "rota.page": {"admin"},
    "rota.change": {"admin"},
    "teams.team_page": {"admin"},
    "teams.choose": {"admin"},
    "performance.page": {"admin"},
    "performance.table": {"admin"},
    "performance.readers_document": {"admin"},
    "drift.page": {"admin"},
    "drift.check": {"admin"},  # it has no reference: nothing is queued
    "drift.table": {"admin"},
    "drift.document": {"admin"},
    "models.models_page": {"admin"},
    "models.model_page": {"admin"},
    "model_card.page": SENDERS,
    "models.promote": {"admin"},
    "models.roll_back": {"admin"},
    "models.operating_point": {"admin"},
    "models.retract": {"admin"},  # without a reason: 422
    "models.restore_results": {"admin"},
    "audit.log": {"auditor"},
    "audit.verify": {"auditor"},
    "audit.seen": {"auditor"},
    "emergency.page": {"reader", "outsider", "admin"},
    "emergency.open_case": {"reader", "outsider", "admin"},
    "emergency.end": {"admin", "auditor", "outsider"},  # the outsider's own
    "health.live": None,
    "health.ready": None,
    "worklist.worklist": SENDERS,
    "worklist.states": SENDERS,
    "worklist.search": SENDERS,
    "list_events.events": {"reader", "outsider"},
    "upload.upload": SENDERS,
    "upload.submit": SENDERS,
    "upload.turned_away": SENDERS,  # without a name: 422
    "history.history": SENDERS,
    "reading.case": OF_THE_CASE,
    "reading.state": OF_THE_CASE,
    "reading.blob": set(),  # none is ready: the picture of this study still waits
    "reading.review": {"reader"},
    "reading.analyse_now": {"owner", "reader"},  # nothing waits for it
    "retrieval.ask": {"owner", "reader"},  # no node may be queried
    "patient.page": {"reader"},
    "patient.compare": {"reader"},
    "patient.merge": {"reader"},
    "patient.undo": set(),  # there is none; test_patient has one
    "critical.mark": {"reader"},
    "sentence.text": {"reader"},
    "critical.acknowledge": {"reader"},
    "critical.communicate": {"reader"},
    "second_reads.page": {"reader", "outsider"},
    "second_reads.ask": {"reader"},
    "claims.claim": {"reader"},
    "claims.release": {"reader"},
    "viewer.preferences": SENDERS,  # what they send is refused with 422
    "signing.sign": {"reader"},  # what they send is refused with 400
    "signing.add": {"reader"},
    "viewer.annotations": {"reader"},
    "viewer.picture_beside": OF_THE_CASE,
    "viewer.picture_shown": set(),  # the address names no picture; test_viewer has one
    "viewer.screen": {"reader", "outsider"},
    "viewer.check_screen": {"reader", "outsider"},
    "outline.begin": {"reader"},  # what they send is refused with 422
    "outline.beat": {"reader"},
    "outline.draft": {"reader"},
    "outline.save": {"reader"},
    "outline.leave": {"reader"},
    "outline.state": OF_THE_CASE,
    "outline.version": set(),  # nothing is drawn yet
    "export.page": {"reader"},
    "export.export": {"reader"},
    "report.page": {"reader"},
    "report.make": {"reader"},
    "report.state": {"reader"},
    "report.pdf": set(),  # none is made yet
    "report.make_objects": set(),
    "report.dicom": set(),
    "reading.following": SENDERS,  # to the worklist, whether the case exists or not
    "worker_api.hello": "worker",
    "worker_api.claim": "worker",
    "worker_api.claim_next": "worker",
    "worker_api.read_input": "worker",
    "worker_api.store_output": "worker",
    "worker_api.heartbeat": "worker",
    "worker_api.finish": "worker",
    "worker_api.fail": "worker",
    "api.submit": "token",
    "api.studies": "token",
    "api.study": "token",
    "api.mask": "token",
    "api.overlay": "token",
    "api.review": "token",
    "openapi.document": None,
    "dicomweb_search.studies": "token",
    "dicomweb_search.series": "token",
    "dicomweb_search.instances": "token",
    "dicomweb_search.series_of_study": "token",
    "dicomweb_search.instances_of_study": "token",
    "dicomweb_search.instances_of_series": "token",
    "dicomweb_retrieval.study": "token",
    "dicomweb_retrieval.series": "token",
    "dicomweb_retrieval.instance": "token",
    "dicomweb_retrieval.study_metadata": "token",
    "dicomweb_retrieval.series_metadata": "token",
    "dicomweb_retrieval.instance_metadata": "token",
    "dicomweb_retrieval.frames": "token",
    "dicomweb_retrieval.bulkdata": "token",
    "dicomweb_storing.store": "token",
    "dicomweb_storing.store_in_study": "token",
}


@dataclass
class World:
    """A portal with six people, one study and one of everything that a path may name."""

    app: Flask
    clients: dict[str, FlaskClient]
    arguments: dict[str, dict[str, object]]

    def call(self, rule: Rule, method: str, who: str) -> TestResponse:
        """The request that the page of this route would send."""
        client = self.clients[who]
        with self.app.test_request_context():
            url = self.app.url_for(rule.endpoint, **self.arguments.get(who, self.arguments["*"]))
        path = url.partition("?")[0]
        if method in ("GET", "HEAD", "OPTIONS"):
            return client.open(path, method=method)
        page = "/sign-in" if who == "nobody" else "/account"
        token = csrf_of(client, page)
        return client.open(path, method=method, data={"csrf_token": token})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    clock = Clock()
    folder = Path(tmp_path_factory.mktemp("world"))
    app = make_app(make_settings(folder, PLEURA_BASE_URL="http://localhost:8000"), clock)
    made = {
        "owner": make_person(app, Role.TECHNOLOGIST),
        "colleague": make_person(app, Role.TECHNOLOGIST),
        "reader": make_person(app, Role.READER),
        "outsider": make_person(app, Role.READER, team="Elsewhere"),
        "admin": make_person(app, Role.ADMIN),
        "auditor": make_person(app, Role.AUDITOR),
    }
    study_id = make_study(app, made["owner"])
    make_token(app, made["owner"], "studies:read")
    make_passkey(app, made["owner"])  # one that stays when the other is removed
    passkey_id = make_passkey(app, made["owner"])
    other_study = make_study(app, made["owner"], shade=1)  # open to the outsider for a while
    clients = {who: sign_in(app, person) for who, person in made.items()}
    with app.app_context():
        session = db.session()
        break_glass.open_case(
            session,
            app.extensions["pleura"].vault,
            app.extensions["pleura"].throttle,
            sessions.actor_of(person_of(made["outsider"].id)),
            case=str(other_study),
            reason="emergency",
            explanation="Asked by the ward.",
            now=clock(),
            lifetime=timedelta(hours=1),
        )
        token_id = api_tokens.tokens_of(session, made["owner"].id, clock())[0].id
        invitation, _ = invitations.invite(
            session, None, name="N", email="n@example.org", role=Role.READER, team="N", now=clock()
        )
        worker_token, _ = worker_tokens.create(
            session, name="w", queue=JobKind.RENDER, lifetime=timedelta(days=1), now=clock()
        )
        job_id = session.query(Job.id).filter_by(study_id=study_id).scalar()
        model = registry.add(
            session, {"name": "m", "version": "1", "sha256": "cd" * 32}, source="here", now=clock()
        )
        team_id = person_of(made["owner"].id).team_id
        stated = nodes.Described("n", "NODE", team_id, networks="10.0.0.1")
        node = nodes.add(session, None, stated, clock())
        sends = hl7_nodes.Described("s", "RIS", "HOSP", team_id, networks="10.0.0.1")
        sender = hl7_nodes.add(session, None, sends, clock())
        gets = targets.Described("t", team_id, "ris.example", "2575", "RIS")
        target = targets.add(session, None, gets, clock())
        common: dict[str, object] = {
            "model_id": model.id,
            "study_id": study_id,
            "job_id": job_id,
            "outline_id": uuid4(),
            "report_id": uuid4(),
            "user_id": made["colleague"].id,
            "token_id": token_id,
            "worker_token_id": worker_token.id,
            "invitation_id": invitation.id,
            "passkey_id": passkey_id,
            "team_id": person_of(made["outsider"].id).team_id,
            "grant_id": session.query(BreakGlass.id).scalar(),
            "token": "unknown",
            "kind": "preview",
            "merge_id": uuid4(),
            "notification_id": uuid4(),
            "file_id": uuid4(),
            "key_id": uuid4(),
            "send_id": uuid4(),
            "retrieval_id": uuid4(),
            "backfill_id": uuid4(),
            "node_id": node.id,
            "hl7_node_id": sender.id,
            "target_id": target.id,
            "report_send_id": uuid4(),
            "name": "language",
            **dict.fromkeys(("study_uid", "series_uid", "sop_uid"), "1.2.3"),
            "numbers": "1",
            "way": "7FE00010",
            "filename": "css/base.css",
        }
        arguments: dict[str, dict[str, object]] = {"*": common}
        for who, person in made.items():
            spare = sessions.start_session(
                session, person_of(person.id), address="", agent="", now=clock()
            )
            found = sessions.load_session(session, spare, clock())
            assert found is not None
            arguments[who] = {**common, "session_id": found[1].id}
        common["session_id"] = uuid4()
    return World(app, {**clients, "nobody": app.test_client()}, arguments)


def person_of(user_id: UUID) -> people.User:
    """The row of a person."""
    return db.session().get_one(people.User, user_id)


def is_refused(answer: TestResponse) -> bool:
    """Whether access was refused."""
    away = answer.status_code == 303 and answer.location.startswith("/sign-in")
    return away or answer.status_code in (401, 403, 404, 429)


def test_every_route_has_an_expectation(world: World) -> None:
    endpoints = {rule.endpoint for rule in world.app.url_map.iter_rules()}
    assert endpoints - set(EXPECTED) == set(), "add a row to EXPECTED"


def test_each_person_gets_what_is_theirs_and_nothing_else(world: World) -> None:
    wrong = []
    for rule in world.app.url_map.iter_rules():
        expected = EXPECTED[rule.endpoint]
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            for who in (*EVERYBODY, "nobody"):
                if rule.endpoint in _DISRUPTIVE and method == "POST":
                    continue
                answer = world.call(rule, method, who)
                assert answer.status_code < 500, (rule.rule, who, answer.status_code)
                if expected is None:
                    shut = answer.status_code in (401, 403)
                    allowed = True
                else:
                    shut = is_refused(answer)
                    allowed = isinstance(expected, set) and who in expected
                if shut is allowed:
                    wrong.append((method, rule.rule, who, answer.status_code))
    assert wrong == [], "served although not in EXPECTED, or refused although in it"


# These end the sessions that the walk needs; tests of their own look at them.
_DISRUPTIVE = {
    "auth.sign_out",
    "auth.sign_in",
    "account.end_others",
    "admin.disable",
    "admin.set_role",
    "admin.reset_factor",
    "admin.end_sessions",
}


@pytest.mark.parametrize("endpoint", sorted(e for e in _DISRUPTIVE if e.startswith("admin.")))
def test_nobody_but_an_admin_touches_people(world: World, endpoint: str) -> None:
    (rule,) = world.app.url_map.iter_rules(endpoint)
    for who in (*(EVERYBODY - {"admin"}), "nobody"):
        assert is_refused(world.call(rule, "POST", who)), who


@pytest.mark.parametrize("who", ["colleague", "outsider", "admin", "auditor"])
def test_a_case_that_is_not_yours_looks_like_none(world: World, who: str) -> None:
    real, none = world.arguments["*"]["study_id"], uuid4()
    for path in ("", "/state", "/blobs/preview"):
        answers = [world.clients[who].get(f"/studies/{study}{path}") for study in (real, none)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert str(real) not in answers[0].text


def test_a_view_without_a_rule_stops_the_start(world: World, tmp_path: Path) -> None:
    app = Flask("bare")
    app.add_url_rule("/open", "open", lambda: "anybody")
    with pytest.raises(guard.Unguarded, match="open"):
        guard.check(app)


def test_a_view_that_slips_in_later_is_not_served(tmp_path: Path) -> None:
    app = make_app(make_settings(tmp_path))
    app.add_url_rule("/late", "late", lambda: "anybody")
    answer = app.test_client().get("/late")
    assert answer.status_code == 404
    assert "anybody" not in answer.text


def test_refusals_are_written_down(world: World) -> None:
    world.clients["reader"].get("/admin/people")
    page = world.clients["auditor"].get("/audit?event=access_refused").text
    assert "people:manage" in page


def events(world: World) -> int:
    """How long the access log is."""
    with world.app.app_context():
        return db.session().query(AuditEvent).count()


def test_opening_a_patients_data_writes_exactly_one_row(world: World) -> None:
    study = world.arguments["*"]["study_id"]
    client = world.clients["reader"]
    for path in ("/worklist", "/history", "/upload", f"/studies/{study}"):
        before = events(world)
        assert client.get(path).status_code == 200
        assert events(world) == before + 1, path
    for path in (f"/studies/{study}/state", f"/worklist/state?ids={study}", "/account"):
        before = events(world)
        assert client.get(path).status_code == 200
        assert events(world) == before, path


def test_asking_for_another_teams_case_is_written_down(world: World) -> None:
    before = events(world)
    world.clients["outsider"].get(f"/studies/{world.arguments['*']['study_id']}")
    assert events(world) == before + 1
    assert "study" in world.clients["auditor"].get("/audit?event=access_refused").text


def test_admins_and_auditors_see_no_patients_name(world: World) -> None:
    pages = {
        "admin": ("/admin/people", "/admin/jobs", "/admin/data", "/account"),
        "auditor": ("/audit",),
    }
    for who, paths in pages.items():
        for path in paths:
            assert "CANARY" not in world.clients[who].get(path).text
