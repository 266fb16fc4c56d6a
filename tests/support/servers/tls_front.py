"""TLS servers for tests: certificates made for them, in front of a real Redis and PostgreSQL.

The servers that come as Python packages are built without TLS. A front accepts it, with Python's
`ssl`, and passes the bytes on to the server's unix socket; PostgreSQL's clients ask for TLS first.
"""

import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its certificate in `file`, and its key."""

    file: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    @classmethod
    def make(cls, folder: Path, name: str = "Test authority") -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        made = _certificate(subject, subject, key, key, None, days=2)
        file = folder / f"{name.replace(' ', '_')}.pem"
        file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return cls(file, key, subject)

    def issue(self, host: str, *, days: int = 2) -> ssl.SSLContext:
        """A server's context with a certificate for `host`; `days` < 0: one that has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        made = _certificate(subject, self.name, key, self.key, host, days)
        file = self.file.with_name(f"{host}{days}.pem")
        file.write_bytes(
            made.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signing_key: ec.EllipticCurvePrivateKey,
    host: str | None,
    days: int,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    public = signing_key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 9 * day)
        .not_valid_after(now + days * day)
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    if host is not None:
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signing_key, hashes.SHA256())


@contextmanager
def tls_front(
    behind: Path, context: ssl.SSLContext | None, *, postgres: bool = False
) -> Iterator[int]:
    """A port of this machine that leads to a unix socket by TLS; without a context it has none."""
    listener = socket.create_server(("127.0.0.1", 0))
    live: list[socket.socket] = []

    def serve(client: socket.socket) -> None:
        with suppress(OSError):
            first = b""
            if postgres:
                first = client.recv(8, socket.MSG_WAITALL)
                if first == _SSL_REQUEST:
                    client.sendall(b"S" if context else b"N")
                    first = b""
                elif context is not None:
                    return  # plain, as `hostssl` in pg_hba.conf refuses it
            if context is not None:
                client = context.wrap_socket(client, server_side=True)
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(behind))
            live.extend((client, server))
            server.sendall(first)
            threading.Thread(target=_pass_on, args=(server, client), daemon=True).start()
            _pass_on(client, server)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for one in (listener, *live):
            _shut(one.close)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError, ValueError):
        while data := source.recv(65536):
            target.sendall(data)
    for one in (source, target):
        _shut(lambda one=one: one.shutdown(socket.SHUT_RDWR))  # type: ignore[misc]


def _shut(close: Callable[[], None]) -> None:
    with suppress(OSError):
        close()
