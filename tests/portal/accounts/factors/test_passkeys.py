"""Passkeys at the core: what is accepted, and every way in which a proof is none."""

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

from portal.access import Denied
from portal.accounts import api_tokens, people, sessions
from portal.accounts.factors import passkeys
from portal.accounts.throttle import Throttle, Throttled
from portal.errors import Invalid
from portal.models import AuditEvent, LoginSession, Passkey, User
from portal.settings import Settings
from tests.support.core import NOW, Core
from tests.support.people import join
from tests.support.sign_in.security_key import Device

ORIGIN = "https://xray.example"
SITE = ("xray.example", ORIGIN)


class Person:
    """Somebody at a browser who has a device."""

    def __init__(self, core: Core, email: str = "rita@example.org") -> None:
        self.core, self.device, self.throttle = core, Device(), Throttle()
        self.id = join(core, email=email, name="R").id
        self.session = self.sign_on()

    def sign_on(self, *, proved: bool = True) -> str:
        with self.core.sessions() as session:
            user = session.get_one(User, self.id)
            return sessions.start_session(
                session, user, address="", agent="", now=NOW, proved=proved
            )

    def register(self, now: datetime = NOW, *, name: str = "Desk", **changes: Any) -> Passkey:
        with self.core.sessions() as session:
            login = self.login(session, now)
            options = passkeys.begin_passkey(session, SITE, login, now)
            made = self.device.create(options, changes.pop("origin", ORIGIN), **changes)
            return passkeys.register_passkey(
                session, SITE, login, name=name, credential=made, now=now
            )

    def ask(self, now: datetime = NOW) -> dict[str, Any]:
        with self.core.sessions() as session:
            return passkeys.ask_passkey(session, SITE, self.login(session, now), now)

    def show(self, credential: str, now: datetime = NOW) -> bool:
        with self.core.sessions() as session:
            return passkeys.check_passkey(
                session, self.throttle, SITE, self.login(session, now), credential, now
            )

    def login(self, session: Any, now: datetime) -> LoginSession:
        found = sessions.load_session(session, self.session, now)
        assert found is not None
        return found[1]


@pytest.fixture
def rita(core: Core) -> Person:
    return Person(core)


def test_a_passkey_is_made_and_opens(rita: Person, core: Core) -> None:
    made = rita.register()
    assert (made.name, made.transports, made.sign_count) == ("Desk", ["usb"], 0)
    options = rita.ask()
    assert options["userVerification"] == "required"
    assert rita.show(rita.device.get(options, ORIGIN))
    with core.sessions() as session:
        row = session.get_one(Passkey, made.id)
        assert (row.sign_count, row.last_used_at) == (1, NOW)


@pytest.mark.parametrize("counts", [True, False])
def test_an_answer_works_once(rita: Person, counts: bool) -> None:
    """Also one of a device without a counter, by which it would be known."""
    rita.device.counts = counts
    rita.register()
    answer = rita.device.get(rita.ask(), ORIGIN)
    assert rita.show(answer)
    assert not rita.show(answer)
    rita.ask()  # nor for a later challenge
    assert not rita.show(answer)


Cheat = Callable[[Person], str]
CHEATS: dict[str, Cheat] = {
    "another origin": lambda p: p.device.get(p.ask(), "https://xray.example.evil.example"),
    "another port": lambda p: p.device.get(p.ask(), ORIGIN + ":8443"),
    "without https": lambda p: p.device.get(p.ask(), "http://xray.example"),
    "another site": lambda p: p.device.get(p.ask(), ORIGIN, rp_id="evil.example"),
    "another challenge": lambda p: p.device.get(p.ask() | {"challenge": "AAAA"}, ORIGIN),
    "made, not signed": lambda p: p.device.get(p.ask(), ORIGIN, type="webauthn.create"),
    "another key": lambda p: Device(credential_id=p.device.credential_id).get(p.ask(), ORIGIN),
    "of a frame in another site": lambda p: p.device.get(p.ask(), ORIGIN, crossOrigin=True),
    "for another person": lambda p: p.device.get(p.ask(), ORIGIN, user_handle=uuid4().bytes),
    "another algorithm": lambda p: _signed_otherwise(p),
    "an unknown credential": lambda p: Device().get(p.ask(), ORIGIN),
    "nobody verified": lambda p: _unverified(p),
    "nothing": lambda p: (p.ask(), "")[1],
    "no object": lambda p: (p.ask(), "[1]")[1],
    "an empty object": lambda p: (p.ask(), "{}")[1],
    "deep": lambda p: (p.ask(), "[" * 10000)[1],
    "long": lambda p: (p.ask(), json.dumps({"rawId": "A" * 20000}))[1],
    "wrong types": lambda p: (p.ask(), json.dumps({"rawId": 7, "response": []}))[1],
}


