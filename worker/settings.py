"""Every variable of a worker, read and checked in one immutable object.

The only module of the worker that reads the process's environment.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin
from urllib.parse import urlsplit

from annotated_types import Ge, Le
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from worker.contract import tls
from worker.contract.clock import JOB_SECONDS, JOB_SECONDS_MAX, JOB_SECONDS_MIN, JobClock
from worker.contract.job import SLOTS_MAX
from worker.isolation import environment

# Linux takes 108 bytes with a zero at the end for the path of a socket.
SOCKET_BYTES_MAX = 107
# May also be given as files that NAME_FILE names.
SECRETS: Final = frozenset({"REDIS_URL", "PLEURA_WORKER_TOKEN"})


class BadSettings(Exception):
    """A worker that is set up wrongly does not start; the message is what to change."""


class _Environment(PydanticBaseSettingsSource):
    """Variables, and the files that name secrets; an empty variable counts as not given.

    pydantic-settings' own source of secrets reads a folder with one file per field; container
    platforms name each file in a variable.
    """

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self._environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = str(field.validation_alias)
        path = self._environ.get(f"{name}_FILE") if name in SECRETS else None
        value = self._environ.get(name, "").strip()
        if path and value:
            raise BadSettings(f"Give {name} or {name}_FILE, not both.")
        value = _content(name, path) if path else value
        return value or None, name, False

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(f, n) for n, f in self.settings_cls.model_fields.items())
        return {name: value for value, name, _ in found if value is not None}


def _content(name: str, path: str) -> str:
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadSettings(f"{name}_FILE can't be read: {reason}.") from None
    if not value:
        raise BadSettings(f"The file that {name}_FILE names is empty.")
    return value


def _redis_url(url: str) -> str:
    """Celery's form of the address: redis-py's ``unix://`` is its ``redis+socket://``."""
    scheme = urlsplit(url).scheme
    if scheme == "unix":
        return "redis+socket" + url[len("unix") :].replace("?db=", "?virtual_host=")
    if scheme not in ("redis", "rediss", "redis+socket"):
        raise ValueError("must start with redis://, rediss:// or unix://")
    return url


def job_process_environment() -> dict[str, str]:
    """The environment of a process that does jobs: it gets neither Redis' address nor the token."""
    withheld = {"REDIS_URL": "redis://withheld", "PLEURA_WORKER_TOKEN": "withheld"}
    files = {f"{name}_FILE" for name in SECRETS}
    return {k: v for k, v in os.environ.items() if k not in files} | withheld


def _portal_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    return url.rstrip("/")


def _whole_number(value: object) -> object:
    """Digits alone: pydantic would take 1_000 and 5.0 as well."""
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        raise ValueError("must be a whole number")
    return value


def _names(value: object) -> object:
    return value.lower().replace(",", " ").split() if isinstance(value, str) else value


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]


