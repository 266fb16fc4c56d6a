"""Every setting of the portal: its name, default, meaning and check, in one frozen object.

The only module of the portal that reads the environment and the key files. In development what
is missing is made once and kept in the data folder; in production nothing is made up.
"""

import base64
import contextlib
import fcntl
import json
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from portal import outgoing, sso_settings
from portal.ringcommand import RingCommand
from portal.sso_settings import SingleSignOn

Env = Literal["development", "production", "test"]

_SAMPLE_WORDS: Final = ("change", "sample", "example", "secret", "password", "default", "insecure")
_BUCKET: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([\w./-]+?))?/*", re.ASCII)
_SYSLOG: Final = re.compile(r"/[^\s]+|[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}")
_LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(Exception):
    """The environment does not make a runnable portal. `problems` has a sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Variable:
    """One line of the settings reference."""

    name: str
    default: str
    meaning: str
    secret: bool = False


VARIABLES: Final = (
    Variable("PLEURA_ENV", "development", "development, production or test."),
    Variable(
        "DATABASE_URL",
        "sqlite in the data folder",
        "SQLAlchemy address of the database; production needs PostgreSQL "
        "(postgresql+psycopg://user:password@host/name). May be given as DATABASE_URL_FILE.",
    ),
    Variable(
        "REDIS_URL",
        "none",
        "The bell: redis://, rediss:// or redis+socket://:password@/path/to/socket. Without it "
        "jobs wait until the sweep can ring. May be given as REDIS_URL_FILE.",
    ),
    Variable(
        "PLEURA_DATA_DIR",
        "var",
        "Folder of the encrypted files (and, in development, of keys and SQLite).",
    ),
    Variable(
        "PLEURA_BUCKET",
        "none",
        "s3://name or s3://name/prefix: keep the encrypted files in an S3-compatible bucket and "
        "not in the data folder (needs `pip install .[s3]`).",
    ),
    Variable(
        "PLEURA_BUCKET_ENDPOINT",
        "Amazon's",
        "Address of the bucket's server, for example https://s3.example.org.",
    ),
    Variable("PLEURA_BUCKET_REGION", "us-east-1", "Region of the bucket."),
    Variable("PLEURA_BUCKET_KEY_ID", "none", "Access key of the bucket."),
    Variable(
        "PLEURA_BUCKET_SECRET",
        "none",
        "Secret of the access key. Also as PLEURA_BUCKET_SECRET_FILE.",
        secret=True,
    ),
    Variable(
        "PLEURA_SECRET_KEY",
        "made once in development",
        "Signs sessions, forms and job tickets; at least 32 characters. Also as "
        "PLEURA_SECRET_KEY_FILE.",
        secret=True,
    ),
    Variable(
        "PLEURA_KEY_RING",
        "made once in development",
        "The vault's key ring as JSON (see `python -m portal new-key-ring`). Also as "
        "PLEURA_KEY_RING_FILE or PLEURA_KEY_RING_COMMAND; rotate-keys needs one of these two.",
        secret=True,
    ),
    Variable(
        "PLEURA_KEY_RING_COMMAND",
        "none",
        "A command that prints the key ring, for example a key-management service's client. Run "
        "without a shell, within 30 seconds; its output is never logged.",
    ),
    Variable(
        "PLEURA_KEY_RING_STORE_COMMAND",
        "none",
        "A command that reads the changed key ring from its standard input and keeps it: what "
        "rotate-keys needs beside PLEURA_KEY_RING_COMMAND.",
    ),
    Variable(
        "PLEURA_WORKER_TOKEN",
        "made once in development",
        "What workers show at the door; at least 32 characters. Also as PLEURA_WORKER_TOKEN_FILE.",
        secret=True,
    ),
    Variable(
        "PLEURA_SHARED_WORKER_TOKEN",
        "yes",
        "Whether PLEURA_WORKER_TOKEN opens the door: no where each worker has a token of its own "
        "(`python -m portal worker-token`).",
    ),
    Variable(
        "PLEURA_BASE_URL",
        "http://127.0.0.1:8000",
        "Where people reach the portal; links in invitations start with it, and passkeys belong to "
        "its host name. https in production.",
    ),
    Variable(
        "JOB_SECONDS",
        "120",
        "What a job may take. Soft limit 1.0, hard limit 1.25, lease 1.5 and Redis visibility "
        "timeout 3 times this.",
    ),
    Variable("PLEURA_MAX_UPLOAD_MB", "64", "Largest accepted file, in MiB."),
    Variable(
        "PLEURA_MAX_ARCHIVE_MB",
        "256",
        "Largest accepted ZIP, in MiB. It is kept in memory while it is taken in.",
    ),
    Variable("PLEURA_SESSION_IDLE_MINUTES", "15", "A session ends after this much silence."),
    Variable("PLEURA_SESSION_ABSOLUTE_HOURS", "10", "A session ends after this in any case."),
    Variable(
        "PLEURA_BREAK_GLASS_MINUTES",
        "60",
        "How long a case stays open to somebody who broke the glass; from 5 to 1440.",
    ),
    Variable(
        "PLEURA_OIDC_ISSUER",
        "none",
        "Single sign-on: the OpenID Connect issuer, the only host that the portal calls. "
        "https and no inner address in production.",
    ),
    Variable("PLEURA_OIDC_CLIENT_ID", "none", "What the issuer calls this portal."),
    Variable(
        "PLEURA_OIDC_CLIENT_SECRET",
        "none",
        "The secret shared with the issuer. Also as PLEURA_OIDC_CLIENT_SECRET_FILE.",
        secret=True,
    ),
    Variable("PLEURA_OIDC_CLAIM", "groups", "The claim of the ID token that names the groups."),
    Variable(
        "PLEURA_OIDC_ROLES",
        "none",
        "Which group is which role, the first that fits: `xray-readers=reader@Radiology; "
        "xray-admins=admin`. Who is in none gets no account.",
    ),
    Variable(
        "PLEURA_OIDC_PROVISION",
        "mapped",
        "mapped: accounts are made by group; invited: only for a verified address that was "
        "invited, with the invitation's role and team.",
    ),
    Variable(
        "PLEURA_LOCAL_SIGN_IN",
        "everybody",
        "everybody, or flagged: only accounts whose link came from the command line sign in by "
        "password, all others by single sign-on.",
    ),
    Variable(
        "PLEURA_TRUSTED_PROXIES",
        "0",
        "How many proxies in front of the portal set X-Forwarded-For and -Proto.",
    ),
    Variable(
        "PLEURA_AUDIT_ANCHOR_FILE",
        "none",
        "Where the sweep appends the end of the access log from time to time; best a file that "
        "this machine can only append to.",
    ),
    Variable(
        "PLEURA_AUDIT_ANCHOR_SYSLOG",
        "none",
        "The same to syslog: a socket such as /dev/log, or host:port by UDP.",
    ),
    Variable("PLEURA_AUDIT_ANCHOR_MINUTES", "60", "How often the access log is anchored."),
    Variable(
        "PLEURA_BACKUP_KEY",
        "none",
        "Seals backups: 32 bytes in base64 (see `python -m portal new-backup-key`), kept apart "
        "from them. Also as PLEURA_BACKUP_KEY_FILE.",
        secret=True,
    ),
    Variable(
        "PLEURA_OUTGOING_HOSTS",
        "none",
        "Hosts that the portal may call, [http:][private:]name[:port], parted by commas; https and "
        "public addresses unless the words say otherwise.",
    ),
    Variable(
        "PLEURA_MODEL_HOSTS",
        "none",
        "Hosts that `model add` may fetch a model from by https, parted by commas; Google Drive is "
        "drive.google.com. Workers need the same, to fetch what was promoted.",
    ),
    Variable("PLEURA_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR."),
    Variable(
        "PLEURA_RETENTION_REVIEWED_DAYS",
        "0",
        "Days after its last review at which a study is purged by the sweep; 0: never.",
    ),
    Variable(
        "PLEURA_RETENTION_UNREVIEWED_DAYS",
        "0",
        "Days after its arrival at which a study that nobody reviewed is purged; 0: never.",
    ),
    Variable(
        "PLEURA_RETENTION_NO_RESULT_DAYS",
        "0",
        "Days after its arrival at which a study without an AI result, not reviewed either, is "
        "purged; 0: never.",
    ),
)


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
    outgoing_hosts: tuple[outgoing.Host, ...] = ()
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
        source = dict(os.environ if environ is None else environ)
        problems: list[str] = []
        env = _env(source, problems)
        data_dir = Path(source.get("PLEURA_DATA_DIR") or "var").absolute()
        makes_up = env != "production" and not problems
        if makes_up:
            _private_folder(data_dir, problems)
        database_url = _value(source, "DATABASE_URL", problems)
        if not database_url:
            database_url = f"sqlite:///{data_dir / 'pleura.db'}"
        ring_command = RingCommand.of(source, problems)
        keys = _Keys(source, data_dir / "keys" if makes_up and not problems else None, problems)
        settings = cls(
            env=env,
            database_url=database_url,
            redis_url=_value(source, "REDIS_URL", problems),
            data_dir=data_dir,
            secret_key=keys.read("PLEURA_SECRET_KEY", "secret_key", secrets.token_urlsafe),
            key_ring=_printed(ring_command, problems)
            if ring_command
            else keys.read("PLEURA_KEY_RING", "key_ring.json", new_key_ring),
            key_ring_file=None if ring_command else keys.path("PLEURA_KEY_RING", "key_ring.json"),
            ring_command=ring_command,
            bucket=_bucket(source, problems),
            worker_token=keys.read("PLEURA_WORKER_TOKEN", "worker_token", secrets.token_urlsafe),
            base_url=(source.get("PLEURA_BASE_URL") or "http://127.0.0.1:8000").rstrip("/"),
            job_seconds=_whole(source, "JOB_SECONDS", 120, 5, 3600, problems),
            max_upload_mb=_whole(source, "PLEURA_MAX_UPLOAD_MB", 64, 1, 1024, problems),
            max_archive_mb=_whole(source, "PLEURA_MAX_ARCHIVE_MB", 256, 1, 4096, problems),
            session_idle_minutes=_whole(
                source, "PLEURA_SESSION_IDLE_MINUTES", 15, 1, 24 * 60, problems
            ),
            session_absolute_hours=_whole(
                source, "PLEURA_SESSION_ABSOLUTE_HOURS", 10, 1, 24 * 7, problems
            ),
            break_glass_minutes=_whole(
                source, "PLEURA_BREAK_GLASS_MINUTES", 60, 5, 24 * 60, problems
            ),
            trusted_proxies=_whole(source, "PLEURA_TRUSTED_PROXIES", 0, 0, 10, problems),
            shared_worker_token=_yes(source, "PLEURA_SHARED_WORKER_TOKEN", problems),
            outgoing_hosts=_outgoing(source, problems),
            model_hosts=_words(source.get("PLEURA_MODEL_HOSTS") or ""),
            log_level=(source.get("PLEURA_LOG_LEVEL") or "INFO").upper(),
            audit_anchor_file=_path(source, "PLEURA_AUDIT_ANCHOR_FILE"),
            audit_anchor_syslog=source.get("PLEURA_AUDIT_ANCHOR_SYSLOG", "").strip(),
            audit_anchor_minutes=_whole(
                source, "PLEURA_AUDIT_ANCHOR_MINUTES", 60, 1, 24 * 60, problems
            ),
            backup_key=_value(source, "PLEURA_BACKUP_KEY", problems),
            retention_reviewed_days=_days(source, "PLEURA_RETENTION_REVIEWED_DAYS", problems),
            retention_unreviewed_days=_days(source, "PLEURA_RETENTION_UNREVIEWED_DAYS", problems),
            retention_no_result_days=_days(source, "PLEURA_RETENTION_NO_RESULT_DAYS", problems),
            sso=sso_settings.read(
                source,
                _value(source, "PLEURA_OIDC_CLIENT_SECRET", problems),
                production=env == "production",
                problems=problems,
            ),
            only_local_flagged=source.get("PLEURA_LOCAL_SIGN_IN") == "flagged",
        )
        if source.get("PLEURA_LOCAL_SIGN_IN") not in (None, "", "everybody", "flagged"):
            problems.append("PLEURA_LOCAL_SIGN_IN must be everybody or flagged.")
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
                with _locked(self.data_dir):
                    self.ring_command.store(change(self.ring_command.read()))
            elif path:
                with _locked(path.parent):
                    _write_private(path, change(path.read_text("utf-8")))
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
        if self.backup_key and not _is_key(self.backup_key):
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
            problem = _weakness(value)
            if problem:
                problems.append(f"{name} {problem}.")
        if not self.key_ring:
            problems.append("PLEURA_KEY_RING is missing (or PLEURA_KEY_RING_FILE).")
        else:
            problem = _ring_weakness(self.key_ring)
            if problem:
                problems.append(f"PLEURA_KEY_RING {problem}.")


def _yes(source: Mapping[str, str], name: str, problems: list[str]) -> bool:
    text = (source.get(name) or "yes").lower()
    if text not in ("yes", "no"):
        problems.append(f"{name} must be yes or no.")
    return text == "yes"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.lower().replace(",", " ").split())


def _outgoing(source: Mapping[str, str], problems: list[str]) -> tuple[outgoing.Host, ...]:
    try:
        return outgoing.hosts(source.get("PLEURA_OUTGOING_HOSTS") or "")
    except ValueError as error:
        problems.append(f"PLEURA_OUTGOING_HOSTS: {error}.")
        return ()


def new_key_ring() -> str:
    """A fresh key ring as JSON.

    `keys` wrap the studies' own keys and can be rotated; `index` is the root of the lookups and
    of the audit chain and stays, because neither could be computed anew.
    """
    key_id, key = new_ring_key()
    return json.dumps({"active": key_id, "keys": {key_id: key}, "index": new_ring_key()[1]})


def new_backup_key() -> str:
    """A fresh key for backups, in base64."""
    return new_ring_key()[1]


def new_ring_key() -> tuple[str, str]:
    """An id and a random key of 32 bytes in base64, for a key ring."""
    return secrets.token_hex(4), base64.b64encode(secrets.token_bytes(32)).decode("ascii")


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


def _bucket(source: Mapping[str, str], problems: list[str]) -> Bucket | None:
    address = source.get("PLEURA_BUCKET", "").strip()
    secret = _value(source, "PLEURA_BUCKET_SECRET", problems)
    if not address:
        return None
    found = _BUCKET.fullmatch(address)
    key_id = source.get("PLEURA_BUCKET_KEY_ID", "").strip()
    endpoint = source.get("PLEURA_BUCKET_ENDPOINT", "").strip()
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
        region=source.get("PLEURA_BUCKET_REGION", "").strip() or "us-east-1",
        key_id=key_id,
        secret=secret,
    )


class _Keys:
    """Reads secrets from NAME, NAME_FILE or, where allowed, from a folder of made-up ones."""

    def __init__(self, source: Mapping[str, str], folder: Path | None, problems: list[str]) -> None:
        self.source = source
        self.folder = folder
        self.problems = problems
        if folder is not None:
            _private_folder(folder, problems)

    def read(self, name: str, file_name: str, make: Callable[[], str]) -> str:
        """The secret's text; made and kept once in development."""
        given = _value(self.source, name, self.problems)
        if given or self.folder is None or self.problems:
            return given
        path = self.folder / file_name
        try:
            if not path.exists():
                with contextlib.suppress(FileExistsError):  # another process was first
                    _write_private(path, make(), new=True)
            return path.read_text("utf-8").strip()
        except OSError as error:
            self.problems.append(f"{name}: {path} can't be used ({error.strerror}).")
            return ""

    def path(self, name: str, file_name: str) -> Path | None:
        """Where the secret can be written anew; None where it came as a value."""
        if self.source.get(name):
            return None
        if self.source.get(f"{name}_FILE"):
            return Path(self.source[f"{name}_FILE"]).absolute()
        return self.folder / file_name if self.folder is not None else None


def _env(source: Mapping[str, str], problems: list[str]) -> Env:
    value = source.get("PLEURA_ENV") or "development"
    if value == "development":
        return "development"
    if value == "test":
        return "test"
    if value != "production":
        problems.append("PLEURA_ENV must be development, production or test.")
    return "production"


def _value(source: Mapping[str, str], name: str, problems: list[str]) -> str:
    value, path = source.get(name, ""), source.get(f"{name}_FILE", "")
    if value and path:
        problems.append(f"Give {name} or {name}_FILE, not both.")
        return ""
    if not path:
        return value.strip()
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        problems.append(f"{name}_FILE can't be read: {reason}.")
        return ""


def _whole(
    source: Mapping[str, str], name: str, default: int, low: int, high: int, problems: list[str]
) -> int:
    text = source.get(name) or str(default)
    value = int(text) if text.isascii() and text.isdecimal() else -1
    if not low <= value <= high:
        problems.append(f"{name} must be a whole number from {low} to {high}.")
        return default
    return value


def _path(source: Mapping[str, str], name: str) -> Path | None:
    text = source.get(name, "").strip()
    return Path(text).absolute() if text else None


def _days(source: Mapping[str, str], name: str, problems: list[str]) -> int:
    return _whole(source, name, 0, 0, 100 * 366, problems)


def _weakness(value: str) -> str | None:
    if not value:
        return "is missing"
    if len(value) < 32:
        return "must have at least 32 characters"
    if len(set(value)) < 10 or any(word in value.lower() for word in _SAMPLE_WORDS):
        return "looks like a sample; make one with `openssl rand -base64 33`"
    return None


def _ring_weakness(ring: str) -> str | None:
    try:
        parsed = json.loads(ring)
        keys = [base64.b64decode(key, validate=True) for key in parsed["keys"].values()]
        keys.append(base64.b64decode(parsed["index"], validate=True))
        active = parsed["active"] in parsed["keys"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "is not a key ring; make one with `python -m portal new-key-ring`"
    if not active:
        return "has no active key"
    if any(len(key) != 32 for key in keys):
        return "has a key that is not 32 bytes long"
    if any(len(set(key)) < 12 for key in keys):
        return "has a sample key"
    return None


def _is_key(text: str) -> bool:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return len(key) == 32 and len(set(key)) >= 12


def _private_folder(path: Path, problems: list[str]) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        problems.append(f"The folder {path} can't be made ({error.strerror}).")


def _write_private(path: Path, text: str, *, new: bool = False) -> None:
    """Write a file that only its owner reads, whole or not at all; `new` never replaces one."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    if new:
        try:
            path.hardlink_to(temporary)
        finally:
            temporary.unlink()
    else:
        temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)  # what is sealed under a new key must not outlive the key
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the folder's, because the file in it is replaced meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
