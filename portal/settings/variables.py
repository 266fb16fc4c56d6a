"""Every variable of the portal: its type, default, bounds and meaning."""

import re
import shlex
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

from portal.settings import allowed_hosts, secret_files
from portal.settings.bucket import Bucket
from portal.settings.declaration import MODEL, Names, OptionalPath, WholeNumber, YesOrNo, variable
from portal.settings.network.dicom import Dicom
from portal.settings.network.hl7 import Hl7
from portal.settings.notifications import Smtp, Webhook
from portal.settings.single_sign_on import SingleSignOn
from worker.contract.clock import JOB_SECONDS, JOB_SECONDS_MAX, JOB_SECONDS_MIN, JobClock

_SYSLOG: Final = re.compile(r"/[^\s]+|[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.\[\]:-]{1,255}")
_ANY: Final = 10**9
_CENTURY: Final = 100 * 366  # days


def _syslog(text: str) -> str:
    if text and not _SYSLOG.fullmatch(text):
        raise ValueError("must be a path or host:port")
    return text


def _backup_key(text: str) -> str:
    if text and not secret_files.is_key(text):
        raise ValueError(
            "must be 32 random bytes in base64; make one with `python -m portal new-backup-key`"
        )
    return text


def _hosts(value: object) -> object:
    return allowed_hosts.parse(value) if isinstance(value, str) else value


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(_ORIGIN.fullmatch, origins)):
        raise ValueError("must be origins: https://name[:port], without a path")
    return origins


def _command(value: object) -> object:
    try:
        return tuple(shlex.split(value)) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"is not a command: {str(error).lower()}") from None


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Command = Annotated[tuple[str, ...], BeforeValidator(_command)]


