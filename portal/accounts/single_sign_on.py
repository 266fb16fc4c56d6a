"""Single sign-on: an OpenID Connect issuer says who somebody is; their role is decided here.

Authorization code with PKCE, state and nonce. The issuer's own origin is the only place that is
called. It stands for the password alone: the second factor stays Pleura's. Who is in no mapped
group, or was not invited, gets nothing; what the issuer says later changes role and team too.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit
from portal.accounts import role_changes
from portal.accounts.invitations import is_address, withdraw_sent_to
from portal.accounts.sessions import actor_of
from portal.audit import alarms
from portal.formats.display_text import clean
from portal.models import Invitation, InvitationPurpose, Role, Team, User
from portal.settings.single_sign_on import Mapped, SingleSignOn

_ALGORITHMS: Final = ("RS256", "PS256", "ES256")  # never none, never a shared secret
_TIMEOUT: Final = 5.0
_LEEWAY: Final = 60  # seconds by which the clocks may differ
_LARGEST: Final = 256 * 1024
_DESCRIBED: Final = timedelta(minutes=5)  # how long the issuer's description of itself counts


class SignInRefused(Exception):
    """Nobody is signed in. `why` is a code for the log, never shown."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ProviderUnavailable(Exception):
    """The issuer does not answer as it should."""


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What the browser keeps between leaving and coming back, and where it goes."""

    url: str
    state: str
    nonce: str
    verifier: str


class ProviderMetadata:
    """What the issuer says of itself, kept for some minutes: not asked anew for everybody."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}
        self._until = datetime.min.replace(tzinfo=UTC)

    def read(self, client: Any, sso: SingleSignOn, now: datetime) -> dict[str, str]:
        """The addresses of the issuer, all at its own origin. Raises `Away`."""
        if now >= self._until:
            self._kept = _discover(client, sso)
            self._until = now + _DESCRIBED
        return self._kept