class Settings(JobClock, BaseSettings):
    """What a worker runs on. ``threads`` 0 and ``weights`` None leave the choice to the engine."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True)

    redis_url: Annotated[str, AfterValidator(_redis_url)] = Field(
        validation_alias="REDIS_URL",
        repr=False,
        description="Redis, which notifies of new jobs: redis://, rediss:// or unix://. May be "
        "given as REDIS_URL_FILE.",
    )
    tls_ca_file: Path | None = Field(
        None,
        validation_alias="PLEURA_TLS_CA_FILE",
        description="Certificates (PEM) of the authorities of Redis' certificate, for rediss://.",
    )
    plain_hosts: Annotated[frozenset[str], BeforeValidator(_names)] = Field(
        frozenset(),
        validation_alias="PLEURA_PLAIN_HOSTS",
        description="Hosts at which Redis and portal may be reached without TLS, beside this "
        "machine (none).",
    )
    portal_url: Annotated[str, AfterValidator(_portal_url)] = Field(
        validation_alias="PLEURA_PORTAL_URL",
        description="Address of the portal: https://, or http:// on this machine.",
    )
    token: str = Field(
        validation_alias="PLEURA_WORKER_TOKEN",
        repr=False,
        description="Authenticates the worker at the portal. Also as PLEURA_WORKER_TOKEN_FILE.",
    )
    job_seconds: WholeNumber = Field(
        JOB_SECONDS,
        ge=JOB_SECONDS_MIN,
        le=JOB_SECONDS_MAX,
        validation_alias="JOB_SECONDS",
        description="How long a job may take; the same number as the portal's.",
    )
    weights: Path | None = Field(
        None,
        validation_alias="PLEURA_WEIGHTS",
        description="Folder of a model, or of models with a CURRENT (the shipped ones).",
    )
    state_dir: Path = Field(
        default_factory=lambda: Path(f"/tmp/pleura-{os.getuid()}"),  # noqa: S108 made 0700 by the worker
        validation_alias="PLEURA_WORKER_STATE",
        description="Folder of the files whose age shows that the worker is alive.",
    )
    models: Path = Field(
        default_factory=lambda before: before["state_dir"] / "models",
        validation_alias="PLEURA_MODELS",
        description="Folder for models that the portal names (models, beside the state files).",
    )
    model_hosts: Annotated[frozenset[str], BeforeValidator(_names)] = Field(
        frozenset(),
        validation_alias="PLEURA_MODEL_HOSTS",
        description="Hosts that such models may be fetched from, separated by commas (none).",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        validation_alias="PLEURA_DEVICE",
        description="auto (the GPU where torch sees one, else the CPU), cpu or cuda.",
    )
    engine: Literal["auto", "openvino", "torch"] = Field(
        "auto",
        validation_alias="PLEURA_ENGINE",
        description="auto (torch on a GPU; on the CPU OpenVINO, or torch without it), openvino or "
        "torch.",
    )
    precision: Literal["f32", "bf16", "fp16"] = Field(
        "f32",
        validation_alias="PLEURA_PRECISION",
        description="Of the network's arithmetic: f32, bf16 (quicker, results differ by some "
        "hundredths) or fp16 (likewise, GPU alone).",
    )
    threads: WholeNumber = Field(
        0,
        ge=0,
        le=256,
        validation_alias="PLEURA_THREADS",
        description="CPU threads of the model; 0 for as many as there are cores.",
    )
    batch: WholeNumber = Field(
        1,
        ge=1,
        le=SLOTS_MAX,
        validation_alias="PLEURA_BATCH",
        description="Pictures that a segment worker takes at once, for one run of a GPU.",
    )
    decode_megabytes: WholeNumber = Field(
        2048,
        ge=64,
        le=65536,
        validation_alias="PLEURA_DECODE_MB",
        description="Memory that decoding one file may take, in MiB.",
    )
    name: str = Field(
        default_factory=socket.gethostname,
        validation_alias="PLEURA_WORKER_NAME",
        description="Name of this worker in the portal (the host's name).",
    )

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read the environment; pydantic's ValidationError where a variable is wrong."""
        super().__init__(environ=environ)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment that the constructor was given."""
        return (_Environment(settings_cls, init_settings()["environ"]),)

    @property
    def engine_socket(self) -> Path | None:
        """Socket of the engine that several segment processes share; None: each has its own."""
        return self.state_dir / f"{self.name}.engine" if self.batch > 1 else None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check the environment; BadSettings names the first variable that is wrong."""
        try:
            settings = cls(environ)
        except ValidationError as error:
            raise BadSettings(_sentence(error.errors()[0])) from None
        portal = urlsplit(settings.portal_url)
        host = portal.hostname or ""
        if portal.scheme == "http" and not tls.is_here(host) and host not in settings.plain_hosts:
            raise BadSettings(
                f"PLEURA_PORTAL_URL must start with https://, or {host} would be reached "
                "unencrypted. In a network that nobody else reads, name the host in "
                "PLEURA_PLAIN_HOSTS."
            )
        path = settings.engine_socket
        if path is not None and len(os.fsencode(path)) > SOCKET_BYTES_MAX:
            raise BadSettings("PLEURA_WORKER_STATE is too long a path: the engine listens in it.")
        return settings


# Every variable and its meaning, for the documentation.
VARIABLES: Final = {
    str(field.validation_alias): field.description for field in Settings.model_fields.values()
}


def check_redis(settings: Settings) -> None:
    """Raise BadSettings where Redis needs TLS, or answers with a certificate not accepted.

    Connects to it, if it is reached by TLS; one that is down is no problem here.
    """
    url, ca_file = settings.redis_url, settings.tls_ca_file
    problem = tls.ca_file_problem(ca_file) or tls.redis_problem(url, ca_file, settings.plain_hosts)
    problem = problem or tls.redis_certificate_problem(url, ca_file)
    if problem is not None:
        raise BadSettings(problem)


def load() -> Settings:
    """The settings of this process."""
    return Settings.from_env(os.environ)


def leave_environment() -> None:
    """Start this program anew where its environment holds secrets, with files in their place."""
    environment.leave(SECRETS, os.environ)


def _sentence(error: Any) -> str:
    name = error["loc"][0]
    fields = Settings.model_fields.values()
    field = next(field for field in fields if field.validation_alias == name)
    least = next((limit.ge for limit in field.metadata if isinstance(limit, Ge)), None)
    most = next((limit.le for limit in field.metadata if isinstance(limit, Le)), None)
    if error["type"] == "missing":
        return f"{name} is not set."
    if least is not None and most is not None:
        return f"{name} must be a whole number from {least} to {most}."
    if get_origin(field.annotation) is Literal:
        *choices, last = get_args(field.annotation)
        return f"{name} must be {', '.join(choices)} or {last}."
    return f"{name} {error['ctx']['error']}."
