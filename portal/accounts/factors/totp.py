"""The second factor: time-based codes (RFC 6238) and the ten recovery codes that replace them.

A code works once: the step it belongs to is stored, and only a later one is accepted. A new
secret waits beside the old one until a code made with it has been shown, in the login session that
it was made for and within a quarter of an hour.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pyotp
import segno
from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor
from portal.accounts.api_tokens import revoke_all
from portal.accounts.device_cookies import DeviceCookie
from portal.accounts.sessions import actor_of, close_sessions, lock_unchanged, recent_addresses
from portal.accounts.throttle import (
    CODE,
    CODE_EVERYWHERE,
    DEVICE_CODE,
    STEP_UP,
    Limit,
    Throttle,
    at,
    origin,
)
from portal.database import rows_changed
from portal.errors import Invalid
from portal.models import Passkey, RecoveryCode, User
from portal.vault import Vault

STEP_SECONDS = 30
DRIFT_STEPS = 1  # the telephone's clock may be one step off, either way
RECOVERY_CODES = 10
WAITING = timedelta(minutes=15)  # how long a new secret waits for its first code
_ISSUER = "Pleura"
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no look-alikes  # pragma: allowlist secret
_GROUPS, _GROUP = 7, 4  # 28 characters, 138 bits: a plain hash is enough
# Begins what is stored of such a code. Version 0.1 had codes of 16 characters, 79 bits, and stored
# the hash alone; so do codes of 28 that were made before they were marked.
_MARK = "28:"


def begin_totp(
    session: Session, vault: Vault, user: User, now: datetime, *, session_id: UUID | None = None
) -> tuple[str, str]:
    """Make a new secret that waits for its first code; returns it and its otpauth address.

    `waiting_totp` shows it again. `session_id` is the login session that asks. Asked again by the
    same one before the code comes, the same secret is returned, so that asking twice does not
    spoil the one already scanned. What another session began, or this one too long ago, is
    replaced: nobody comes to share a secret with whoever opened the page before them.
    """
    secret = _waiting(vault, user, session_id, now)
    if secret is None:
        # Looked at once more while locked: two pages of one session show the same.
        session.refresh(user, ["sealed_totp_pending"], with_for_update={"key_share": True})
        secret = _waiting(vault, user, session_id, now)
        if secret is None:
            secret = pyotp.random_base32()
            begun = now.astimezone(UTC).isoformat()
            user.sealed_totp_pending = vault.seal_totp(user.id, f"{secret} {session_id} {begun}")
        session.commit()
    return secret, _address_of(user, secret)


def waiting_totp(
    vault: Vault, user: User, now: datetime, *, session_id: UUID | None = None
) -> tuple[str, str] | None:
    """The secret that this login session has begun, and its otpauth address; changes nothing."""
    secret = _waiting(vault, user, session_id, now)
    return (secret, _address_of(user, secret)) if secret is not None else None


def confirm_totp(
    session: Session,
    vault: Vault,
    user: User,
    code: str,
    now: datetime,
    *,
    session_id: UUID | None = None,
    throttle: Throttle | None = None,
) -> list[str]:
    """Make the waiting secret count, end sessions and API tokens, and return ten recovery codes.

    Raises `Invalid` and changes nothing unless the code was made with the secret that waits for
    this login session, `Throttled` after too many tries, and `SignedOut` where the person's
    sessions were ended meanwhile.
    """
    if throttle is not None:
        throttle.take([(STEP_UP, f"enrol {session_id or user.id}")], now)
    secret = _waiting(vault, user, session_id, now)
    if secret is None:
        raise Invalid("code", "there is no new secret")
    step = matching_step(secret, code, now)
    if step is None:
        raise Invalid("code", "the code does not match")
    lock_unchanged(session, user)
    user.sealed_totp, user.sealed_totp_pending = vault.seal_totp(user.id, secret), None
    user.last_totp_step = step
    user.enrolled_at = user.enrolled_at or now
    codes = _replace_recovery_codes(session, user)
    close_sessions(session, user.id, now)
    ended = {"tokens": revoke_all(session, user.id, now)}
    audit.append(session, "factor_set", actor=actor_of(user), now=now, detail=ended)
    session.commit()
    return codes


def check_second_factor(
    session: Session,
    vault: Vault,
    user: User,
    code: str,
    now: datetime,
    *,
    throttle: Throttle | None = None,
    session_id: UUID | None = None,
    address: str = "",
    device_cookie: DeviceCookie | None = None,
) -> bool:
    """Whether the code is right: a time-based one, or one of the recovery codes. Once each.

    `session_id` is for the access log. Raises `Throttled` after too many tries, see `count_try`.
    """
    counted = None
    if throttle is not None:
        counted = count_try(session, throttle, user, address, now, device_cookie)
    if user.sealed_totp is None:
        return False
    actor = actor_of(user, session_id, address)
    typed = "".join(code.split())
    if typed.isascii() and typed.isdigit():
        accepted = _use_totp(session, vault, user, typed, now)
    else:
        accepted = _use_recovery_code(session, user, typed, now, actor)
    if accepted and throttle is not None and counted is not None:
        throttle.forgive(*counted)
    if not accepted:
        audit.append(session, "code_refused", actor=actor, now=now)
    session.commit()
    return accepted


def count_try(
    session: Session,
    throttle: Throttle,
    user: User,
    address: str,
    now: datetime,
    device_cookie: DeviceCookie | None = None,
) -> tuple[Limit, str]:
    """Count a try at the second factor, before it is known whether it succeeds.

    Raises `Throttled` after too many: of this person from here, or of this person from everywhere
    unless they have signed in from here before. A browser with a device cookie of this person is
    counted for itself alone. Who knows the password alone spends their own tries and doesn't keep
    the owner out of their own place. Returns what to forgive if the try succeeds.
    """
    device = device_cookie.device_of(user, now) if device_cookie else None
    user_id = user.id
    own = (CODE, at(str(user_id), address)) if device is None else (DEVICE_CODE, device.number)
    session.commit()  # Redis may take its time: let others write meanwhile
    throttle.take([own], now)
    if device is None:
        known_here = {origin(one) for one in recent_addresses(session, user_id, now)}
        session.commit()
        if origin(address) not in known_here:
            throttle.take([(CODE_EVERYWHERE, str(user_id))], now)
    return own


def new_recovery_codes(session: Session, user: User, now: datetime) -> list[str]:
    """Ten new recovery codes, to be shown once; the old ones no longer work.

    Raises `SignedOut` where the person's sessions were ended meanwhile.
    """
    lock_unchanged(session, user)  # also: of two requests at once, the later ends the codes of both
    codes = _replace_recovery_codes(session, user)
    audit.append(session, "recovery_codes_made", actor=actor_of(user), now=now)
    session.commit()
    return codes


def recovery_codes_left(session: Session, user: User) -> int:
    """How many recovery codes have not been used; without those that may be of version 0.1."""
    return sum(stored.startswith(_MARK) for stored in _unused(session, user))


def has_old_recovery_codes(session: Session, user: User) -> bool:
    """Whether a person has unused codes that may be of version 0.1, whose codes no longer work."""
    return not all(stored.startswith(_MARK) for stored in _unused(session, user))


def drop_factor(session: Session, user: User) -> None:
    """Delete secret, recovery codes and passkeys, in the caller's transaction."""
    session.execute(delete(Passkey).where(Passkey.user_id == user.id))
    user.sealed_totp = user.sealed_totp_pending = user.last_totp_step = None
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """The time step within the drift to which the code belongs."""
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    step_now = int(now.timestamp()) // STEP_SECONDS
    typed = "".join(code.split()).encode("utf-8", "surrogatepass")
    found = None
    for step in range(step_now - DRIFT_STEPS, step_now + DRIFT_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), typed):
            found = step
    return found


