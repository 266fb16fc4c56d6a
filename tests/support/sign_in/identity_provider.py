"""A small OpenID Connect provider on loopback: real HTTP, real RS256, and faults on demand.

Its user has the `claims`. A code works once and only with the
verifier whose challenge was sent (PKCE).
"""

import base64
import gzip
import hashlib
import hmac
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "pleura", "a secret of the client and the provider"


@dataclass
class Provider:
    """The provider's answers, and the faults in them."""

    url: str = ""
    now: float = 0.0
    claims: dict[str, Any] = field(default_factory=dict)
    false_claims: dict[str, Any] = field(default_factory=dict)  # in the ID token
    algorithm: str = "RS256"
    false_metadata: dict[str, Any] = field(default_factory=dict)  # of the discovery document
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    signing_key: RSAKey | None = None
    shared_secret: bytes = b""  # of HS256
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    # The answers of these paths, instead of the right ones: bytes of JSON, or parts of them.
    false_answers: dict[str, Iterable[bytes]] = field(default_factory=dict)
    answered_bytes: int = 0
    compressed: bool = False

    def authorize(self, url: str) -> str:
        """The redirect that a browser gets from the authorization endpoint."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["code_challenge_method"] == "S256"
        assert asked["response_type"] == "code"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str], credentials: str) -> tuple[int, dict[str, Any]]:
        """The token endpoint."""
        right = base64.b64encode(f"{CLIENT}:{SECRET}".replace(" ", "%20").encode()).decode()
        plain = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if credentials not in (f"Basic {right}", f"Basic {plain}"):
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if asked is None or asked["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self.sign(asked)}

    def sign(self, asked: dict[str, str]) -> str:
        """The ID token."""
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": int(self.now),
            "exp": int(self.now) + 300,
            "nonce": asked["nonce"],
            **self.claims,
            **self.false_claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.algorithm in ("none", "HS256"):
            head = {"alg": self.algorithm, "typ": "JWT"}
            signed = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
            if self.algorithm == "none":
                return f"{signed}."
            return f"{signed}.{_base64(hmac.digest(self.shared_secret, signed.encode(), 'sha256'))}"
        kid = self.key.as_dict()["kid"]
        return jwt.encode({"alg": self.algorithm, "kid": kid}, claims, self.signing_key or self.key)

    def describe(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            **self.false_metadata,
        }


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@contextmanager
def serve(
    address: tuple[str, int] = ("127.0.0.1", 0),
    url: str = "",
    context: ssl.SSLContext | None = None,
) -> Iterator[Provider]:
    """The provider served for the duration of the block: by HTTP, or with a context by TLS.

    url: by which it is known, where that is not its address.
    """
    provider = Provider(now=time.time())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            provider.asked.append(self.path)
            documents = {
                "/.well-known/openid-configuration": provider.describe,
                "/keys": lambda: {"keys": [provider.key.as_dict(private=False)]},
            }
            if self.path in documents:
                self.answer(200, documents[self.path]())
            else:
                self.answer(404, {})

        def do_POST(self) -> None:
            provider.asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self.answer(*provider.token(form, self.headers.get("Authorization", "")))

        def answer(self, status: int, document: dict[str, Any]) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if provider.compressed:
                self.send_header("Content-Encoding", "gzip")
                data = gzip.compress(data)
            parts = provider.false_answers.get(self.path)
            if parts is None:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()  # without a length the answer lasts until the connection ends
            with suppress(OSError):
                for part in (data,) if parts is None else parts:
                    self.wfile.write(part)
                    provider.answered_bytes += len(part)

        def log_message(self, *_words: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(address, Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    provider.url = url or f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