def _signed_otherwise(person: Person) -> str:
    """The same key, with SHA-512 instead of the hash that it was registered with."""
    answer = json.loads(person.device.get(person.ask(), ORIGIN))
    parts = answer["response"]
    data = base64url_to_bytes(parts["authenticatorData"])
    client = hashlib.sha256(base64url_to_bytes(parts["clientDataJSON"])).digest()
    signature = person.device.key.sign(data + client, ec.ECDSA(hashes.SHA512()))
    parts["signature"] = bytes_to_base64url(signature)
    return json.dumps(answer)


def _unverified(person: Person) -> str:
    person.device.verifies = False
    return person.device.get(person.ask(), ORIGIN)


@pytest.mark.parametrize("cheat", list(CHEATS))
def test_it_refuses(rita: Person, core: Core, cheat: str) -> None:
    rita.register()
    assert not rita.show(CHEATS[cheat](rita))
    with core.sessions() as session:
        last = session.query(AuditEvent).order_by(AuditEvent.seq.desc()).first()
        assert last is not None
        assert (last.event, last.actor_id) == ("passkey_refused", rita.id)
    rita.device.verifies = True
    assert rita.show(rita.device.get(rita.ask(), ORIGIN))  # the right one still opens


def test_the_persons_own_handle_is_right(rita: Person) -> None:
    rita.register()
    assert rita.show(rita.device.get(rita.ask(), ORIGIN, user_handle=rita.id.bytes))


def test_a_counter_set_back_to_nothing_is_a_copy(rita: Person) -> None:
    rita.register()
    assert rita.show(rita.device.get(rita.ask(), ORIGIN))
    rita.device.count = -1
    assert not rita.show(rita.device.get(rita.ask(), ORIGIN))


CBOR = {
    "deep": b"\x81" * 11_000,
    "deep without ends": b"\x9f" * 11_000,
    "a length beyond memory": b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "a text beyond memory": b"\x7b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "a large exponent": b"\xc4\x82\x1a\x7f\xff\xff\xff\x01",
    "by nothing": b"\xd8\x1e\x82\x01\x00",
    "of itself": b"\xd8\x1c\x81\xd8\x1d\x00",
    "empty": b"",
}


@pytest.mark.parametrize("cbor", list(CBOR))
def test_odd_bytes_of_a_device_are_refused(rita: Person, core: Core, cbor: str) -> None:
    with core.sessions() as session:
        login = rita.login(session, NOW)
        options = passkeys.begin_passkey(session, SITE, login, NOW)
        made = json.loads(rita.device.create(options, ORIGIN))
        made["response"]["attestationObject"] = bytes_to_base64url(CBOR[cbor])
        with pytest.raises(Invalid, match="not accepted"):
            passkeys.register_passkey(
                session, SITE, login, name="x", credential=json.dumps(made), now=NOW
            )


def test_another_persons_passkey_opens_nothing(rita: Person, core: Core) -> None:
    other = Person(core, "rob@example.org")
    rita.register()
    other.register()
    assert not rita.show(other.device.get(rita.ask(), ORIGIN))


def test_an_answer_of_another_session_opens_nothing(rita: Person) -> None:
    rita.register()
    answer = rita.device.get(rita.ask(), ORIGIN)
    rita.session = rita.sign_on(proved=False)
    assert not rita.show(answer)
    rita.ask()
    assert not rita.show(answer)