def qr_code(uri: str) -> str:
    """The address as a QR code: a `data:` URI of an SVG, dark on light in either theme."""
    return segno.make(uri, error="m", micro=False).svg_data_uri(
        scale=5, border=4, dark="#000", light="#fff", omitsize=True
    )


def _address_of(user: User, secret: str) -> str:
    return pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=_ISSUER)


def _waiting(vault: Vault, user: User, session_id: UUID | None, now: datetime) -> str | None:
    """The new secret that this login session began a short while ago."""
    if user.sealed_totp_pending is None:
        return None
    words = vault.open_totp(user.id, user.sealed_totp_pending).split()
    if len(words) != 3 or words[1] != str(session_id):
        return None  # also one from before secrets were tied to a session
    recent = now - datetime.fromisoformat(words[2]) < WAITING
    return words[0] if recent else None


def _use_totp(session: Session, vault: Vault, user: User, code: str, now: datetime) -> bool:
    assert user.sealed_totp is not None
    step = matching_step(vault.open_totp(user.id, user.sealed_totp), code, now)
    if step is None:
        return False
    # By rowcount, so that of two requests with the same code only one gets in.
    won = session.execute(
        update(User)
        .where(User.id == user.id)
        .where(or_(User.last_totp_step.is_(None), User.last_totp_step < step))
        .values(last_totp_step=step)
    )
    return rows_changed(won) == 1


def _unused(session: Session, user: User) -> Sequence[str]:
    return session.scalars(
        select(RecoveryCode.code_hash).where(
            RecoveryCode.user_id == user.id, RecoveryCode.used_at.is_(None)
        )
    ).all()


def _use_recovery_code(
    session: Session, user: User, typed: str, now: datetime, actor: Actor
) -> bool:
    bare = _bare(typed)
    if len(bare) != _GROUPS * _GROUP:  # as those of version 0.1 are
        return False
    used = session.execute(
        update(RecoveryCode)
        .where(
            RecoveryCode.user_id == user.id,
            RecoveryCode.code_hash.in_((_MARK + _hash(bare), _hash(bare))),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=now)
    )
    if rows_changed(used) != 1:
        return False
    audit.append(session, "recovery_code_used", actor=actor, now=now)
    return True


def _replace_recovery_codes(session: Session, user: User) -> list[str]:
    codes = [
        "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
        for _ in range(RECOVERY_CODES)
    ]
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    hashes = [_MARK + _hash(_bare(code)) for code in codes]
    session.add_all(RecoveryCode(user_id=user.id, code_hash=one) for one in hashes)
    return codes


def _bare(code: str) -> str:
    return re.sub(r"[\s-]", "", code).casefold()


def _hash(bare: str) -> str:
    return hashlib.sha256(bare.encode("utf-8", "surrogatepass")).hexdigest()
