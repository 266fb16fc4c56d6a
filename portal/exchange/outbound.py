"""Requests from the portal to other systems, to allowed hosts only.

The host must be in the list of the settings, by https unless plain http is listed for it, and must
resolve to public addresses only, unless it is listed with `private:`. The connection then goes to
the address that was checked, so that a name can't point elsewhere a moment later. Redirects are
never followed, and no proxy of the environment is used.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from portal.settings.allowed_hosts import Host, is_host_name

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]

_PORTS: Final = {"https": 443, "http": 80}
# IPv6 addresses that stand for one of IPv4: NAT64, beside 6to4.
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
# Forms of an IPv4 address that are obsolete, or that each network reads in its own way:
# IPv4-compatible, IPv4-translated, local NAT64. None is called.
_REFUSED_FORMS: Final = tuple(
    ipaddress.ip_network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48")
)


class NotAllowed(Exception):
    """An address that may not be called. `code` is the reason; the address is not repeated."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Target:
    """A checked address: where to connect, and the host name to use there."""

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    address: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The response; a redirect is one like any other."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


def judge(url: str, allowed: tuple[Host, ...], resolve: Resolve | None = None) -> Target:
    """Where to connect for this address; raises NotAllowed."""
    if not url.isascii() or any(character <= " " or character in '\\"<>' for character in url):
        raise NotAllowed("not_an_address")
    try:
        parts = urlsplit(url)
        name, given_port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise NotAllowed("not_an_address") from None
    if parts.scheme not in _PORTS or not name or parts.username or parts.password:
        raise NotAllowed("not_an_address")
    if not is_host_name(name):
        raise NotAllowed("not_listed")
    port = given_port or _PORTS[parts.scheme]
    host = next((h for h in allowed if h.name == name and _fits(h, parts.scheme, port)), None)
    if host is None:
        raise NotAllowed("not_listed")
    if parts.scheme == "http" and not host.http:
        raise NotAllowed("not_https")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, name, port, path, _address(host, port, resolve or _resolve))


def judge_peer(
    name: str, port: int, allowed: tuple[Host, ...], resolve: Resolve | None = None
) -> Target:
    """The same for a peer that speaks another protocol than HTTP: it must be listed with its port.

    `Target.scheme` is empty.
    """
    if not is_host_name(name):
        raise NotAllowed("not_an_address")
    host = next((h for h in allowed if (h.name, h.port) == (name.lower(), port)), None)
    if host is None:
        raise NotAllowed("not_listed")
    return Target("", host.name, port, "", _address(host, port, resolve or _resolve))


def _fits(host: Host, scheme: str, port: int) -> bool:
    return port == (host.port or _PORTS[scheme])


def _address(host: Host, port: int, resolve: Resolve) -> str:
    """The first of the host's addresses, all of which must be allowed."""
    try:
        found = resolve(host.name, port)
    except OSError:
        raise NotAllowed("not_found") from None
    if not found:
        raise NotAllowed("not_found")
    for text in found:
        address = ipaddress.ip_address(text.partition("%")[0])
        for each in (address, *_inside(address)):
            if _is_never_called(each) or not (host.private or each.is_global):
                raise NotAllowed("not_public")
    return found[0]


def _inside(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address contains."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inside: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64:
        inside.append(ipaddress.IPv4Address(address.packed[12:]))
    return [each for each in inside if each is not None]


def _is_never_called(address: Address) -> bool:
    """This machine, its link-local network (clouds serve secrets there), no machine at all."""
    if isinstance(address, ipaddress.IPv6Address) and (
        address.is_site_local or any(address in network for network in _REFUSED_FORMS)
    ):
        return True
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    )


def _resolve(name: str, port: int) -> list[str]:
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def call(
    method: str,
    target: Target,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    seconds: float = 10.0,
    max_bytes: int = 1024 * 1024,
    ends_after: float | None = None,
    ca_file: Path | None = None,
) -> Answer:
    """One request to a checked address; OSError where there is no proper HTTP response.

    The certificate must be the host's; `ca_file`: the authorities that may have signed it, instead
    of the system's. At most `max_bytes` of the body are read. `seconds` limits each step, and
    `ends_after` the whole of it, however slowly the other side sends.
    """
    connection = _Pinned(target, seconds, ca_file)
    with ending(connection.end, ends_after):
        try:
            connection.request(method, target.path, body or None, dict(headers or {}))
            answer = connection.getresponse()
            data = answer.read(max_bytes)
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, data)
        except OSError:
            raise
        except (http.client.HTTPException, ValueError) as error:  # closed while it was read
            raise ConnectionError(type(error).__name__) from None
        finally:
            connection.close()


@contextlib.contextmanager
def ending(end: Callable[[], None], seconds: float | None) -> Iterator[None]:
    """Call `end` in another thread once this takes longer than `seconds`."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def connect(target: Target, seconds: float, context: ssl.SSLContext | None) -> socket.socket:
    """A connection to the checked address, by TLS where there is a context."""
    connected = socket.create_connection((target.address, target.port), seconds)
    if context is None:
        return connected
    try:
        return context.wrap_socket(connected, server_hostname=target.host)
    except BaseException:
        connected.close()
        raise


def reach(target: Target, seconds: float, ca_file: Path | None = None) -> None:
    """Connect to the checked address and ask nothing; OSError where that is not possible."""
    is_https = target.scheme == "https"
    context = ssl.create_default_context(cafile=ca_file) if is_https else None
    connect(target, seconds, context).close()


def shut(connected: socket.socket | None) -> None:
    """Let whoever waits for this connection go on, with an error."""
    if connected is not None:
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)


class _Pinned(http.client.HTTPConnection):
    """A connection to the checked address, under its host name."""

    def __init__(self, target: Target, seconds: float, ca_file: Path | None) -> None:
        super().__init__(target.host, target.port, timeout=seconds)
        self.default_port = _PORTS[target.scheme]
        self.target = target
        self._seconds = seconds
        self._opened: Any = None
        self._ca_file = str(ca_file) if ca_file else None

    def connect(self) -> None:
        """Connect, by TLS for an https address."""
        is_https = self.target.scheme == "https"
        context = ssl.create_default_context(cafile=self._ca_file) if is_https else None
        self.sock: Any = connect(self.target, self._seconds, context)
        self._opened = self.sock  # http.client lets go of it before the body is read

    def end(self) -> None:
        """Close the connection while another thread waits for it."""
        shut(self._opened)
