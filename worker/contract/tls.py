"""TLS to Redis and PostgreSQL: when a connection needs it, and whether a certificate is accepted.

Portal and workers use the same rules: certificates come from the authorities of one file, and the
name in them is the host's.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

_SECONDS: Final = 5.0
_REDIS_PORT: Final = 6379
# PostgreSQL's request to go on by TLS: length and code of the message (Frontend/Backend Protocol).
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)


def is_here(host: str) -> bool:
    """Whether a host is this machine; an empty one or a path is a socket of it."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def redis_problem(
    url: str, ca_file: Path | None, plain_hosts: Collection[str] | None
) -> str | None:
    """What is wrong with Redis' address, as a sentence that begins with its variable.

    plain_hosts: those that may be reached without TLS beside this machine; None for all. The
    address may hold a password, which is not repeated.
    """
    parts = urlsplit(url)
    if any(name.startswith("ssl") for name, _ in parse_qsl(parts.query)):
        return "REDIS_URL must hold no options of TLS: certificates are always checked."
    host = parts.hostname or ""
    if parts.scheme == "rediss" and ca_file is None:
        return f"PLEURA_TLS_CA_FILE must be set for TLS to Redis at {host}."
    plain = parts.scheme == "redis" and not is_here(host)
    if plain and plain_hosts is not None and host not in plain_hosts:
        return (
            f"REDIS_URL must start with rediss://, or {host} would be reached unencrypted. In a "
            "network that nobody else reads, name the host in PLEURA_PLAIN_HOSTS."
        )
    return None


def redis_options(url: str, ca_file: Path | None) -> dict[str, Any]:
    """What redis-py and Celery need to reach this address by TLS; nothing without rediss://.

    Left to itself, Celery checks no certificate.
    """
    if urlsplit(url).scheme != "rediss":
        return {}
    return {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
        "ssl_ca_certs": str(ca_file),
    }


def redis_certificate_problem(url: str, ca_file: Path | None) -> str | None:
    """The same as `certificate_problem` for Redis' address; None without TLS."""
    parts = urlsplit(url)
    if parts.scheme != "rediss" or ca_file is None:
        return None
    return certificate_problem(parts.hostname or "", parts.port or _REDIS_PORT, ca_file)


def ca_file_problem(ca_file: Path | None, name: str = "PLEURA_TLS_CA_FILE") -> str | None:
    """Why the file of authorities can't be used, if it is given; `name`: its variable."""
    if ca_file is None:
        return None
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except ssl.SSLError:
        return f"{name} holds no certificates (PEM)."
    except OSError as error:
        return f"{name} can't be read: {error.strerror}."
    return None


def certificate_problem(
    host: str, port: int, ca_file: Path, *, postgres: bool = False
) -> str | None:
    """Why the server's certificate is not accepted; None if it is, or without an answer in time."""
    where = f"{host}:{port}"
    context = ssl.create_default_context(cafile=str(ca_file))
    try:
        with socket.create_connection((host, port), _SECONDS) as connection:
            if postgres:
                connection.sendall(_SSL_REQUEST)
                if connection.recv(1) == b"N":
                    return f"The server at {where} offers no TLS."
            with context.wrap_socket(connection, server_hostname=host):
                return None
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message.rstrip(".")
        return f"The certificate of {where} is not accepted: {reason}."
    except ssl.SSLError as error:
        return f"The server at {where} offers no TLS ({error.reason})."
    except OSError:
        return None


def host_of(options: Mapping[str, Any], name: str) -> list[str]:
    """The hosts of one option of a database's address, which may list several."""
    value = options.get(name, ())
    values = (value,) if isinstance(value, str) else value
    return [host for text in values for host in str(text).split(",")]
