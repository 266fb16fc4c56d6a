"""Calls of the webhook to a real HTTP server: signed, to allowed hosts, within their time."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from portal.exchange import webhook
from portal.exchange.outbound import Target
from portal.exchange.webhook import CallRefused
from portal.settings.notifications import Webhook
from tests.support.core import NOW
from tests.support.servers.tls_front import Authority

SECRET = "webhook-" + "k7VQmX2rT9sLwZ4bN8cJ1dH6"  # made up  # pragma: allowlist secret
EVENT = {"id": "7f3a", "event": "critical_opened", "case": "7F3A1B"}


@dataclass
class Hook:
    """A server that takes calls. `status` and `behaviour`: how it answers."""

    port: int = 0
    status: int = 204
    behaviour: str = ""
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return Target("http", "hooks.example.org", self.port, "/in?a=b", "127.0.0.1")


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.calls.append((dict(self.headers.items()), body))
            if found.behaviour == "silent":
                time.sleep(3)
                return
            self.send_response(found.status)
            self.send_header("Location", "http://169.254.169.254/")
            if found.behaviour == "drips":
                self.send_header("Content-Length", "1000")
                self.end_headers()
                for _ in range(60):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.05)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def settings(**more: str) -> Webhook:
    given = {"PLEURA_WEBHOOK_URL": "https://hooks.example.org/in", "PLEURA_WEBHOOK_SECRET": SECRET}
    return Webhook.model_validate(given | more)


def call(hook: Hook, seconds: float = 5.0) -> None:
    webhook.call(settings(), hook.target, EVENT, NOW, seconds=seconds)


def test_the_receiver_can_check_who_calls_and_when(hook: Hook) -> None:
    call(hook)
    ((headers, body),) = hook.calls
    signed = headers["Pleura-Timestamp"].encode() + b"." + body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["Pleura-Signature"] == f"sha256={expected}"
    assert headers["Pleura-Timestamp"] == str(int(NOW.timestamp()))
    assert (headers["Pleura-Event-Id"], json.loads(body)) == ("7f3a", EVENT)
    assert headers["Host"] == f"hooks.example.org:{hook.port}"


@pytest.mark.parametrize(
    ("status", "is_final"), [(301, False), (307, False), (400, False), (410, True), (500, False)]
)
def test_all_but_a_success_is_refused_and_no_redirect_followed(
    hook: Hook, status: int, is_final: bool
) -> None:
    hook.status = status
    with pytest.raises(CallRefused) as refused:
        call(hook)
    assert (refused.value.code, refused.value.is_final) == (f"http_{status}", is_final)
    assert len(hook.calls) == 1


@pytest.mark.parametrize("behaviour", ["silent", "drips"])
def test_a_webhook_that_hangs_is_left_in_time(hook: Hook, behaviour: str) -> None:
    hook.behaviour = behaviour
    began = time.monotonic()
    try:
        call(hook, 0.5)
    except OSError:
        pass
    else:
        assert behaviour == "drips", "a part of the body was read before the time was over"
    assert time.monotonic() - began < 2


def test_a_certificate_must_be_the_hosts(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    context = authority.issue("other.example.org")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = Target("https", "hooks.example.org", server.server_port, "/", "127.0.0.1")
    ours = settings(PLEURA_CA_FILE=str(authority.file))
    try:
        with pytest.raises(OSError, match=r"(?i)certificate"):
            webhook.call(ours, place, EVENT, NOW, seconds=5)
    finally:
        server.shutdown()
        server.server_close()
