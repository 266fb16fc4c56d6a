"""Everything that the environment may say to a worker, checked once in one frozen object.

Owns the names, defaults and checks of the variables, and the clock that follows from JOB_SECONDS:
soft limit < hard limit < lease < visibility timeout.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

# Linux takes 108 bytes with a zero at the end for the path of a socket.
SOCKET_BYTES_MAX = 107
DEVICES = ("auto", "cpu", "cuda")
# Every variable and its meaning, for the documentation.
VARIABLES = {
    "REDIS_URL": "The bell: redis://, rediss:// or unix://. May be given as REDIS_URL_FILE.",
    "PLEURA_PORTAL_URL": "Where the portal answers the worker.",
    "PLEURA_WORKER_TOKEN": "What opens the portal's door. Also as PLEURA_WORKER_TOKEN_FILE.",
    "JOB_SECONDS": "What a job may take (120); the same number as the portal's.",
    "PLEURA_WEIGHTS": "Folder of a model, or of models with a CURRENT (the shipped ones).",
    "PLEURA_MODELS": "Folder for models that the portal names (models, beside the state files).",
    "PLEURA_MODEL_HOSTS": "Hosts that such models may be fetched from, parted by commas (none).",
    "PLEURA_DEVICE": "auto (the GPU where torch sees one, else the CPU), cpu or cuda.",
    "PLEURA_THREADS": "CPU threads of the model; 0 for as many as there are cores.",
    "PLEURA_BATCH": "Pictures that a segment worker takes at once, for one run of a GPU (1).",
    "PLEURA_DECODE_MB": "Memory that decoding one file may take, in MiB (2048).",
    "PLEURA_WORKER_NAME": "How the portal shows this worker (the host's name).",
    "PLEURA_WORKER_STATE": "Folder of the files whose age says that the worker is alive.",
}


class BadSettings(Exception):
    """A worker that is set up wrongly does not start; the sentence says what to change."""


@dataclass(frozen=True)
class Settings:
    """What a worker was told. ``threads`` 0 and ``weights`` None leave the choice to the engine."""

    redis_url: str = field(repr=False)
    portal_url: str
    token: str = field(repr=False)
    job_seconds: int
    weights: Path | None
    models: Path
    model_hosts: frozenset[str]
    device: str
    threads: int
    batch: int
    decode_megabytes: int
    name: str
    state_dir: Path

    @property
    def engine_socket(self) -> Path | None:
        """Where the one engine of several segment processes answers; None: each has its own."""
        return self.state_dir / f"{self.name}.engine" if self.batch > 1 else None

    @property
    def soft_seconds(self) -> float:
        """When a task is asked to stop: it then says so to the portal."""
        return float(self.job_seconds)

    @property
    def hard_seconds(self) -> float:
        """When the process of a task that does not stop is killed."""
        return 1.25 * self.job_seconds

    @property
    def lease_seconds(self) -> float:
        """How long the portal keeps an attempt for its worker without a heartbeat."""
        return 1.5 * self.job_seconds

    @property
    def visibility_seconds(self) -> float:
        """When Redis gives a message that nobody acknowledged to another worker."""
        return 3.0 * self.job_seconds

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check the environment; BadSettings names the variable that is wrong."""
        device = environ.get("PLEURA_DEVICE", "auto")
        if device not in DEVICES:
            raise BadSettings(f"PLEURA_DEVICE must be one of {', '.join(DEVICES)}.")
        weights = environ.get("PLEURA_WEIGHTS")
        state = Path(environ.get("PLEURA_WORKER_STATE") or f"/tmp/pleura-{os.getuid()}")  # noqa: S108 made 0700 by the worker
        settings = cls(
            redis_url=_redis_url(_secret(environ, "REDIS_URL")),
            portal_url=_portal_url(_required(environ, "PLEURA_PORTAL_URL")),
            token=_secret(environ, "PLEURA_WORKER_TOKEN"),
            job_seconds=_number(environ, "JOB_SECONDS", 120, least=5, most=3600),
            weights=Path(weights) if weights else None,
            models=Path(environ.get("PLEURA_MODELS") or state / "models"),
            model_hosts=frozenset(
                environ.get("PLEURA_MODEL_HOSTS", "").lower().replace(",", " ").split()
            ),
            device=device,
            threads=_number(environ, "PLEURA_THREADS", 0, least=0, most=256),
            batch=_number(environ, "PLEURA_BATCH", 1, least=1, most=64),
            decode_megabytes=_number(environ, "PLEURA_DECODE_MB", 2048, least=64, most=65536),
            name=environ.get("PLEURA_WORKER_NAME") or socket.gethostname(),
            state_dir=state,
        )
        path = settings.engine_socket
        if path is not None and len(os.fsencode(path)) > SOCKET_BYTES_MAX:
            raise BadSettings("PLEURA_WORKER_STATE is too long a path: the engine listens in it.")
        return settings


def load() -> Settings:
    """The settings of this process."""
    return Settings.from_env(os.environ)


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise BadSettings(f"{name} is not set.")
    return value


def _secret(environ: Mapping[str, str], name: str) -> str:
    """The value of NAME, or what stands in the file that NAME_FILE names."""
    path = environ.get(f"{name}_FILE")
    if not path:
        return _required(environ, name)
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadSettings(f"{name}_FILE can't be read: {error.strerror}.") from None
    if not value:
        raise BadSettings(f"The file that {name}_FILE names is empty.")
    return value


def _number(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = environ.get(name, "").strip() or str(default)
    if not text.isdigit() or not least <= int(text) <= most:
        raise BadSettings(f"{name} must be a whole number from {least} to {most}.")
    return int(text)


def _redis_url(url: str) -> str:
    """Celery's spelling of the address: redis-py's ``unix://`` is its ``redis+socket://``."""
    scheme = urlsplit(url).scheme
    if scheme == "unix":
        return "redis+socket" + url[len("unix") :].replace("?db=", "?virtual_host=")
    if scheme not in ("redis", "rediss", "redis+socket"):
        raise BadSettings("REDIS_URL must start with redis://, rediss:// or unix://.")
    return url


def _portal_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadSettings("PLEURA_PORTAL_URL must be an http:// or https:// address.")
    return url.rstrip("/")
