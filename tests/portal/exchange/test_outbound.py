"""Calls out: which addresses are never opened, and that the judged one is the one that is."""

import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from portal.exchange import outbound
from portal.exchange.outbound import NotAllowed, Target, call, judge
from portal.settings.allowed_hosts import parse

ALLOWED = parse("hooks.example.org, http:plain.example.org:8080 private:pacs.example.org 127.0.0.1")
PUBLIC = "93.184.215.14"


def names(**addresses: str) -> outbound.Resolve:
    """A resolver with these; every other name is public."""

    def resolve(name: str, _port: int) -> list[str]:
        return addresses.get(name.split(".")[0], PUBLIC).split()

    return resolve


GOOD = {
    "https://hooks.example.org/a?b=c": Target("https", "hooks.example.org", 443, "/a?b=c", PUBLIC),
    "https://HOOKS.example.org.": Target("https", "hooks.example.org", 443, "/", PUBLIC),
    "http://plain.example.org:8080/": Target("http", "plain.example.org", 8080, "/", PUBLIC),
}
HOSTILE = {
    "http://hooks.example.org/": "not_https",
    "https://hooks.example.org:8443/": "not_listed",
    "https://elsewhere.example.org/": "not_listed",
    "https://hooks.example.org.evil.org/": "not_listed",
    "https://evil.org/hooks.example.org": "not_listed",
    "https://evil.org?hooks.example.org": "not_listed",
    "https://evil.org#hooks.example.org": "not_listed",
    "https://hooks.example.org@evil.org/": "not_an_address",
    "https://evil.org:443@hooks.example.org/": "not_an_address",
    "https://evil.org\\@hooks.example.org/": "not_an_address",
    "https://hooks.example.org\n.evil.org/": "not_an_address",
    "https://hooks.example.org /": "not_an_address",
    "https://hooks.example.org/\r\nX-Injected: 1": "not_an_address",
    "https://hooks。example。org/": "not_an_address",
    "https://hooks.exämple.org/": "not_an_address",
    "https://hooks.example.org:99999/": "not_an_address",
    "https://[::1]/": "not_listed",
    "https://[::ffff:127.0.0.1]/": "not_listed",
    "https://127.0.0.1/": "not_public",
    "https://127.1/": "not_listed",
    "https://2130706433/": "not_listed",
    "https://0x7f000001/": "not_listed",
    "https://localhost/": "not_listed",
    "https://169.254.169.254/latest/meta-data/": "not_listed",
    "file:///etc/passwd": "not_an_address",
    "gopher://hooks.example.org/": "not_an_address",
    "ftp://hooks.example.org/": "not_an_address",
    "//hooks.example.org/": "not_an_address",
    "https:hooks.example.org": "not_an_address",
    "https:///": "not_an_address",
    "javascript:alert(1)": "not_an_address",
    "": "not_an_address",
}
NEVER = (
    *("127.0.0.1", "127.255.1.2", "0.0.0.0", "169.254.169.254", "224.0.0.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "ff02::1", "::ffff:127.0.0.1"),
    *("::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::"),
    *("::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1", "64:ff9b:1:a::1", "fec0::1"),
)
PRIVATE = ("10.1.2.3", "172.16.0.9", "192.168.1.1", "100.64.0.1", "fd00::7", "::ffff:10.0.0.1")


@pytest.mark.parametrize("url", GOOD)
def test_a_listed_host_may_be_called(url: str) -> None:
    assert judge(url, ALLOWED, names()) == GOOD[url]


@pytest.mark.parametrize("url", HOSTILE, ids=ascii)
def test_a_hostile_address_is_not(url: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        judge(url, ALLOWED, names(**{"127": "127.0.0.1"}))
    assert refused.value.code == HOSTILE[url]
    assert "evil" not in str(refused.value)


@pytest.mark.parametrize("address", [*NEVER, *PRIVATE])
def test_a_listed_name_that_leads_inside_is_not_called(address: str) -> None:
    for found in (address, f"{PUBLIC} {address}", f"{address} {PUBLIC}"):
        with pytest.raises(NotAllowed, match="not_public"):
            judge("https://hooks.example.org/", ALLOWED, names(hooks=found))


@pytest.mark.parametrize("address", PRIVATE)
def test_a_host_listed_as_private_may_be_in_the_house(address: str) -> None:
    assert judge("https://pacs.example.org/", ALLOWED, names(pacs=address)).address == address


@pytest.mark.parametrize("address", NEVER)
def test_but_never_on_this_machine_or_beside_its_network_card(address: str) -> None:
    with pytest.raises(NotAllowed, match="not_public"):
        judge("https://pacs.example.org/", ALLOWED, names(pacs=address))


def test_a_name_that_is_not_found_is_no_fault() -> None:
    def lost(_name: str, _port: int) -> list[str]:
        raise socket.gaierror

    for resolve in (lost, lambda _name, _port: []):
        with pytest.raises(NotAllowed, match="not_found"):
            judge("https://hooks.example.org/", ALLOWED, resolve)


class Served(BaseHTTPRequestHandler):
    """Notes what it was asked; redirects, or sends more than anybody wants."""

    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        self.send_response(302 if self.path == "/away" else 200)
        self.send_header("Location", "http://169.254.169.254/")
        self.end_headers()
        self.wfile.write(b"x" * 5_000_000 if self.path == "/much" else b"hello")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def served() -> Iterator[Target]:
    server = HTTPServer(("127.0.0.1", 0), Served)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Target("http", "hooks.example.org", server.server_port, "/", "127.0.0.1")
    server.shutdown()
    server.server_close()


def test_the_judged_address_is_called_under_its_name(served: Target) -> None:
    """The name resolves to somewhere else, or nowhere: it is not asked again."""
    answer = call("GET", served)
    assert (answer.status, answer.body) == (200, b"hello")
    assert Served.asked[-1] == ("/", f"hooks.example.org:{served.port}")


def test_a_redirect_is_not_followed(served: Target) -> None:
    before = len(Served.asked)
    answer = call("GET", replace(served, path="/away"))
    assert (answer.status, answer.headers["location"]) == (302, "http://169.254.169.254/")
    assert len(Served.asked) == before + 1


def test_no_more_is_read_than_is_wanted(served: Target) -> None:
    assert len(call("GET", replace(served, path="/much"), max_bytes=1000).body) == 1000


def test_a_proxy_of_the_environment_is_not_used(
    served: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert call("GET", served).status == 200


def test_who_has_not_the_hosts_certificate_is_not_believed(served: Target) -> None:
    with pytest.raises(OSError, match=r"(?i)ssl|wrong version|record layer|eof|http"):
        call("GET", replace(served, scheme="https"))


def test_nothing_else_in_the_portal_opens_a_connection() -> None:
    """Beside Redis and the database only what is named here calls, where the settings say."""
    callers = re.compile(
        r"^\s*(?:import|from) (?:urllib\.request|http\.client|smtplib|requests|httpx2?|aiohttp"
        r"|socket|authlib|boto3|botocore)\b",
        re.MULTILINE,
    )
    folder = Path(outbound.__file__).parents[1]
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if callers.search(path.read_text(encoding="utf-8"))
    }
    assert found == {
        "exchange/outbound.py",
        "exchange/mail.py",  # by connections of the former
        *ASKS_ITSELF,
        *ITS_OWN_PROCESSES,
        *CALLS_ONE_ADDRESS,
        *SERVES,
    }


# These ask this machine whether a port is free, or the portal that they have started.
ASKS_ITSELF = {"standalone/up.py", "standalone/demo.py"}
# These speak to a process that they have started, over a pair of sockets without an address.
ITS_OWN_PROCESSES = {
    "formats/header_pool.py",
    "formats/header_process.py",
    "formats/header_messages.py",
}
# The server sets an option of the connections that it accepts; the listeners accept, and read from
# what they have accepted. What they open themselves goes through the first, as do reports.
SERVES = {
    "server/connection.py",
    "dicom_network/association.py",
    "dicom_network/server.py",
    "hl7/listener.py",
    "hl7/sending/mllp.py",
}
# The single sign-on issuer (nothing but its origin: see test_single_sign_on), the vault's bucket,
# and the syslog that the access log is anchored in.
CALLS_ONE_ADDRESS = {"accounts/openid_connect.py", "vault/blob_store.py", "audit/anchors.py"}
