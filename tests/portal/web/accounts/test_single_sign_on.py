"""Single sign-on against a real provider on loopback: the way in, and what stays shut."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import count, repeat
from pathlib import Path
from typing import Any

import httpx2
import pyotp
import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from portal.accounts import invitations, openid_connect, people, sessions, teams
from portal.accounts.factors import totp
from portal.accounts.throttle import LEAVE
from portal.audit import alarms
from portal.models import AuditEvent, Role, User, db
from portal.settings import Settings, SettingsError
from tests.support.core import Clock, make_settings
from tests.support.hostile_files.damage import other_letter
from tests.support.people import PASSWORD, Person
from tests.support.portal_app import (
    make_app,
    make_person,
    make_token,
    post,
    sign_in,
    sign_in_by_pages,
)
from tests.support.sign_in.identity_provider import CLIENT, SECRET, Provider, serve

MARIA = {
    "sub": "maria-1",
    "email": "Maria@Example.org",
    "email_verified": True,
    "name": "Maria M",
    "groups": ["staff", "xray-readers"],
}


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with serve() as provider:
        yield provider


@pytest.fixture
def provider(running: Provider, clock: Clock) -> Provider:
    """The provider as it is when it is honest."""
    running.now, running.claims = clock().timestamp(), dict(MARIA)
    running.false_claims, running.false_metadata, running.codes = {}, {}, {}
    running.algorithm, running.signing_key = "RS256", None
    running.false_answers, running.compressed = {}, False
    return running


def portal(folder: Path, provider: Provider, clock: Clock, **environ: str) -> Flask:
    settings = {
        "PLEURA_OIDC_ISSUER": provider.url,
        "PLEURA_OIDC_CLIENT_ID": CLIENT,
        "PLEURA_OIDC_CLIENT_SECRET": SECRET,
        "PLEURA_OIDC_ROLES": "xray-readers=reader@Chest; xray-mta=technologist; it=admin",
    } | environ
    return make_app(make_settings(folder / "sso", **settings), clock)


@pytest.fixture
def app(tmp_path: Path, provider: Provider, clock: Clock) -> Flask:
    return portal(tmp_path, provider, clock)


def come(client: FlaskClient, provider: Provider, path: str = "/sign-in/sso") -> TestResponse:
    """Away to the provider and back, as a browser does."""
    away = client.get(path)
    assert away.status_code == 303
    assert away.location.startswith(f"{provider.url}/authorize?")
    return client.get(back_of(provider.authorize(away.location)))


def back_of(address: str) -> str:
    return address.removeprefix("http://127.0.0.1:8000")


def everybody(app: Flask) -> dict[str, User]:
    with app.app_context():
        return {user.email: user for user in people.people(db.session())}


def why(app: Flask) -> str:
    """What the log holds about the last refusal."""
    with app.app_context():
        query = db.select(AuditEvent).order_by(AuditEvent.seq.desc())
        last = db.session.execute(query).scalars().first()
    assert last is not None
    assert last.event == "sso_refused"
    found: str = json.loads(last.detail)["why"]
    return found


def test_the_way_in_ends_before_the_second_factor(
    app: Flask, provider: Provider, client: FlaskClient, clock: Clock
) -> None:
    assert "hospital account" in client.get("/sign-in").text
    page = come(client, provider)
    assert page.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/enrol"' in page.text
    user = everybody(app)["maria@example.org"]
    assert (user.role, user.name, user.password_hash) == (Role.READER, "Maria M", None)
    with app.app_context():
        assert [t.name for t in teams.teams(db.session()) if t.people] == ["Chest"]
    assert client.get("/worklist").location.startswith("/enrol")  # nothing is seen yet

    assert post(client, "/enrol", {"begin": "1"}, page="/enrol").status_code == 303
    key = client.get("/enrol").text.partition('id="totp-key">')[2].partition("<")[0]
    secret = key.replace(" ", "")
    code = {"code": pyotp.TOTP(secret).at(clock())}
    assert post(client, "/enrol", code, page="/enrol").status_code == 200
    assert client.get("/worklist").status_code == 200

    clock.forward(minutes=11)
    provider.now = clock().timestamp()
    other = app.test_client()
    assert "url=/sign-in/code" in come(other, provider).text
    code = {"code": pyotp.TOTP(secret).at(clock())}
    assert post(other, "/sign-in/code", code, page="/sign-in/code").location == "/"
    # The fresh proof of who has no password here is the code.
    clock.forward(minutes=11)
    code = {"code": pyotp.TOTP(secret).at(clock())}
    assert post(other, "/confirm", code, page="/account").location == "/account"


def test_it_goes_on_to_the_page_that_was_asked_for(
    app: Flask, provider: Provider, client: FlaskClient
) -> None:
    assert "url=/enrol?next=/account" in come(client, provider, "/sign-in/sso?next=/account").text
    other = app.test_client()
    assert "evil" not in come(other, provider, "/sign-in/sso?next=https://evil.example").text


Lie = Callable[[Provider], Any]
LIES: dict[str, tuple[Lie, str]] = {
    "wrong nonce": (lambda p: p.false_claims.update(nonce="x"), "token"),
    "no nonce": (lambda p: p.false_claims.update(nonce=None), "token"),
    "expired": (lambda p: p.false_claims.update(exp=int(p.now) - 61), "token"),
    "without an end": (lambda p: p.false_claims.update(exp=None), "token"),
    "from the future": (lambda p: p.false_claims.update(iat=int(p.now) + 600), "token"),
    "wrong audience": (lambda p: p.false_claims.update(aud="another"), "token"),
    "two audiences": (lambda p: p.false_claims.update(aud=[CLIENT, "another"]), "token"),
    "for another party": (lambda p: p.false_claims.update(azp="another"), "token"),
    "wrong issuer": (lambda p: p.false_claims.update(iss="https://evil.example"), "token"),
    "alg none": (lambda p: setattr(p, "algorithm", "none"), "token"),
    "the public key as shared secret": (lambda p: _sign_by_secret(p, _public(p)), "token"),
    "a shared secret": (lambda p: _sign_by_secret(p, SECRET.encode()), "token"),
    "not valid yet": (lambda p: p.false_claims.update(nbf=int(p.now) + 600), "token"),
    "an end that is no number": (lambda p: p.false_claims.update(exp="later"), "token"),
    "an end beyond all numbers": (lambda p: p.false_claims.update(exp=float("inf")), "token"),
    "an end that is none": (lambda p: p.false_claims.update(exp=float("nan")), "token"),
    "an audience that is an object": (lambda p: p.false_claims.update(aud={CLIENT: 1}), "token"),
    "no audience": (lambda p: p.false_claims.update(aud=[]), "token"),
    "a list as issuer": (lambda p: p.false_claims.update(iss=[p.url]), "token"),
    "a list as nonce": (lambda p: p.false_claims.update(nonce=["x"]), "token"),
    "a long subject": (lambda p: p.claims.update(sub="m" * 256), "token"),
    "another key": (lambda p: setattr(p, "signing_key", RSAKey.generate_key(2048)), "token"),
    "no subject": (lambda p: p.claims.update(sub=None), "token"),
    "subject no text": (lambda p: p.claims.update(sub=["maria-1"]), "token"),
    "unmapped group": (lambda p: p.claims.update(groups=["staff"]), "group"),
    "no groups": (lambda p: p.claims.update(groups=None), "group"),
    "groups no list": (lambda p: p.claims.update(groups={"xray-readers": 1}), "group"),
    "a part of a group": (lambda p: p.claims.update(groups="xray-readers2"), "group"),
    "no address": (lambda p: p.claims.update(email=None), "email"),
    "no real address": (lambda p: p.claims.update(email="maria"), "email"),
}


def _public(provider: Provider) -> bytes:
    return provider.key.as_pem(private=False)


def _sign_by_secret(provider: Provider, secret: bytes) -> None:
    provider.algorithm, provider.shared_secret = "HS256", secret


@pytest.mark.parametrize("lie", list(LIES))
def test_it_lets_nobody_in(app: Flask, provider: Provider, client: FlaskClient, lie: str) -> None:
    progress, code = LIES[lie]
    progress(provider)
    answer = come(client, provider)
    assert answer.status_code == 403
    assert "did not give access to Pleura" in answer.text
    assert why(app) == code
    assert everybody(app) == {}
    assert client.get("/account").location.startswith("/sign-in")


def test_a_code_and_an_answer_work_once(
    app: Flask, provider: Provider, client: FlaskClient
) -> None:
    away = client.get("/sign-in/sso")
    cookie = client.get_cookie("pleura-sso")
    assert cookie is not None
    back = back_of(provider.authorize(away.location))
    assert client.get(back).status_code == 200
    assert client.get(back).status_code == 403  # the browser has nothing to compare with
    assert why(app) == "state"
    other = app.test_client()
    other.set_cookie("pleura-sso", cookie.value)
    assert other.get(back).status_code == 403  # and the code itself is spent
    assert why(app) == "code"


def test_an_answer_to_another_browser_is_refused(
    app: Flask, provider: Provider, client: FlaskClient
) -> None:
    attacker = app.test_client()
    attackers = back_of(provider.authorize(attacker.get("/sign-in/sso").location))
    assert client.get(attackers).status_code == 403  # a browser that never left
    client.get("/sign-in/sso")
    assert client.get(attackers).status_code == 403  # one that left with another state
    assert why(app) == "state"  # its code would be refused, too
    assert everybody(app) == {}


def test_a_verifier_of_another_browser_is_refused(
    app: Flask, provider: Provider, client: FlaskClient
) -> None:
    one, other = app.test_client(), app.test_client()
    stolen = back_of(provider.authorize(one.get("/sign-in/sso").location))
    code = stolen.partition("code=")[2].partition("&")[0]
    mine = back_of(provider.authorize(other.get("/sign-in/sso").location))
    swapped = f"/sign-in/sso/back?code={code}&state={mine.partition('state=')[2]}"
    assert other.get(swapped).status_code == 403
    assert why(app) == "code"


def test_what_the_browser_took_along_cannot_be_changed(
    app: Flask, provider: Provider, client: FlaskClient
) -> None:
    back = back_of(provider.authorize(client.get("/sign-in/sso").location))
    cookie = client.get_cookie("pleura-sso")
    assert cookie is not None
    client.set_cookie("pleura-sso", other_letter(cookie.value))
    assert client.get(back).status_code == 403
    assert why(app) == "state"


def test_the_cookie_for_the_way_is_short_lax_and_out_of_reach_of_scripts(
    app: Flask, client: FlaskClient
) -> None:
    (header,) = (h for h in client.get("/sign-in/sso").headers.getlist("Set-Cookie") if "-sso" in h)
    assert "HttpOnly" in header
    assert "SameSite=Lax" in header
    assert "Max-Age=600" in header


@pytest.mark.parametrize(
    "false_metadata",
    [
        {"token_endpoint": "http://169.254.169.254/token"},
        {"jwks_uri": "https://evil.example/keys"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": None},
        {"issuer": "https://evil.example"},
        {"issuer": 7},
        {"issuer": ["https://evil.example"]},
        {"issuer": None},
        {"jwks_uri": 5},
        {"authorization_endpoint": {"a": 1}},
        {"token_endpoint": "//x"},
        {"token_endpoint": "http://[::1"},
        {"authorization_endpoint": "ISSUER/\ud800"},
        {"jwks_uri": "ISSUER/\0"},
    ],
)
def test_the_issuer_is_the_only_host_that_is_called(
    app: Flask, provider: Provider, client: FlaskClient, false_metadata: dict[str, Any]
) -> None:
    provider.false_metadata = {
        name: address.replace("ISSUER", provider.url) if isinstance(address, str) else address
        for name, address in false_metadata.items()
    }
    provider.asked.clear()
    answer = client.get("/sign-in/sso")
    assert answer.status_code == 503
    assert "could not be reached" in answer.text
    assert provider.asked == ["/.well-known/openid-configuration"]


def test_a_key_that_the_issuer_has_changed_is_used_at_once(
    app: Flask, provider: Provider, client: FlaskClient
) -> None:
    before = provider.key
    assert come(client, provider).status_code == 200
    provider.key = RSAKey.generate_key(2048, {"kid": "two"})
    assert come(app.test_client(), provider).status_code == 200
    provider.signing_key = before  # and the one before no longer
    assert come(app.test_client(), provider).status_code == 403
    provider.key = before


DISCOVERY, KEYS, TOKEN = "/.well-known/openid-configuration", "/keys", "/token"
ANSWERS: dict[str, Callable[[], Iterable[bytes]]] = {
    "endless": lambda: repeat(b" " * 65536, 1024),
    "deep": lambda: [b'{"a":' * 40_000],
    "many digits": lambda: [b'{"issuer": ' + b"9" * 200_000 + b"}"],
    "no JSON": lambda: [b"<html>"],
    "a list": lambda: [b"[]"],
    "no text": lambda: [b"\xff\xfe"],
}


@pytest.mark.parametrize("path", [DISCOVERY, KEYS, TOKEN])
def test_an_odd_answer_of_the_issuer_is_cut_off_and_lets_nobody_in(
    app: Flask, provider: Provider, client: FlaskClient, clock: Clock, path: str
) -> None:
    for answer, parts in ANSWERS.items():
        clock.forward(seconds=31)  # after no usable answer nobody asks for half a minute
        provider.now = clock().timestamp()
        provider.false_answers, provider.answered_bytes = {path: parts()}, 0
        if path == DISCOVERY:
            assert client.get("/sign-in/sso").status_code == 503, answer
        else:
            assert come(client, provider).status_code in (403, 503), answer
        assert provider.answered_bytes < 8 * 1024 * 1024, answer  # sockets hold some of it
    assert everybody(app) == {}


def test_an_issuers_answer_is_not_unpacked(provider: Provider, client: FlaskClient) -> None:
    provider.compressed = True
    assert client.get("/sign-in/sso").status_code == 503


def test_an_answer_that_comes_drop_by_drop_has_an_end() -> None:
    class Drops(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield from repeat(b" ", 100)

    seconds = count(0.0, 1.0)
    with pytest.raises(httpx2.ReadTimeout):
        list(openid_connect.BoundedBody(Drops(), clock=lambda: next(seconds)))
    assert next(seconds) < 15


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri"])
def test_an_address_that_cannot_be_called_is_reported(
    app: Flask, provider: Provider, client: FlaskClient, name: str
) -> None:
    provider.false_metadata = {name: f"{provider.url}/{'x' * 70_000}"}
    assert come(client, provider).status_code == 503


def test_an_outsider_makes_the_portal_call_the_issuer_once_in_five_minutes(
    app: Flask, provider: Provider, client: FlaskClient, clock: Clock
) -> None:
    provider.asked.clear()
    answers = [client.get("/sign-in/sso") for _ in range(LEAVE.tries + 2)]
    assert [answer.status_code for answer in answers] == [303] * LEAVE.tries + [429] * 2
    elsewhere = {"REMOTE_ADDR": "203.0.113.9"}
    assert client.get("/sign-in/sso", environ_base=elsewhere).status_code == 303
    assert provider.asked == ["/.well-known/openid-configuration"]
    clock.forward(minutes=5)
    assert client.get("/sign-in/sso").status_code == 303
    assert len(provider.asked) == 2


def test_after_a_reset_single_sign_on_starts_no_enrolment(
    app: Flask, provider: Provider, clock: Clock
) -> None:
    come(app.test_client(), provider)
    maria = enrolled(app, clock)
    with app.app_context():
        _, link = people.reset_factor(db.session(), None, maria.id, clock())
    browser = app.test_client()
    assert come(browser, provider).status_code == 403
    assert why(app) == "reset"
    assert browser.get("/enrol").location.startswith("/sign-in")
    path = f"/join/{link}"
    assert post(browser, path, {"password": PASSWORD}, page=path).location == "/enrol"
    enrolled(app, clock)
    assert "url=/sign-in/code" in come(app.test_client(), provider).text


def test_an_issuer_that_does_not_answer_is_reported(tmp_path: Path, clock: Clock) -> None:
    nobody = Provider(url="http://127.0.0.1:9")
    client = portal(tmp_path, nobody, clock).test_client()
    assert client.get("/sign-in/sso").status_code == 503
    assert client.get("/sign-in").status_code == 200


def test_another_group_changes_role_and_ends_sessions(
    app: Flask, provider: Provider, client: FlaskClient
) -> None:
    come(client, provider)
    provider.claims["groups"] = ["xray-mta"]
    come(app.test_client(), provider)
    assert everybody(app)["maria@example.org"].role is Role.TECHNOLOGIST
    assert client.get("/enrol").location.startswith("/sign-in")
    provider.claims["groups"] = []
    assert come(app.test_client(), provider).status_code == 403


def enrolled(app: Flask, clock: Clock, email: str = "maria@example.org") -> Person:
    """Somebody who came from the issuer, with a second factor now."""
    vault = app.extensions["pleura"].vault
    with app.app_context():
        session = db.session()
        user = session.scalars(db.select(User).where(User.email == email)).one()
        secret, _ = totp.begin_totp(session, vault, user, clock())
        earlier = pyotp.TOTP(secret).at(clock() - timedelta(seconds=30))
        codes = totp.confirm_totp(session, vault, user, earlier, clock())
        return Person(user.id, email, "", secret, tuple(codes))


def reach(app: Flask, raw: str) -> int:
    """What a program with this API token gets."""
    headers = {"Authorization": f"Bearer {raw}"}
    return app.test_client().get("/api/v1/studies", headers=headers).status_code


@pytest.mark.parametrize("groups", [["hand"], ["xray-mta"], ["staff"], []])
def test_another_team_role_or_no_group_ends_tokens_and_sessions(
    tmp_path: Path, provider: Provider, clock: Clock, groups: list[str]
) -> None:
    roles = "xray-readers=reader@Chest; hand=reader@Hand; xray-mta=technologist@Chest"
    app = portal(tmp_path, provider, clock, PLEURA_OIDC_ROLES=roles)
    come(app.test_client(), provider)
    maria = enrolled(app, clock)
    raw, browser = make_token(app, maria, "studies:read"), sign_in(app, maria)
    assert (reach(app, raw), browser.get("/worklist").status_code) == (200, 200)
    come(app.test_client(), provider)  # nothing has changed at the issuer
    assert (reach(app, raw), browser.get("/worklist").status_code) == (200, 200)
    provider.claims["groups"] = groups
    come(app.test_client(), provider)
    assert (reach(app, raw), browser.get("/worklist").status_code) == (401, 303)
    provider.claims["groups"] = MARIA["groups"]
    come(app.test_client(), provider)
    assert reach(app, raw) == 401


@pytest.mark.parametrize("groups", [["xray-mta"], []])
def test_links_of_an_admin_whom_the_issuer_demotes_end(
    app: Flask, provider: Provider, clock: Clock, groups: list[str]
) -> None:
    provider.claims["groups"] = ["it"]
    come(app.test_client(), provider)
    maria = enrolled(app, clock)
    with app.app_context():
        session = db.session()
        actor = sessions.actor_of(session.get_one(User, maria.id))
        _, link = invitations.invite(
            session, actor, name="N", email="n@example.org", role=Role.ADMIN, now=clock()
        )
    assert app.test_client().get(f"/join/{link}").status_code == 200
    provider.claims["groups"] = groups
    come(app.test_client(), provider)
    assert app.test_client().get(f"/join/{link}").status_code == 404


def test_a_role_that_the_issuer_gives_raises_an_alarm(
    app: Flask, provider: Provider, clock: Clock
) -> None:
    auditor = make_person(app, Role.AUDITOR)
    come(app.test_client(), provider)
    provider.claims["groups"] = ["it"]
    come(app.test_client(), provider)
    with app.app_context():
        session = db.session()
        (alarm,), _ = alarms.unseen(session, sessions.actor_of(session.get_one(User, auditor.id)))
    assert (alarm.event, alarm.detail["how"], alarm.subject) == ("admin_made", "sso", "Maria M")


def test_whoever_first_comes_as_an_administrator_raises_an_alarm(
    app: Flask, provider: Provider
) -> None:
    auditor = make_person(app, Role.AUDITOR)
    provider.claims["groups"] = ["it"]
    come(app.test_client(), provider)
    with app.app_context():
        session = db.session()
        (alarm,), _ = alarms.unseen(session, sessions.actor_of(session.get_one(User, auditor.id)))
    assert (alarm.event, alarm.detail["how"], alarm.person) == ("admin_made", "sso", "Maria M")


def test_who_is_shut_out_stays_out(app: Flask, provider: Provider, client: FlaskClient) -> None:
    come(client, provider)
    admin = make_person(app, Role.ADMIN)
    user = everybody(app)["maria@example.org"]
    post(sign_in(app, admin), f"/admin/people/{user.id}/disable")
    assert come(app.test_client(), provider).status_code == 403
    assert why(app) == "disabled"


def invited(app: Flask, clock: Clock, email: str = "maria@example.org", by: bool = True) -> None:
    admin = make_person(app, Role.ADMIN)
    with app.app_context():
        session = db.session()
        actor = sessions.actor_of(session.get_one(User, admin.id)) if by else None
        invitations.invite(
            session, actor, name="M", email=email, role=Role.TECHNOLOGIST, team="Ward", now=clock()
        )


def test_by_invitation_alone_the_invitation_decides_role_and_team(
    tmp_path: Path, provider: Provider, clock: Clock
) -> None:
    app = portal(tmp_path, provider, clock, PLEURA_OIDC_PROVISION="invited", PLEURA_OIDC_ROLES="")
    assert come(app.test_client(), provider).status_code == 403
    assert why(app) == "invitation"
    invited(app, clock)
    provider.claims["email_verified"] = False
    assert come(app.test_client(), provider).status_code == 403
    assert why(app) == "email"
    provider.claims["email_verified"] = True
    assert come(app.test_client(), provider).status_code == 200
    assert everybody(app)["maria@example.org"].role is Role.TECHNOLOGIST
    provider.claims |= {"sub": "another", "email": "maria@example.org"}
    assert come(app.test_client(), provider).status_code == 403  # the invitation worked once


@pytest.mark.parametrize(
    ("verified", "by_admin", "status"), [(True, True, 200), (False, True, 403), (True, False, 403)]
)
def test_an_account_is_linked_by_a_verified_address_and_never_a_local_one(
    app: Flask, provider: Provider, clock: Clock, verified: bool, by_admin: bool, status: int
) -> None:
    admin = make_person(app, Role.ADMIN)
    with app.app_context():
        session = db.session()
        actor = sessions.actor_of(session.get_one(User, admin.id)) if by_admin else None
        _, link = invitations.invite(
            session, actor, name="M", email="maria@example.org", role=Role.READER, now=clock()
        )
        invitations.accept_invitation(session, link, password=PASSWORD, now=clock())
    provider.claims["email_verified"] = verified
    assert come(app.test_client(), provider).status_code == status


def test_passwords_can_be_left_to_flagged_accounts(
    tmp_path: Path, provider: Provider, clock: Clock
) -> None:
    app = portal(tmp_path, provider, clock, PLEURA_LOCAL_SIGN_IN="flagged")
    local = make_person(app, Role.ADMIN)  # by the command line
    assert sign_in_by_pages(app.test_client(), local, clock()).status_code == 303
    with app.app_context():
        session = db.session()
        session.get_one(User, local.id).local_sign_in = False
        session.commit()
    clock.forward(seconds=60)
    answer = sign_in_by_pages(app.test_client(), local, clock())
    assert answer.status_code == 401
    assert "wrong" in answer.text


@pytest.mark.parametrize(("by", "status"), [(True, 404), (False, 200)])
def test_an_invitation_is_no_way_round_the_issuer(
    tmp_path: Path, provider: Provider, clock: Clock, by: bool, status: int
) -> None:
    app = portal(tmp_path, provider, clock, PLEURA_LOCAL_SIGN_IN="flagged")
    admin = make_person(app, Role.ADMIN)
    with app.app_context():
        session = db.session()
        actor = sessions.actor_of(session.get_one(User, admin.id)) if by else None
        _, link = invitations.invite(
            session, actor, name="M", email="m@example.org", role=Role.READER, now=clock()
        )
    page = app.test_client().get(f"/join/{link}")
    assert page.status_code == status
    assert ("hospital account" in page.text) == by


def test_without_an_issuer_there_is_no_such_page(tmp_path: Path) -> None:
    client = make_app(make_settings(tmp_path)).test_client()
    for path in ("/sign-in/sso", "/sign-in/sso/back?code=x&state=y"):
        assert client.get(path).status_code == 404
    assert "hospital account" not in client.get("/sign-in").text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"PLEURA_OIDC_ISSUER": "login.example"}, "PLEURA_OIDC_ISSUER"),
        ({"PLEURA_OIDC_ISSUER": "https://a:b@login.example"}, "PLEURA_OIDC_ISSUER"),
        ({"PLEURA_OIDC_CLIENT_SECRET": ""}, "PLEURA_OIDC_CLIENT_SECRET"),
        ({"PLEURA_OIDC_ROLES": ""}, "PLEURA_OIDC_ROLES"),
        ({"PLEURA_OIDC_ROLES": "x=owner"}, "PLEURA_OIDC_ROLES"),
        ({"PLEURA_OIDC_ROLES": "reader"}, "PLEURA_OIDC_ROLES"),
        ({"PLEURA_OIDC_PROVISION": "all"}, "PLEURA_OIDC_PROVISION"),
        ({"PLEURA_LOCAL_SIGN_IN": "nobody"}, "PLEURA_LOCAL_SIGN_IN"),
        ({"PLEURA_OIDC_ISSUER": "", "PLEURA_LOCAL_SIGN_IN": "flagged"}, "PLEURA_LOCAL_SIGN_IN"),
        ({"PLEURA_ENV": "production", "PLEURA_OIDC_ISSUER": "http://login.example"}, "https"),
        ({"PLEURA_ENV": "production", "PLEURA_OIDC_ISSUER": "https://localhost"}, "internal"),
        ({"PLEURA_ENV": "production", "PLEURA_OIDC_ISSUER": "https://169.254.169.254"}, "internal"),
        ({"PLEURA_ENV": "production", "PLEURA_OIDC_ISSUER": "https://[::1]/x"}, "internal"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tmp_path: Path, changes: dict[str, str], named: str
) -> None:
    settings = {
        "PLEURA_ENV": "test",
        "PLEURA_DATA_DIR": str(tmp_path),
        "PLEURA_OIDC_ISSUER": "https://login.example",
        "PLEURA_OIDC_CLIENT_ID": CLIENT,
        "PLEURA_OIDC_CLIENT_SECRET": SECRET,
        "PLEURA_OIDC_ROLES": "xray=reader",
    }
    assert Settings.from_env(settings).sso is not None
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(settings | changes)
    assert named in str(refused.value)
    assert SECRET not in str(refused.value)
