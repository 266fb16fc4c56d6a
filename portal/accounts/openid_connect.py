"""OpenID Connect: authorization code with PKCE, state and nonce, and the claims of the ID token.

The provider's own origin is the only place that is called, and its answers are bounded. Sources:
OpenID Connect Core 1.0, RFC 7636 (PKCE), RFC 6749.
"""

import math
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from portal.settings.single_sign_on import SingleSignOn

_ALGORITHMS: Final = ("RS256", "PS256", "ES256")  # never none, never a shared secret
_TIMEOUT: Final = 5.0  # to connect, and for each part of an answer
_ANSWER_SECONDS: Final = 10.0  # for its whole body
_LEEWAY: Final = 60  # seconds by which the clocks may differ
_LARGEST_ANSWER: Final = 256 * 1024
_EXCHANGES: Final = 2  # threads that wait for the provider with a code; of those without a login
_AWAY: Final = timedelta(seconds=30)  # how long nobody asks a provider that gave no answer
_TRY_AGAIN: Final = 5  # seconds after which whoever found the few places taken may come back
_METADATA_LIFETIME: Final = timedelta(minutes=5)  # how long the provider's metadata is kept


class SignInRefused(Exception):
    """Nobody is signed in. `why` is a code for the log, never shown."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ProviderUnavailable(Exception):
    """The provider does not answer as it should, or too many wait for it; `seconds` to wait."""

    def __init__(self, seconds: int = _TRY_AGAIN) -> None:
        super().__init__(f"wait {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """Where the browser goes, and what it keeps until it comes back."""

    url: str
    state: str
    nonce: str
    verifier: str


class Provider:
    """What this process knows of the provider: its addresses, and whether it answers.

    Those who sign in share few threads with those who use a password, so that few wait for the
    provider: one for its addresses, `_EXCHANGES` for what a code stands for. Whoever else comes
    meanwhile, or within half a minute after it gave no usable addresses, is sent away at once.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._metadata: dict[str, str] = {}
        self._until = self._away_until = datetime.min.replace(tzinfo=UTC)
        self._is_reading = False
        self._exchanging = 0

    def metadata(self, client: Any, sso: SingleSignOn, now: datetime) -> dict[str, str]:
        """The addresses, all at the provider's own origin, read once and kept for some minutes.

        Raises `ProviderUnavailable`. While one reads them again, others take those of before.
        """
        with self._lock:
            self._refuse_while_away(now)
            if now < self._until or (self._is_reading and self._metadata):
                return self._metadata
            if self._is_reading:
                raise ProviderUnavailable
            self._is_reading = True
        found: dict[str, str] = {}
        try:
            found = _discover(client, sso)
        except ProviderUnavailable:
            raise ProviderUnavailable(math.ceil(_AWAY.total_seconds())) from None
        finally:
            with self._lock:
                self._is_reading = False
                self._metadata = found
                if found:
                    self._until = now + _METADATA_LIFETIME
                else:
                    self._away_until = now + _AWAY
        return found

    @contextmanager
    def exchange(self, now: datetime) -> Iterator[None]:
        """One of the few who wait for what a code stands for; `ProviderUnavailable` for others.

        A failure here says nothing about others yet, since the code was sent by whoever came: the
        next one reads the addresses again, and that decides.
        """
        with self._lock:
            self._refuse_while_away(now)
            if self._exchanging >= _EXCHANGES:
                raise ProviderUnavailable
            self._exchanging += 1
        try:
            yield
        except ProviderUnavailable:
            with self._lock:
                self._until = datetime.min.replace(tzinfo=UTC)
            raise
        finally:
            with self._lock:
                self._exchanging -= 1

    def _refuse_while_away(self, now: datetime) -> None:
        left = self._away_until - now
        if timedelta() < left <= _AWAY:  # more: the clock was set back
            raise ProviderUnavailable(math.ceil(left.total_seconds()))


def begin(sso: SingleSignOn, provider: Provider, back: str, now: datetime) -> AuthorizationRequest:
    """Where to send the browser. Raises `ProviderUnavailable`."""
    state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
    with _client(sso, back) as client:
        found = provider.metadata(client, sso, now)
        url, _ = client.create_authorization_url(
            found["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
        )
    return AuthorizationRequest(url, state, nonce, verifier)


def claims_of(
    sso: SingleSignOn,
    provider: Provider,
    back: str,
    code: str,
    *,
    nonce: str,
    verifier: str,
    now: datetime,
) -> dict[str, Any]:
    """The claims about the person who came back with the code. Raises `SignInRefused` and
    `ProviderUnavailable`."""
    with _client(sso, back) as client:
        found = provider.metadata(client, sso, now)
        with provider.exchange(now):
            token = _fetch_token(client, found["token_endpoint"], code, verifier)
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
    except (JoseError, KeyError, TypeError, ValueError, RecursionError):
        raise SignInRefused("token") from None
    claims: dict[str, Any] = read.claims
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if claims.get("azp", sso.client_id) != sso.client_id or (
        len(audience) > 1 and "azp" not in claims
    ):
        raise SignInRefused("token")
    return claims


def _fetch_token(client: Any, address: str, code: str, verifier: str) -> Any:
    try:
        return client.fetch_token(
            address, code=code, code_verifier=verifier, grant_type="authorization_code"
        )
    except AuthlibBaseError:
        raise SignInRefused("code") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, RecursionError):
        raise ProviderUnavailable from None


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
        transport=_BoundedTransport(trust_env=False, verify=_authorities(sso)),
    )


def _authorities(sso: SingleSignOn) -> ssl.SSLContext | bool:
    """Whose signature the provider's certificate needs; True: one of the system's list."""
    return ssl.create_default_context(cafile=str(sso.ca_file)) if sso.ca_file else True


class BoundedBody(httpx2.SyncByteStream):
    """The body of an answer, up to a size and for some seconds; then an error of httpx."""

    def __init__(
        self, body: httpx2.SyncByteStream, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._body, self._clock = body, clock

    def __iter__(self) -> Iterator[bytes]:
        size, end = 0, self._clock() + _ANSWER_SECONDS
        for part in self._body:
            size += len(part)
            if size > _LARGEST_ANSWER:
                raise httpx2.ReadError("the answer is too large")
            if self._clock() > end:
                raise httpx2.ReadTimeout("the answer takes too long")
            yield part

    def close(self) -> None:
        self._body.close()


class _BoundedTransport(httpx2.HTTPTransport):
    """Bounds answers as they arrive, and takes none that would have to be unpacked."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["Accept-Encoding"] = "identity"
        answer = super().handle_request(request)
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            answer.close()
            raise httpx2.ReadError("the answer is compressed")
        assert isinstance(answer.stream, httpx2.SyncByteStream)
        answer.stream = BoundedBody(answer.stream)
        return answer


def _discover(client: Any, sso: SingleSignOn) -> dict[str, str]:
    """The provider's metadata; every address in it has to be at the provider's origin."""
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
        found = answer.json()
    except (httpx2.HTTPError, httpx2.InvalidURL, AuthlibBaseError, ValueError, RecursionError):
        raise ProviderUnavailable from None
    if answer.status_code != 200 or not isinstance(found, dict):
        raise ProviderUnavailable
    return found


def _origin(address: object) -> tuple[str, str] | None:
    """Scheme and host of an address; None for anything that is no plain address."""
    if not isinstance(address, str) or not address.isascii() or not address.isprintable():
        return None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return parts.scheme, parts.netloc.lower()
