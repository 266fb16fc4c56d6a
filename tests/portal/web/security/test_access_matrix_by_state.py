"""Role × whose study × state of the study × route: what a state adds to the matrix and takes away.

`test_matrix` asks about studies that are done. Here the same routes are asked about one that was
just received, one that is being analysed, one that failed and one that was purged.
"""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from flask import Flask
from werkzeug.routing import Rule

from portal.accounts import sessions
from portal.governance import purges
from portal.models import JobKind, PurgeReason, Role, User, db
from tests.portal.web.security.test_access_matrix import ALLOWED, OTHER, OWN, TEAM, ask, named
from tests.portal.web.security.test_rules import is_refused
from tests.support.core import Clock, make_settings
from tests.support.people import Person
from tests.support.portal_app import (
    HttpWorker,
    analyse,
    csrf_of,
    job_of,
    make_app,
    make_person,
    make_study,
    make_token,
    sign_in,
)

T, R, A = Role.TECHNOLOGIST, Role.READER, Role.ADMIN
STATES = ("received", "analysing", "failed", "purged")
NO_PICTURES = {"reading.blob", "api.mask", "api.overlay"}
# Of each state but the last: the routes that lead nobody anywhere yet.
SHUT = {
    "received": NO_PICTURES,
    "analysing": {"api.mask", "api.overlay"},
    "failed": NO_PICTURES,
}
LEAST_CELLS = 830


class Hospital:
    """Somebody of every role and a mate in one team, and a technologist of another."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.app = make_app(make_settings(folder), self.clock)
        self.people = {role: make_person(self.app, role) for role in Role}
        self.other = make_person(self.app, T, team="Elsewhere")
        self.mate = make_person(self.app, R)
        self.tokens = {
            role: make_token(self.app, self.people[role], "studies:read", *more)
            for role, more in ((T, ()), (R, ("reviews:write",)))
        }
        self._shades = iter(range(1, 200))

    def study(self, sender: Person, state: str) -> UUID:
        """A study of theirs in that state."""
        study = make_study(self.app, sender, shade=next(self._shades))
        worker = HttpWorker(self.app)
        if state == "analysing":
            worker.do(job_of(self.app, study, JobKind.RENDER))
        elif state == "failed":
            render = job_of(self.app, study)
            ticket = worker.claim(render).json["ticket"]
            answer = worker.call(
                "POST",
                f"jobs/{render}/fail",
                ticket,
                json={"code": "decode_failed", "kind": "permanent"},
            )
            assert answer.status_code < 300, answer.text
        elif state == "purged":
            analyse(self.app, study)
            with self.app.app_context():
                session = db.session()
                admin = sessions.actor_of(session.get_one(User, self.people[A].id))
                vault = self.app.extensions["pleura"].vault
                reason = PurgeReason.TEST_DATA
                purges.purge(
                    session, vault, admin, study, self.clock(), reason=reason, reference=""
                )
        return study

    def whose(self, role: Role, state: str) -> dict[str, UUID]:
        """A study in that state for each relation that this role can have to one."""
        found = {TEAM: self.study(self.mate, state), OTHER: self.study(self.other, state)}
        if role in (T, R):
            found[OWN] = self.study(self.people[role], state)
        return found


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    return Hospital(Path(tmp_path_factory.mktemp("states")))


def routes(app: Flask) -> Iterator[tuple[Rule, str]]:
    """Every route that names a study."""
    return ((rule, method) for rule, method, argument in named(app) if argument == "study_id")


def may(endpoint: str, role: Role | None, relation: str, state: str) -> bool:
    """Whether this route leads somewhere."""
    if state == "purged" and endpoint != "reading.following":  # on to the worklist, as ever
        return role is A and endpoint.startswith("data.")  # the proof, and a reason why not
    within = role is not None and relation in ALLOWED[endpoint].get(role, set())
    return within and endpoint not in SHUT.get(state, set())


@pytest.mark.sampled(2)
@pytest.mark.parametrize("state", STATES)
def test_each_role_reaches_what_is_there_in_this_state(hospital: Hospital, state: str) -> None:
    app, cells, wrong = hospital.app, 0, []
    for role in (*Role, None):
        whose = hospital.whose(role or T, state)
        for rule, method in routes(app):
            client = sign_in(app, hospital.people[role]) if role else app.test_client()
            token = csrf_of(client) if role else csrf_of(client, "/sign-in")
            for relation, study in whose.items():
                key = hospital.tokens.get(role) if role else None
                answer = ask(app, client, token, key, rule, method, {"study_id": study})
                assert answer.status_code < 500, (rule.rule, role)
                cells += 1
                if (not is_refused(answer)) is not may(rule.endpoint, role, relation, state):
                    wrong.append((method, rule.endpoint, role, relation, answer.status_code))
    assert wrong == []
    assert cells >= LEAST_CELLS / len(STATES), f"only {cells} cells were tried"
    print(f"{cells} cells")
