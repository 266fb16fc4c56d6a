"""Passkeys: WebAuthn credentials that replace the code, after the password.

A challenge belongs to one login session, is good for one try and a few minutes. The person has to
prove themself to the device (user verification), the site and its origin come from the settings,
and a device whose counter goes back is refused. Codes and recovery codes go on working beside.
"""

import hashlib
import json
import secrets
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import webauthn
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    parse_client_data_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.decode_credential_public_key import (
    DecodedEC2PublicKey,
    DecodedOKPPublicKey,
    DecodedRSAPublicKey,
)
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from portal import audit
from portal.access import Actor, Denied
from portal.accounts.api_tokens import revoke_all
from portal.accounts.device_cookies import DeviceCookie
from portal.accounts.factors.totp import count_try
from portal.accounts.sessions import actor_of, close_sessions, lock_unchanged
from portal.accounts.throttle import Throttle
from portal.database import rows_changed
from portal.errors import Invalid
from portal.formats.display_text import clean
from portal.languages import _
from portal.models import LoginSession, Passkey

Site = tuple[str, str]  # host name, origin

MOST: Final = 10
_LIFETIME: Final = timedelta(minutes=5)
_LONGEST: Final = 16 * 1024  # characters of what a browser sends
_KINDS: Final[dict[COSEAlgorithmIdentifier, type]] = {
    COSEAlgorithmIdentifier.EDDSA: DecodedOKPPublicKey,
    COSEAlgorithmIdentifier.ECDSA_SHA_256: DecodedEC2PublicKey,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256: DecodedRSAPublicKey,
}
_TRANSPORTS: Final = frozenset(one.value for one in AuthenticatorTransport)


def passkeys_of(session: Session, user_id: UUID) -> list[Passkey]:
    """A person's passkeys, the oldest first."""
    found = select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.created, Passkey.id)
    return list(session.scalars(found))


def begin_passkey(
    session: Session, site: Site, login: LoginSession, now: datetime
) -> dict[str, Any]:
    """What the browser needs to make a passkey for the person who is signed in."""
    known = passkeys_of(session, login.user_id)
    _check_room(known)
    options = webauthn.generate_registration_options(
        rp_id=site[0],
        rp_name="Pleura",
        user_id=login.user_id.bytes,
        user_name=login.user.email,
        user_display_name=login.user.name,
        challenge=_new_challenge(session, login, "create", now),
        attestation=AttestationConveyancePreference.NONE,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_named(known),
    )
    return _plain(options)


def register_passkey(
    session: Session, site: Site, login: LoginSession, *, name: str, credential: str, now: datetime
) -> Passkey:
    """Keep a passkey that the browser has just made; other sessions and the API tokens end.

    Raises `Invalid` where the answer is not for this session's challenge, comes from another
    site, proves no person, is known already or one too many, and `SignedOut` where the person's
    sessions were ended meanwhile.
    """
    challenge = _take_challenge(session, login, "create", now)
    label = clean(name, 100)
    if not label:
        raise Invalid("passkey", _("Give the passkey a name, so that you know it again."))
    sent = _read(credential)
    if challenge is None or sent is None:
        raise Invalid("passkey", _("This took too long or was sent twice. Try again."))
    try:
        made = webauthn.verify_registration_response(
            credential=sent,
            expected_challenge=challenge,
            expected_rp_id=site[0],
            expected_origin=site[1],
            require_user_verification=True,
        )
        if _is_framed(sent) or not _is_usable(made.credential_public_key):
            raise Invalid("passkey", _("from a frame, or a key of another kind than it claims"))
    except Exception:  # it parses untrusted input: any failure means that there is no proof
        raise Invalid("passkey", _("The passkey was not accepted. Try again.")) from None
    lock_unchanged(session, login.user)
    _check_room(passkeys_of(session, login.user_id))  # others may have come since it began
    row = Passkey(
        user_id=login.user_id,
        credential_key=_key_of(made.credential_id),
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        transports=_transports(sent),
        name=label,
        created=now,
    )
    session.add(row)
    try:
        session.flush()
    except IntegrityError:
        session.rollback()
        raise Invalid("passkey", _("This passkey is known already.")) from None
    ended = _end_others(session, login.user_id, login.id, now)
    actor = actor_of(login.user, login.id)
    audit.append(session, "passkey_made", actor=actor, now=now, subject_id=row.id, detail=ended)
    session.commit()
    return row