def begin(
    sso: SingleSignOn, metadata: ProviderMetadata, back: str, now: datetime
) -> AuthorizationRequest:
    """Where to send the browser. Raises `Away`."""
    state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
    with _client(sso, back) as client:
        found = metadata.read(client, sso, now)
        url, _ = client.create_authorization_url(
            found["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
        )
    return AuthorizationRequest(url, state, nonce, verifier)


def claims_of(
    sso: SingleSignOn,
    metadata: ProviderMetadata,
    back: str,
    code: str,
    *,
    nonce: str,
    verifier: str,
    now: datetime,
) -> dict[str, Any]:
    """What the issuer says of whoever came back with the code. Raises `Refused` and `Away`."""
    with _client(sso, back) as client:
        found = metadata.read(client, sso, now)
        try:
            token = client.fetch_token(
                found["token_endpoint"],
                code=code,
                code_verifier=verifier,
                grant_type="authorization_code",
            )
        except AuthlibBaseError:
            raise SignInRefused("code") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
            raise ProviderUnavailable from None
        keys: Any = _get(client, found["jwks_uri"])
    try:
        read = jwt.decode(str(token["id_token"]), KeySet.import_key_set(keys), list(_ALGORITHMS))
        jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            leeway=_LEEWAY,
            iss={"essential": True, "value": sso.issuer},
            aud={"essential": True, "value": sso.client_id},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(read.claims)
    except (JoseError, KeyError, TypeError, ValueError):
        raise SignInRefused("token") from None
    claims: dict[str, Any] = read.claims
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims.get("azp", sso.client_id) != sso.client_id or (
        len(audience) > 1 and "azp" not in claims
    ):
        raise SignInRefused("token")
    return claims


def person_of(
    session: Session,
    sso: SingleSignOn,
    claims: Mapping[str, Any],
    now: datetime,
    *,
    address: str = "",
) -> User:
    """The account of whoever the claims name: known, linked by a verified address, or made now.

    Raises `Refused`: no mapped group, no invitation, shut out, no usable address, or a second
    factor that was reset, whose link has to be followed. Who is in no mapped group any more loses
    what is open for them at this moment.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise SignInRefused("token")
    key = hashlib.sha256(f"{sso.issuer}\n{subject}".encode()).hexdigest()
    user = session.scalar(select(User).where(User.sso_key == key))
    mapped = _mapped(sso, claims)
    if user is not None and user.disabled_at is not None:
        raise SignInRefused("disabled")
    if sso.provision == "mapped":
        if mapped is None:
            if user is not None:
                _shut_out(session, user, now, address)
            raise SignInRefused("group")
        user = user or _link(session, claims, key, now, address)
        if user is None:
            team = _team(session, mapped, now)
            return _join(session, claims, key, Role(mapped.role), team, now, address, alarm=True)
        _check_not_reset(user)
        _keep_in_step(session, user, mapped, now, address)
    elif user is None:
        user = _link(session, claims, key, now, address) or _invited(
            session, claims, key, now, address
        )
    _check_not_reset(user)
    session.commit()
    return user


def _check_not_reset(user: User) -> None:
    """Who has had a second factor sets up the next by the link of the reset.

    The issuer stands for the password alone: by its word nobody comes to a new factor.
    """
    if user.enrolled_at is not None and user.sealed_totp is None:
        raise SignInRefused("reset")


def note_refusal(session: Session, why: str, now: datetime, address: str) -> None:
    """Write down that single sign-on let nobody in."""
    session.rollback()
    audit.append(session, "sso_refused", now=now, address=address, detail={"why": why})
    session.commit()


def _mapped(sso: SingleSignOn, claims: Mapping[str, Any]) -> Mapped | None:
    """The first of the mapped groups, in their order in the settings, that the person is in."""
    told = claims.get(sso.claim)
    held = {told} if isinstance(told, str) else set()
    if isinstance(told, list):
        held = {one for one in told if isinstance(one, str)}
    return next((one for one in sso.groups if one.group in held), None)


def _link(
    session: Session, claims: Mapping[str, Any], key: str, now: datetime, address: str
) -> User | None:
    """The account that has the person's address already; theirs only if the issuer vouches."""
    email = _email(claims)
    user = session.scalar(select(User).where(User.email == email))
    if user is None:
        return None
    taken = user.sso_key is not None or user.local_sign_in
    if taken or claims.get("email_verified") is not True or user.disabled_at is not None:
        raise SignInRefused("email")
    user.sso_key = key
    audit.append(session, "sso_linked", actor=actor_of(user), now=now, address=address)
    return user


def _invited(
    session: Session, claims: Mapping[str, Any], key: str, now: datetime, address: str
) -> User:
    if claims.get("email_verified") is not True:
        raise SignInRefused("email")
    used = session.execute(
        update(Invitation)
        .where(
            Invitation.email == _email(claims),
            Invitation.purpose == InvitationPurpose.INVITE,
            Invitation.used_at.is_(None),
            Invitation.expires > now,
        )
        .values(used_at=now)
        .returning(Invitation.role, Invitation.team_id)
    ).first()
    if used is None:
        raise SignInRefused("invitation")
    return _join(session, claims, key, used.role, session.get_one(Team, used.team_id), now, address)


def _join(
    session: Session,
    claims: Mapping[str, Any],
    key: str,
    role: Role,
    team: Team,
    now: datetime,
    address: str,
    alarm: bool = False,
) -> User:
    """The account of somebody new. alarm: for a role over others that no invitation has told of."""
    email = _email(claims)
    name = claims.get("name")
    user = User(
        name=(clean(name, 200) if isinstance(name, str) else "") or email,
        email=email,
        role=role,
        team_id=team.id,
        sso_key=key,
        created=now,
    )
    session.add(user)
    try:
        session.flush()
    except IntegrityError:
        raise SignInRefused("email") from None  # the same person came twice at once
    links = withdraw_sent_to(session, email, now)
    detail: audit.Detail = {"how": "sso", "role": role.value, "links": links}
    actor = actor_of(user, address=address)
    audit.append(session, "person_joined", actor=actor, now=now, address=address, detail=detail)
    if alarm and role in (Role.ADMIN, Role.AUDITOR):
        alarms.raise_role_alarm(session, role, how="sso", now=now, actor=actor, subject_id=user.id)
    session.commit()
    return user


def _keep_in_step(
    session: Session, user: User, mapped: Mapped, now: datetime, address: str
) -> None:
    """Role and team as the issuer says today; a change ends what was open under the old ones."""
    actor = actor_of(user, address=address)
    team = _team(session, mapped, now) if mapped.team else None
    role_changes.change(session, actor, user, now, role=Role(mapped.role), team=team, how="sso")


def _shut_out(session: Session, user: User, now: datetime, address: str) -> None:
    """End what is open for somebody whom the issuer no longer knows in any mapped group."""
    actor = actor_of(user, address=address)
    ended = role_changes.end_all(session, actor, user, now)
    if any(ended.values()):
        detail: audit.Detail = {**ended, "how": "sso"}
        audit.append(
            session, "all_sessions_ended", actor=actor, now=now, subject_id=user.id, detail=detail
        )
    session.commit()


def _team(session: Session, mapped: Mapped, now: datetime) -> Team:
    query = select(Team).order_by(Team.created, Team.id)
    team = session.scalars(query.where(Team.name == mapped.team) if mapped.team else query).first()
    if team is None:
        team = Team(name=mapped.team or "Radiology", created=now)
        session.add(team)
        session.flush()
    return team


def _email(claims: Mapping[str, Any]) -> str:
    email = claims.get("email")
    told = email.strip().lower() if isinstance(email, str) else ""
    if not is_address(told):
        raise SignInRefused("email")
    return told


def _client(sso: SingleSignOn, back: str) -> Any:
    return OAuth2Client(
        client_id=sso.client_id,
        client_secret=sso.client_secret,
        scope="openid email profile",
        redirect_uri=back,
        code_challenge_method="S256",
        timeout=_TIMEOUT,
        follow_redirects=False,
        trust_env=False,
    )


def _discover(client: Any, sso: SingleSignOn) -> dict[str, str]:
    """The issuer's own description; every address in it has to be at the issuer's origin."""
    found = _get(client, f"{sso.issuer}/.well-known/openid-configuration")
    named = {
        name: found.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
    }
    issuer = found.get("issuer")
    if not isinstance(issuer, str) or issuer.rstrip("/") != sso.issuer:
        raise ProviderUnavailable
    if any(_origin(address) != _origin(sso.issuer) for address in named.values()):
        raise ProviderUnavailable
    return {name: str(address) for name, address in named.items()}


def _get(client: Any, url: str) -> Any:
    try:
        answer = client.request("GET", url, withhold_token=True)
        found = answer.json() if len(answer.content) <= _LARGEST else None
    except (httpx2.HTTPError, httpx2.InvalidURL, AuthlibBaseError, ValueError):
        raise ProviderUnavailable from None
    if answer.status_code != 200 or not isinstance(found, dict):
        raise ProviderUnavailable
    return found


def _origin(address: object) -> tuple[str, str] | None:
    """Scheme and host of an address; None for what is no address, or has signs that none has."""
    if not isinstance(address, str) or not address.isascii() or not address.isprintable():
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return parts.scheme, parts.netloc.lower()
