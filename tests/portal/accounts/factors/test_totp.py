"""Second factors: each code once, each secret for its own person and session."""

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pyotp
import pytest
from sqlalchemy import delete

from portal.accounts.factors import totp
from portal.accounts.factors.totp import matching_step, qr_code
from portal.errors import Invalid
from portal.models import RecoveryCode, User
from tests.support.core import NOW, Core
from tests.support.people import enrol, join


def test_a_code_used_twice_at_once_opens_once(core: Core) -> None:
    user = join(core)
    secret, codes = enrol(core, user)
    for code in (pyotp.TOTP(secret).at(NOW), codes[3]):

        def use(_: int, code: str = code) -> bool:
            with core.sessions() as session:
                row = session.get_one(User, user.id)
                return totp.check_second_factor(session, core.vault, row, code, NOW)

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(use, range(4))) == [False, False, False, True]


def test_a_waiting_secret_is_the_same_until_its_code_comes(core: Core) -> None:
    user = join(core)
    with core.sessions() as session:
        row = session.get_one(User, user.id)
        first, uri = totp.begin_totp(session, core.vault, row, NOW)
        again, _ = totp.begin_totp(session, core.vault, row, NOW)
        assert first == again
        assert uri.startswith("otpauth://totp/Pleura:a%40example.org?secret=")
        with pytest.raises(Invalid):
            totp.confirm_totp(session, core.vault, row, "12", NOW)
        assert row.sealed_totp is None


def test_a_new_secret_is_for_the_session_that_began_it_and_a_quarter_of_an_hour(
    core: Core,
) -> None:
    user = join(core)
    _, codes = enrol(core, user)
    mine, other = uuid4(), uuid4()
    with core.sessions() as session:
        row, vault = session.get_one(User, user.id), core.vault

        def begin(session_id: UUID, minutes: int) -> str:
            moment = NOW + timedelta(minutes=minutes)
            return totp.begin_totp(session, vault, row, moment, session_id=session_id)[0]

        def confirm(session_id: UUID, minutes: int, secret: str) -> list[str]:
            moment = NOW + timedelta(minutes=minutes)
            code = pyotp.TOTP(secret).at(moment)
            return totp.confirm_totp(session, vault, row, code, moment, session_id=session_id)

        waiting = begin(other, 0)
        with pytest.raises(Invalid):
            confirm(mine, 1, waiting)  # the page that somebody else left open
        assert begin(mine, 1) != waiting
        waiting = begin(mine, 14)
        assert waiting == begin(mine, 15)
        with pytest.raises(Invalid):
            confirm(mine, 16, waiting)
        assert begin(mine, 16) != waiting
        assert totp.check_second_factor(session, vault, row, codes[0], NOW)  # the old factor works
        latest = begin(mine, 17)
        assert len(confirm(mine, 17, latest)) == 10
        later = NOW + timedelta(minutes=18)
        assert totp.check_second_factor(session, vault, row, pyotp.TOTP(latest).at(later), later)


def test_a_sealed_secret_of_another_person_does_not_open(core: Core) -> None:
    user, other = join(core), join(core, email="b@example.org")
    enrol(core, user)
    secret, _ = enrol(core, other)
    with core.sessions() as session:
        row, another = session.get_one(User, user.id), session.get_one(User, other.id)
        row.sealed_totp = another.sealed_totp
        session.commit()
        with pytest.raises(Exception, match=r".*"):
            totp.check_second_factor(session, core.vault, row, pyotp.TOTP(secret).at(NOW), NOW)


@pytest.mark.parametrize(
    "code", ["", "12345", "1234567", "abcdef", "１２３４５６", "0" * 5000, "\ud800"]
)
def test_no_odd_code_is_accepted(core: Core, code: str) -> None:
    user = join(core)
    enrol(core, user)
    with core.sessions() as session:
        row = session.get_one(User, user.id)
        assert not totp.check_second_factor(session, core.vault, row, code, NOW)


def test_recovery_codes_cannot_be_computed_from_their_digests(core: Core) -> None:
    """At least 128 random bits each: their digests are plain SHA-256."""
    user = join(core)
    _, codes = enrol(core, user)
    letters = {letter for code in codes for letter in code} - {"-"}
    for code in codes:
        bare = code.replace("-", "")
        assert code == "-".join(bare[i : i + 4] for i in range(0, len(bare), 4))
        assert len(bare) * math.log2(len(letters)) >= 128


def test_recovery_codes_of_version_0_1_open_nothing(core: Core) -> None:
    """79 bits; what is stored of them is their digest alone. The app's codes go on working."""
    user = join(core)
    secret, _ = enrol(core, user)
    weak, between = "abcdefghjkmnpqrs", "abcdefghjkmnpqrstuvwxyz23456"  # pragma: allowlist secret
    with core.sessions() as session:
        row = session.get_one(User, user.id)
        session.execute(delete(RecoveryCode))
        for code in (weak, between):
            digest = hashlib.sha256(code.encode()).hexdigest()
            session.add(RecoveryCode(user_id=user.id, code_hash=digest))
        session.commit()
        assert totp.recovery_codes_left(session, row) == 0
        assert totp.has_old_recovery_codes(session, row)
        for typed in (weak, "abcd-efgh-jkmn-pqrs", weak.upper()):
            assert not totp.check_second_factor(session, core.vault, row, typed, NOW)
        # One of 138 bits that was made before codes were marked is as good as any.
        assert totp.check_second_factor(session, core.vault, row, between, NOW)
        code = pyotp.TOTP(secret).at(NOW)
        assert totp.check_second_factor(session, core.vault, row, code, NOW)
        codes = totp.new_recovery_codes(session, row, NOW)
        assert totp.recovery_codes_left(session, row) == len(codes)
        assert not totp.has_old_recovery_codes(session, row)
        assert totp.check_second_factor(session, core.vault, row, codes[0], NOW)


def test_codes_may_be_typed_with_spaces() -> None:
    secret = pyotp.random_base32()
    code = pyotp.TOTP(secret).at(NOW)
    assert matching_step(secret, f" {code[:3]} {code[3:]} ", NOW) == int(NOW.timestamp()) // 30


def test_the_qr_code_is_an_image_of_this_page() -> None:
    assert qr_code("otpauth://totp/x?secret=ABC").startswith("data:image/svg+xml")