def test_a_challenge_lasts_for_minutes(rita: Person) -> None:
    rita.register()
    answer = rita.device.get(rita.ask(), ORIGIN)
    assert not rita.show(answer, NOW + timedelta(minutes=5))
    answer = rita.device.get(rita.ask(), ORIGIN)
    assert rita.show(answer, NOW + timedelta(minutes=4, seconds=59))


def test_a_counter_that_goes_back_is_a_copy(rita: Person) -> None:
    rita.register()
    for _ in range(3):
        assert rita.show(rita.device.get(rita.ask(), ORIGIN))
    rita.device.count -= 1
    assert not rita.show(rita.device.get(rita.ask(), ORIGIN))
    rita.device.count += 5
    assert rita.show(rita.device.get(rita.ask(), ORIGIN))


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "https://evil.example"},
        {"type": "webauthn.get"},
        {"challenge": "AAAA"},
        {"rp_id": "evil.example"},
        {"crossOrigin": True},
        {"algorithm": -65535},
        {"algorithm": -257},
        {"algorithm": 5},
        {"name": "  "},
        {"name": "\u202e\0"},
    ],
)
def test_an_invalid_passkey_is_not_stored(
    rita: Person, core: Core, changes: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        rita.register(**changes)
    with core.sessions() as session:
        assert passkeys.passkeys_of(session, rita.id) == []
    with pytest.raises(Denied):
        rita.ask()


def test_a_device_without_user_verification_is_not_stored(rita: Person) -> None:
    rita.device.verifies = False
    with pytest.raises(Invalid):
        rita.register()


def test_a_credential_belongs_to_one_person(rita: Person, core: Core) -> None:
    other = Person(core, "rob@example.org")
    other.device = rita.device
    rita.register()
    with pytest.raises(Invalid, match="known already"):
        other.register()


def test_an_answer_to_sign_in_does_not_register(rita: Person, core: Core) -> None:
    rita.register()
    with core.sessions() as session:
        login = rita.login(session, NOW)
        options = passkeys.ask_passkey(session, SITE, login, NOW)
        made = Device().create({"rp": {"id": SITE[0]}, **options}, ORIGIN)
        with pytest.raises(Invalid, match="too long"):
            passkeys.register_passkey(session, SITE, login, name="x", credential=made, now=NOW)


def test_making_and_removing_one_ends_the_other_sessions(rita: Person, core: Core) -> None:
    other = rita.sign_on()
    made = rita.register()
    with core.sessions() as session:
        assert sessions.load_session(session, other, NOW) is None
        login = rita.login(session, NOW)
        another = rita.sign_on()
        passkeys.remove_passkey(session, sessions.actor_of(login.user, login.id), made.id, NOW)
        assert sessions.load_session(session, another, NOW) is None
        assert passkeys.passkeys_of(session, rita.id) == []
    rita.login(core.sessions(), NOW)


def test_nobody_removes_another_persons_passkey(rita: Person, core: Core) -> None:
    other = Person(core, "rob@example.org")
    made = rita.register()
    with core.sessions() as session:
        actor = sessions.actor_of(session.get_one(User, other.id))
        for unknown in (made.id, uuid4()):
            with pytest.raises(Denied):
                passkeys.remove_passkey(session, actor, unknown, NOW)
        assert len(passkeys.passkeys_of(session, rita.id)) == 1


def test_a_reset_takes_passkeys_away(rita: Person, core: Core) -> None:
    rita.register()
    with core.sessions() as session:
        people.reset_factor(session, None, rita.id, NOW)
        assert passkeys.passkeys_of(session, rita.id) == []


def test_guessing_has_to_wait(rita: Person) -> None:
    rita.register()
    for _ in range(4):  # registering takes none of the tries
        assert not rita.show("{}")
    assert not rita.show("{}")
    with pytest.raises(Throttled):
        rita.show("{}")


def test_there_is_an_end_to_passkeys(rita: Person, core: Core) -> None:
    for _ in range(10):
        rita.device = Device()
        rita.register()
    with pytest.raises(Invalid, match="Remove one"):
        rita.register()


@pytest.mark.parametrize(
    ("base_url", "site"),
    [
        ("https://xray.example", ("xray.example", "https://xray.example")),
        ("https://Xray.example:8443/", ("xray.example", "https://xray.example:8443")),
        ("http://localhost:8000", ("localhost", "http://localhost:8000")),
        ("http://xray.example", None),
        ("http://127.0.0.1:8000", None),
        ("https://10.0.0.1", None),
        ("https://[::1]", None),
    ],
)
def test_where_browsers_make_passkeys(
    tmp_path: Any, base_url: str, site: tuple[str, str] | None
) -> None:
    settings = Settings.from_env(
        {"PLEURA_ENV": "test", "PLEURA_DATA_DIR": str(tmp_path), "PLEURA_BASE_URL": base_url}
    )
    assert settings.passkey_site == site


def test_tokens_end_when_a_passkey_comes_or_goes(rita: Person, core: Core) -> None:
    def token() -> str:
        with core.sessions() as session:
            user = session.get_one(User, rita.id)
            day = timedelta(days=1)
            return api_tokens.create_token(
                session, user, scopes=["studies:read"], name="t", lifetime=day, now=NOW
            )[1]

    def works(raw: str) -> bool:
        with core.sessions() as session:
            return api_tokens.load_token(session, raw, NOW) is not None

    raw = token()
    with pytest.raises(Invalid):
        rita.register(origin="https://evil.example")
    assert works(raw)
    made = rita.register()
    assert not works(raw)
    raw = token()
    with core.sessions() as session:
        passkeys.remove_passkey(
            session, sessions.actor_of(session.get_one(User, rita.id)), made.id, NOW
        )
    assert not works(raw)


def test_guessing_from_elsewhere_keeps_nobody_out(rita: Person, core: Core) -> None:
    rita.register()
    for _ in range(5):
        with core.sessions() as session:
            login = rita.login(session, NOW)
            assert not passkeys.check_passkey(
                session, rita.throttle, SITE, login, "{}", NOW, address="203.0.113.9"
            )
    with core.sessions() as session, pytest.raises(Throttled):
        passkeys.check_passkey(
            session, rita.throttle, SITE, rita.login(session, NOW), "{}", NOW, address="203.0.113.9"
        )
    assert rita.show(rita.device.get(rita.ask(), ORIGIN))


def test_a_passkey_is_not_made_after_a_reset_came_between(core: Core) -> None:
    rita = Person(core)
    with core.sessions() as session:
        login = rita.login(session, NOW)
        made = rita.device.create(passkeys.begin_passkey(session, SITE, login, NOW), ORIGIN)
        with core.sessions() as other:
            people.reset_factor(other, None, rita.id, NOW)
        with pytest.raises(sessions.SignedOut):
            passkeys.register_passkey(session, SITE, login, name="x", credential=made, now=NOW)
    with core.sessions() as session:
        assert passkeys.passkeys_of(session, rita.id) == []


def test_a_passkey_that_came_while_another_was_made_counts(
    rita: Person, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one session: the second begins while the first waits between its check and its row."""
    for number in range(passkeys.MOST - 1):
        rita.device = Device()
        rita.register(name=f"Key {number}")
    verify, second = passkeys.webauthn.verify_registration_response, list[str]()

    def begin_another(**given: Any) -> Any:
        if not second:
            with core.sessions() as session:
                options = passkeys.begin_passkey(session, SITE, rita.login(session, NOW), NOW)
            second.append(Device().create(options, ORIGIN))
        return verify(**given)

    monkeypatch.setattr(passkeys.webauthn, "verify_registration_response", begin_another)
    rita.device = Device()
    rita.register(name="The last")
    with core.sessions() as session:
        login = rita.login(session, NOW)
        with pytest.raises(Invalid, match="Remove one first"):
            passkeys.register_passkey(
                session, SITE, login, name="One more", credential=second[0], now=NOW
            )
    with core.sessions() as session:
        assert len(passkeys.passkeys_of(session, rita.id)) == passkeys.MOST
