"""The reference of the portal's settings: every environment variable, its default and meaning."""

from dataclasses import dataclass
from typing import Final


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
        "Hosts that the portal may call beside those that other settings name (nothing of this "
        "version does): [http:][private:]name[:port], parted by commas; https and public addresses "
        "unless the words say otherwise.",
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