class Variables(JobClock, BaseSettings):
    """The settings as they are given; `portal.settings.Settings` reads and completes them."""

    model_config: ClassVar[SettingsConfigDict] = MODEL

    env: Literal["development", "production", "test"] = variable(
        "PLEURA_ENV", "development", "development, production or test."
    )
    data_dir: Annotated[Path, AfterValidator(Path.absolute)] = variable(
        "PLEURA_DATA_DIR",
        Path("var"),
        "Folder of the encrypted files (and, in development, of keys and SQLite).",
    )
    database_url: str = variable(
        "DATABASE_URL",
        lambda before: f"sqlite:///{before['data_dir'] / 'pleura.db'}",
        "SQLAlchemy address of the database; production needs PostgreSQL "
        "(postgresql+psycopg://user:password@host/name).",
        secret=True,
        default_text="sqlite in the data folder",
    )
    redis_url: str = variable(
        "REDIS_URL",
        "",
        "Redis, which notifies workers of new jobs: redis://, rediss:// or "
        "redis+socket://:password@/path/to/socket. Without it workers ask for jobs every three "
        "seconds.",
        secret=True,
    )
    tls_ca_file: OptionalPath = variable(
        "PLEURA_TLS_CA_FILE",
        None,
        "The certificates (PEM) of the authorities whose signature PostgreSQL and Redis need on "
        "theirs; the host's name is checked too. Needed for rediss:// and, in production, for "
        "PostgreSQL on another host.",
    )
    ca_file: OptionalPath = variable(
        "PLEURA_CA_FILE",
        None,
        "The certificates (PEM) of the authorities whose signature the single sign-on's issuer, "
        "the bucket's server and model hosts need on theirs, in place of the system's list: for a "
        "hospital with an authority of its own.",
    )
    plain_hosts: Names = variable(
        "PLEURA_PLAIN_HOSTS",
        (),
        "Hosts at which production may reach PostgreSQL and Redis without TLS, separated by "
        "commas: only in a network that nobody else reads. This machine needs no mention.",
    )
    statement_seconds: WholeNumber = variable(
        "PLEURA_STATEMENT_SECONDS",
        30,
        "How long a statement of a request may take on PostgreSQL, in seconds, waits for others "
        "included; 5 seconds more where the server does not answer at all. Commands "
        "and clearing after a purge have no such limit, the scheduler has five minutes.",
        ge=5,
        le=600,
    )
    bucket: Bucket | None = None
    secret_key: str = variable(
        "PLEURA_SECRET_KEY",
        "",
        "Signs sessions, forms and job tickets; at least 32 characters.",
        secret=True,
        default_text="made once in development",
    )
    key_ring: str = variable(
        "PLEURA_KEY_RING",
        "",
        "The vault's key ring as JSON (see `python -m portal new-key-ring`). rotate-keys needs it "
        "in a file or from PLEURA_KEY_RING_COMMAND.",
        secret=True,
        default_text="made once in development",
    )
    key_ring_file: OptionalPath = variable("PLEURA_KEY_RING_FILE", None, "")
    key_ring_command: Command = variable(
        "PLEURA_KEY_RING_COMMAND",
        (),
        "A command that prints the key ring, for example a key management service's client. Run "
        "without a shell, within 30 seconds; its output is never logged.",
    )
    key_ring_store_command: Command = variable(
        "PLEURA_KEY_RING_STORE_COMMAND",
        (),
        "A command that stores the changed key ring, which it reads from its standard input: "
        "rotate-keys needs it beside PLEURA_KEY_RING_COMMAND.",
    )
    worker_token: str = variable(
        "PLEURA_WORKER_TOKEN",
        "",
        "The token that workers authenticate with; at least 32 characters.",
        secret=True,
        default_text="made once in development",
    )
    shared_worker_token: YesOrNo = variable(
        "PLEURA_SHARED_WORKER_TOKEN",
        True,
        "Whether PLEURA_WORKER_TOKEN is accepted: no where each worker has a token of its own "
        "(`python -m portal worker-token`).",
    )
    base_url: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] = variable(
        "PLEURA_BASE_URL",
        "http://127.0.0.1:8000",
        "Where people reach the portal; links in invitations start with it, and passkeys belong to "
        "its host name. https in production.",
    )
    job_seconds: WholeNumber = variable(
        "JOB_SECONDS",
        JOB_SECONDS,
        "How long a job may take. Soft limit 1.0, hard limit 1.25 and Redis visibility timeout 3 "
        "times this.",
        ge=JOB_SECONDS_MIN,
        le=JOB_SECONDS_MAX,
    )
    max_upload_mb: WholeNumber = variable(
        "PLEURA_MAX_UPLOAD_MB", 64, "Largest accepted file, in MiB.", ge=1, le=1024
    )
    max_archive_mb: WholeNumber = variable(
        "PLEURA_MAX_ARCHIVE_MB",
        256,
        "Largest accepted ZIP, in MiB. It is held in memory while it is taken in.",
        ge=1,
        le=4096,
    )
    max_header_mb: WholeNumber = variable(
        "PLEURA_MAX_HEADER_MB",
        16,
        "Largest accepted DICOM header, everything before the pixels, in MiB.",
        ge=1,
        le=256,
    )
    uploads_per_hour: WholeNumber = variable(
        "PLEURA_UPLOADS_PER_HOUR",
        10_000,
        "Files that one person may send in an hour, those of a ZIP counted one by one; 0: any "
        "number.",
        ge=0,
        le=_ANY,
    )
    upload_mb_per_hour: WholeNumber = variable(
        "PLEURA_UPLOAD_MB_PER_HOUR",
        100 * 1024,
        "MiB that one person may send in an hour; 0: any number.",
        ge=0,
        le=_ANY,
    )
    exports_per_hour: WholeNumber = variable(
        "PLEURA_EXPORTS_PER_HOUR",
        600,
        "Exports, pages that list what one would hold, and overlays, for one person in an hour; 0: "
        "any number.",
        ge=0,
        le=_ANY,
    )
    api_calls_per_minute: WholeNumber = variable(
        "PLEURA_API_CALLS_PER_MINUTE",
        3000,
        "Calls of the API in a minute with the tokens of one person; 0: any number.",
        ge=0,
        le=_ANY,
    )
    quota_addresses: WholeNumber = variable(
        "PLEURA_QUOTA_ADDRESSES",
        5,
        "How many times the quotas of one person (the four variables above) one address may use: "
        "a department may share one.",
        ge=1,
        le=1000,
    )
    old_exam_hours: WholeNumber = variable(
        "PLEURA_OLD_EXAM_HOURS",
        24,
        "An exam that was taken longer ago than this when it arrives waits behind others and is no "
        "alarm; by the local time of this machine (`TZ`).",
        ge=1,
        le=_ANY,
    )
    session_idle_minutes: WholeNumber = variable(
        "PLEURA_SESSION_IDLE_MINUTES",
        15,
        "A session ends after this long without activity.",
        ge=1,
        le=24 * 60,
    )
    session_absolute_hours: WholeNumber = variable(
        "PLEURA_SESSION_ABSOLUTE_HOURS", 10, "A session ends after this in any case.", ge=1, le=168
    )
    break_glass_minutes: WholeNumber = variable(
        "PLEURA_BREAK_GLASS_MINUTES",
        60,
        "How long emergency access to a case lasts; from 5 to 1440.",
        ge=5,
        le=24 * 60,
    )
    sso: SingleSignOn | None = None
    local_sign_in: Literal["everybody", "flagged"] = variable(
        "PLEURA_LOCAL_SIGN_IN",
        "everybody",
        "everybody, or flagged: only accounts whose link came from the command line sign in by "
        "password, all others by single sign-on.",
    )
    trusted_proxies: WholeNumber = variable(
        "PLEURA_TRUSTED_PROXIES",
        0,
        "How many proxies in front of the portal set X-Forwarded-For and -Proto. "
        "X-Forwarded-Host is never read.",
        ge=0,
        le=10,
    )
    connections_per_address: WholeNumber = variable(
        "PLEURA_CONNECTIONS_PER_ADDRESS",
        300,
        "How many connections one client address (of IPv6, a network of 64 bits) may have to a "
        "process of the portal; behind proxies (PLEURA_TRUSTED_PROXIES) how many requests at the "
        "same time.",
        ge=20,
        le=2000,
    )
    dicomweb_origins: Annotated[Names, AfterValidator(_origins)] = variable(
        "PLEURA_DICOMWEB_ORIGINS",
        (),
        "Origins (https://viewer.example) of viewers whose pages may ask /dicomweb with their "
        "user's token, separated by commas. None: no page of another origin may.",
    )
    audit_anchor_file: OptionalPath = variable(
        "PLEURA_AUDIT_ANCHOR_FILE",
        None,
        "Where the sweep appends the end of the access log from time to time, outside of the "
        "database's folder; best a file that this machine can only append to.",
        default_text="a file in a folder beside the data folder",
    )
    audit_anchor_syslog: Annotated[str, AfterValidator(_syslog)] = variable(
        "PLEURA_AUDIT_ANCHOR_SYSLOG",
        "",
        "The same to syslog: a socket such as /dev/log, or host:port by UDP.",
    )
    audit_anchor_minutes: WholeNumber = variable(
        "PLEURA_AUDIT_ANCHOR_MINUTES", 60, "How often the access log is anchored.", ge=1, le=1440
    )
    backup_key: Annotated[str, AfterValidator(_backup_key)] = variable(
        "PLEURA_BACKUP_KEY",
        "",
        "Encrypts backups: 32 bytes in base64 (see `python -m portal new-backup-key`), stored "
        "apart from them.",
        secret=True,
    )
    outgoing_hosts: Annotated[tuple[allowed_hosts.Host, ...], BeforeValidator(_hosts)] = variable(
        "PLEURA_OUTGOING_HOSTS",
        (),
        "Hosts that the portal may call beside those that other settings name: the mail server and "
        "the webhook's host. `[http:][private:]name[:port]`, separated by commas; https and public "
        "addresses unless marked otherwise.",
    )
    smtp: Smtp | None = None
    webhook: Webhook | None = None
    dicom: Dicom | None = None
    hl7: Hl7 | None = None
    dicom_free_mb: WholeNumber = variable(
        "PLEURA_DICOM_FREE_MB",
        1024,
        "With less free in the data folder, in MiB, what comes by DICOM or DICOMweb is refused as "
        "out of resources (A700, 503); 0: only a full disk refuses it. Of a bucket nothing is "
        "known.",
        ge=0,
        le=10**9,
    )
    dicom_proof_seconds: WholeNumber = variable(
        "PLEURA_DICOM_PROOF_SECONDS",
        120,
        "How long `python -m portal dicom-sender` waits for a node's report of storage commitment "
        "before it asks by C-FIND whether an object is there.",
        ge=1,
        le=86400,
    )
    model_hosts: Names = variable(
        "PLEURA_MODEL_HOSTS",
        (),
        "Hosts that `model add` may fetch a model from by https, separated by commas; Google Drive "
        "is drive.usercontent.google.com. Workers need the same, to fetch what was promoted.",
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = (
        variable("PLEURA_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR.")
    )
    retention_reviewed_days: WholeNumber = variable(
        "PLEURA_RETENTION_REVIEWED_DAYS",
        0,
        "Days after its last review at which a study is purged by the sweep; 0: never.",
        ge=0,
        le=_CENTURY,
    )
    retention_unreviewed_days: WholeNumber = variable(
        "PLEURA_RETENTION_UNREVIEWED_DAYS",
        0,
        "Days after its arrival at which a study without a review is purged; 0: never.",
        ge=0,
        le=_CENTURY,
    )
    retention_no_result_days: WholeNumber = variable(
        "PLEURA_RETENTION_NO_RESULT_DAYS",
        0,
        "Days after its arrival at which a study without an AI result, not reviewed either, is "
        "purged; 0: never.",
        ge=0,
        le=_CENTURY,
    )
