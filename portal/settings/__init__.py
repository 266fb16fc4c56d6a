"""Every setting of the portal, read and checked, in one frozen object.

The only module of the portal that reads the process's environment. What the settings mean stands
in `variables`. In development what is missing is made once and kept in the data folder (see
`keyfiles`); in production nothing is made up.
"""

import os
import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from portal.settings import outbound, secret_files, single_sign_on
from portal.settings.environment import Environment
from portal.settings.key_ring_command import RingCommand
from portal.settings.single_sign_on import SingleSignOn
from portal.settings.variables import VARIABLES, Variable

Env = Literal["development", "production", "test"]

_BUCKET: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([\w./-]+?))?/*", re.ASCII)
_SYSLOG: Final = re.compile(r"/[^\s]+|[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}")
_LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_CENTURY: Final = 100 * 366  # days


class SettingsError(Exception):
    """The environment does not make a runnable portal. `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Bucket:
    """An S3-compatible bucket. `prefix` begins every key, and ends with / where there is one."""

    name: str
    prefix: str
    endpoint: str
    region: str
    key_id: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the portal runs on. Secrets do not show in `repr`."""

    env: Env
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    data_dir: Path
    secret_key: str = field(repr=False)
    key_ring: str = field(repr=False)
    key_ring_file: Path | None
    worker_token: str = field(repr=False)
    ring_command: RingCommand | None = None
    bucket: Bucket | None = None
    base_url: str = "http://127.0.0.1:8000"
    job_seconds: int = 120
    max_upload_mb: int = 64
    max_archive_mb: int = 256
    session_idle_minutes: int = 15
    session_absolute_hours: int = 10
    break_glass_minutes: int = 60
    trusted_proxies: int = 0
    log_level: str = "INFO"
    audit_anchor_file: Path | None = None
    audit_anchor_syslog: str = ""
    audit_anchor_minutes: int = 60
    backup_key: str = field(default="", repr=False)
    retention_reviewed_days: int = 0
    retention_unreviewed_days: int = 0
    retention_no_result_days: int = 0
    shared_worker_token: bool = True
    outgoing_hosts: tuple[outbound.Host, ...] = ()
    model_hosts: tuple[str, ...] = ()
    sso: SingleSignOn | None = None
    only_local_flagged: bool = False

    @property
    def production(self) -> bool:
        """Whether real patients are behind it."""
        return self.env == "production"

    @property
    def soft_seconds(self) -> float:
        """A task is asked to stop."""
        return self.job_seconds * 1.0

    @property
    def hard_seconds(self) -> float:
        """A task is killed."""
        return self.job_seconds * 1.25

    @property
    def lease_seconds(self) -> float:
        """Another worker may take the job."""
        return self.job_seconds * 1.5

    @property
    def visibility_seconds(self) -> float:
        """Redis gives an unacknowledged message to another worker."""
        return self.job_seconds * 3.0

    @property
    def max_upload_bytes(self) -> int:
        """Largest accepted file in bytes."""
        return self.max_upload_mb * 1024 * 1024

    @property
    def max_archive_bytes(self) -> int:
        """Largest accepted ZIP in bytes."""
        return self.max_archive_mb * 1024 * 1024

    @property
    def session_idle(self) -> timedelta:
        """Silence after which a session ends."""
        return timedelta(minutes=self.session_idle_minutes)

    @property
    def session_absolute(self) -> timedelta:
        """Age at which a session ends."""
        return timedelta(hours=self.session_absolute_hours)

    @property
    def passkey_site(self) -> tuple[str, str] | None:
        """The host name that passkeys belong to and the origin that asks for them.

        None where browsers make none: without https (except on localhost) and for bare addresses.
        """
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        named = bool(host) and ":" not in host and not host.replace(".", "").isdecimal()
        if not named or (parts.scheme != "https" and host != "localhost"):
            return None
        return host, f"{parts.scheme}://{parts.netloc}".lower()

    @property
    def break_glass(self) -> timedelta:
        """How long a case stays open to somebody who broke the glass."""
        return timedelta(minutes=self.break_glass_minutes)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read and check the environment; raises SettingsError with every problem at once."""
        environment = Environment(os.environ if environ is None else environ)
        source, problems = environment.source, environment.problems
        env = _env(environment)
        data_dir = Path(source.get("PLEURA_DATA_DIR") or "var").absolute()
        makes_up = env != "production" and not problems
        if makes_up:
            secret_files.private_folder(data_dir, problems)
        database_url = environment.secret("DATABASE_URL")
        if not database_url:
            database_url = f"sqlite:///{data_dir / 'pleura.db'}"
        ring_command = RingCommand.of(source, problems)
        keys = secret_files.Keys(
            environment, data_dir / "keys" if makes_up and not problems else None
        )
        whole = environment.whole
        settings = cls(
            env=env,
            database_url=database_url,
            redis_url=environment.secret("REDIS_URL"),
            data_dir=data_dir,
            secret_key=keys.read("PLEURA_SECRET_KEY", "secret_key", secrets.token_urlsafe),
            key_ring=_printed(ring_command, problems)
            if ring_command
            else keys.read("PLEURA_KEY_RING", "key_ring.json", secret_files.new_key_ring),
            key_ring_file=None if ring_command else keys.path("PLEURA_KEY_RING", "key_ring.json"),
            ring_command=ring_command,
            bucket=_bucket(environment),
            worker_token=keys.read("PLEURA_WORKER_TOKEN", "worker_token", secrets.token_urlsafe),
            base_url=(source.get("PLEURA_BASE_URL") or "http://127.0.0.1:8000").rstrip("/"),
            job_seconds=whole("JOB_SECONDS", 120, 5, 3600),
            max_upload_mb=whole("PLEURA_MAX_UPLOAD_MB", 64, 1, 1024),
            max_archive_mb=whole("PLEURA_MAX_ARCHIVE_MB", 256, 1, 4096),
            session_idle_minutes=whole("PLEURA_SESSION_IDLE_MINUTES", 15, 1, 24 * 60),
            session_absolute_hours=whole("PLEURA_SESSION_ABSOLUTE_HOURS", 10, 1, 24 * 7),
            break_glass_minutes=whole("PLEURA_BREAK_GLASS_MINUTES", 60, 5, 24 * 60),
            trusted_proxies=whole("PLEURA_TRUSTED_PROXIES", 0, 0, 10),
            shared_worker_token=environment.yes("PLEURA_SHARED_WORKER_TOKEN"),
            outgoing_hosts=_outgoing(environment),
            model_hosts=environment.words("PLEURA_MODEL_HOSTS"),
            log_level=(source.get("PLEURA_LOG_LEVEL") or "INFO").upper(),
            audit_anchor_file=environment.path("PLEURA_AUDIT_ANCHOR_FILE"),
            audit_anchor_syslog=environment.text("PLEURA_AUDIT_ANCHOR_SYSLOG"),
            audit_anchor_minutes=whole("PLEURA_AUDIT_ANCHOR_MINUTES", 60, 1, 24 * 60),
            backup_key=environment.secret("PLEURA_BACKUP_KEY"),
            retention_reviewed_days=whole("PLEURA_RETENTION_REVIEWED_DAYS", 0, 0, _CENTURY),
            retention_unreviewed_days=whole("PLEURA_RETENTION_UNREVIEWED_DAYS", 0, 0, _CENTURY),
            retention_no_result_days=whole("PLEURA_RETENTION_NO_RESULT_DAYS", 0, 0, _CENTURY),
            sso=single_sign_on.read(
                source,
                environment.secret("PLEURA_OIDC_CLIENT_SECRET"),
                production=env == "production",
                problems=problems,
            ),
            only_local_flagged=(
                environment.one_of("PLEURA_LOCAL_SIGN_IN", ("everybody", "flagged")) == "flagged"
            ),
        )
        if settings.only_local_flagged and settings.sso is None:
            problems.append("PLEURA_LOCAL_SIGN_IN=flagged needs PLEURA_OIDC_ISSUER.")
        settings._check(problems)
        if problems:
            raise SettingsError(problems)
        return settings

    @staticmethod
    def describe() -> tuple[Variable, ...]:
        """Every variable with default and meaning, in the order of the documentation."""
        return VARIABLES

    def read_key_ring(self, *, fresh: bool = True) -> str:
        """The key ring as it is now: rotate-keys may have added a key since the start.

        fresh False: what a command printed within the last minute will do.
        """
        if self.ring_command:
            return self.ring_command.read(fresh=fresh)
        return self.key_ring_file.read_text("utf-8") if self.key_ring_file else self.key_ring

    def change_key_ring(self, change: Callable[[str], str]) -> None:
        """Replace the key ring by what `change` makes of it, one process after the other.

        Raises SettingsError where the ring is not in a file or command, or can't be written. What
        a command keeps is locked on this machine alone: rotate on one machine at a time.
        """
        path = self.key_ring_file
        try:
            if self.ring_command:
                with secret_files.locked(self.data_dir):
                    self.ring_command.store(change(self.ring_command.read()))
            elif path:
                with secret_files.locked(path.parent):
                    secret_files.write_private(path, change(path.read_text("utf-8")))
            else:
                raise SettingsError(
                    ["The key ring is not in a file: give PLEURA_KEY_RING_FILE to rotate keys."]
                )
        except OSError as error:
            raise SettingsError(
                [f"The key ring {path or ''} can't be written ({error.strerror or error})."]
            ) from None

    def _check(self, problems: list[str]) -> None:
        if self.log_level not in _LOG_LEVELS:
            problems.append(f"PLEURA_LOG_LEVEL must be one of {', '.join(_LOG_LEVELS)}.")
        syslog = self.audit_anchor_syslog
        if syslog and not _SYSLOG.fullmatch(syslog):
            problems.append("PLEURA_AUDIT_ANCHOR_SYSLOG must be a path or host:port.")
        if self.backup_key and not secret_files.is_key(self.backup_key):
            problems.append(
                "PLEURA_BACKUP_KEY must be 32 random bytes in base64; make one with "
                "`python -m portal new-backup-key`."
            )
        if self.production:
            self._check_production(problems)

    def _check_production(self, problems: list[str]) -> None:
        if self.database_url.startswith("sqlite"):
            problems.append("DATABASE_URL must name a PostgreSQL database in production.")
        if not self.redis_url:
            problems.append("REDIS_URL must be set in production.")
        if not self.base_url.startswith("https://"):
            problems.append("PLEURA_BASE_URL must start with https:// in production.")
        needed = [("PLEURA_SECRET_KEY", self.secret_key)]
        if self.shared_worker_token:
            needed.append(("PLEURA_WORKER_TOKEN", self.worker_token))
        for name, value in needed:
            problem = secret_files.weakness(value)
            if problem:
                problems.append(f"{name} {problem}.")
        if not self.key_ring:
            problems.append("PLEURA_KEY_RING is missing (or PLEURA_KEY_RING_FILE).")
        else:
            problem = secret_files.ring_weakness(self.key_ring)
            if problem:
                problems.append(f"PLEURA_KEY_RING {problem}.")


def _outgoing(environment: Environment) -> tuple[outbound.Host, ...]:
    try:
        return outbound.hosts(environment.text("PLEURA_OUTGOING_HOSTS"))
    except ValueError as error:
        environment.problems.append(f"PLEURA_OUTGOING_HOSTS: {error}.")
        return ()


def check_production() -> list[str]:
    """What production would refuse in this process's environment, a sentence each."""
    try:
        Settings.from_env({**os.environ, "PLEURA_ENV": "production"})
    except SettingsError as error:
        return error.problems
    return []


def given_to_workers(name: str) -> str:
    """What this machine's own workers are told by a variable that the portal does not read."""
    return os.environ.get(name, "")


def child_environment(
    extra: Mapping[str, str],
    *,
    without: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of a process that this one starts: its own, less `without`, with `extra`.

    A variable in either is also taken away in its other spelling (NAME and NAME_FILE).
    """
    gone = {name + end for name in (*without, *extra) for end in ("", "_FILE")}
    source = os.environ if environ is None else environ
    return {**{name: value for name, value in source.items() if name not in gone}, **extra}


def _printed(command: "RingCommand", problems: list[str]) -> str:
    try:
        return command.read()
    except OSError as error:
        problems.append(f"PLEURA_KEY_RING_COMMAND: {error}.")
        return ""


def _bucket(environment: Environment) -> Bucket | None:
    address, problems = environment.text("PLEURA_BUCKET"), environment.problems
    secret = environment.secret("PLEURA_BUCKET_SECRET")
    if not address:
        return None
    found = _BUCKET.fullmatch(address)
    key_id = environment.text("PLEURA_BUCKET_KEY_ID")
    endpoint = environment.text("PLEURA_BUCKET_ENDPOINT")
    if not found:
        problems.append("PLEURA_BUCKET must look like s3://name or s3://name/prefix.")
    if not key_id or not secret:
        problems.append("PLEURA_BUCKET needs PLEURA_BUCKET_KEY_ID and PLEURA_BUCKET_SECRET.")
    if endpoint and not endpoint.startswith(("https://", "http://")):
        problems.append("PLEURA_BUCKET_ENDPOINT must start with https:// or http://.")
    if not found:
        return None
    return Bucket(
        name=found[1],
        prefix=f"{found[2]}/" if found[2] else "",
        endpoint=endpoint,
        region=environment.text("PLEURA_BUCKET_REGION", "us-east-1"),
        key_id=key_id,
        secret=secret,
    )


def _env(environment: Environment) -> Env:
    value = (environment.source.get("PLEURA_ENV") or "development").strip()
    if value == "development":
        return "development"
    if value == "test":
        return "test"
    if value != "production":
        environment.problems.append("PLEURA_ENV must be development, production or test.")
    return "production"