def ask_passkey(session: Session, site: Site, login: LoginSession, now: datetime) -> dict[str, Any]:
    """What one of the person's passkeys has to sign; `Denied` where they have none."""
    known = passkeys_of(session, login.user_id)
    if not known:
        session.rollback()
        raise Denied("passkey")
    options = webauthn.generate_authentication_options(
        rp_id=site[0],
        challenge=_new_challenge(session, login, "get", now),
        allow_credentials=_named(known),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return _plain(options)


def check_passkey(
    session: Session,
    throttle: Throttle,
    site: Site,
    login: LoginSession,
    credential: str,
    now: datetime,
    *,
    address: str = "",
    device_cookie: DeviceCookie | None = None,
) -> bool:
    """Whether a passkey of this person has signed this session's challenge. One try for each.

    Raises `Throttled` after too many tries.
    """
    counted = count_try(session, throttle, login.user, address, now, device_cookie)
    accepted = _check(session, site, login, credential, now)
    actor = actor_of(login.user, login.id, address)
    if accepted is None:
        audit.append(session, "passkey_refused", actor=actor, now=now)
    else:
        audit.append(session, "passkey_used", actor=actor, now=now, subject_id=accepted)
        throttle.forgive(*counted)
    session.commit()
    return accepted is not None


def remove_passkey(session: Session, actor: Actor, passkey_id: UUID, now: datetime) -> None:
    """Remove one of one's own passkeys, else `Denied`; other sessions and the API tokens end."""
    row = session.get(Passkey, passkey_id)
    if row is None or row.user_id != actor.user_id:
        session.rollback()
        raise Denied("passkey")
    session.delete(row)
    ended = _end_others(session, actor.user_id, actor.session_id, now)
    audit.append(
        session, "passkey_removed", actor=actor, now=now, subject_id=passkey_id, detail=ended
    )
    session.commit()


def _check_room(known: list[Passkey]) -> None:
    if len(known) >= MOST:
        raise Invalid("passkey", _("You have %(most)s passkeys. Remove one first.", most=MOST))


def _end_others(
    session: Session, user_id: UUID, here: UUID | None, now: datetime
) -> dict[str, int]:
    return {
        "ended": close_sessions(session, user_id, now, keep=here),
        "tokens": revoke_all(session, user_id, now),
    }


def _check(
    session: Session, site: Site, login: LoginSession, credential: str, now: datetime
) -> UUID | None:
    challenge, sent = _take_challenge(session, login, "get", now), _read(credential)
    if challenge is None or sent is None:
        return None
    try:
        key = _key_of(base64url_to_bytes(sent["rawId"]))
    except Exception:
        return None
    row = session.scalar(
        select(Passkey).where(Passkey.credential_key == key, Passkey.user_id == login.user_id)
    )
    if row is None:
        return None
    try:
        proved = webauthn.verify_authentication_response(
            credential=sent,
            expected_challenge=challenge,
            expected_rp_id=site[0],
            expected_origin=site[1],
            credential_public_key=row.public_key,
            credential_current_sign_count=row.sign_count,
            require_user_verification=True,
        )
        if _is_framed(sent) or not _is_handle_of(login.user_id, sent):
            return None
    except Exception:  # as above: no proof
        return None
    # By rowcount, so that of two copies of a device that count alike only one gets in.
    won = session.execute(
        update(Passkey)
        .where(Passkey.id == row.id, Passkey.sign_count == row.sign_count)
        .values(sign_count=proved.new_sign_count, last_used_at=now)
    )
    return row.id if rows_changed(won) == 1 else None


def _new_challenge(session: Session, login: LoginSession, purpose: str, now: datetime) -> bytes:
    challenge = secrets.token_bytes(32)
    login.challenge = f"{purpose}:{bytes_to_base64url(challenge)}"
    login.challenge_at = now
    session.commit()
    return challenge


def _take_challenge(
    session: Session, login: LoginSession, purpose: str, now: datetime
) -> bytes | None:
    """The challenge that waits in this session, for good: a second try finds none."""
    waiting = login.challenge
    if waiting is None or not waiting.startswith(f"{purpose}:"):
        return None
    taken = session.execute(
        update(LoginSession)
        .where(
            LoginSession.id == login.id,
            LoginSession.challenge == waiting,
            LoginSession.challenge_at > now - _LIFETIME,
        )
        .values(challenge=None)
    )
    session.commit()
    return base64url_to_bytes(waiting.partition(":")[2]) if rows_changed(taken) == 1 else None


def _read(credential: str) -> dict[str, Any] | None:
    try:
        sent = json.loads(credential) if len(credential) <= _LONGEST else None
    except (ValueError, RecursionError):
        return None
    return sent if isinstance(sent, dict) else None


def _is_framed(sent: dict[str, Any]) -> bool:
    """Whether the browser answered in a frame of another site, which Pleura's pages never are."""
    client = parse_client_data_json(base64url_to_bytes(sent["response"]["clientDataJSON"]))
    return bool(client.cross_origin)


def _is_handle_of(user_id: UUID, sent: dict[str, Any]) -> bool:
    """Whether the device names this person, if it names one."""
    handle = sent["response"].get("userHandle")
    return not handle or base64url_to_bytes(handle) == user_id.bytes


def _is_usable(public_key: bytes) -> bool:
    """Whether a key is of the kind that its algorithm needs; raises where it is none at all."""
    key = decode_credential_public_key(public_key)
    decoded_public_key_to_cryptography(key)
    return isinstance(key, _KINDS[key.alg])


def _key_of(credential_id: bytes) -> str:
    return hashlib.sha256(credential_id).hexdigest()


def _named(known: list[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=row.credential_id,
            transports=[AuthenticatorTransport(one) for one in row.transports],
        )
        for row in known
    ]


def _transports(sent: dict[str, Any]) -> list[str]:
    """How the browser reaches the device, as far as it is one of the known ways."""
    response = sent.get("response")
    named = response.get("transports") if isinstance(response, dict) else None
    return sorted({one for one in named or () if isinstance(one, str)} & _TRANSPORTS)


def _plain(options: Any) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(webauthn.options_to_json(options))
    return plain
