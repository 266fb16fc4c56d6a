"""What a process of the portal needs, opened once and handed to the views."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy.exc import DatabaseError, DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from portal.accounts.openid_connect import Provider
from portal.accounts.throttle import Throttle
from portal.jobs.broker import Broker
from portal.models import db
from portal.quotas import Quotas
from portal.reading.shown_results import Shown
from portal.settings import Settings
from portal.vault import NotReadable, StorageFull, StorageUnavailable, Vault

# Raised when the database, Redis or the storage is down or busy: the answer is 503, try again.
UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeout, RedisError, StorageUnavailable)
# Raised by the database for a value that no column can hold, such as a text with a NUL.
INVALID_VALUE = DataError
# Raised by the database for everything else, where `database.is_damage` for a damaged page or row.
DATABASE_ERROR = DatabaseError
# Raised by the vault when the disk is full; nothing was left behind.
DISK_FULL = StorageFull
# Raised by it when a stored file is damaged, missing or not the one that the record names.
DAMAGED = NotReadable


@dataclass(frozen=True, slots=True)
class Services:
    """What the views call: settings, vault, broker, Redis (or none), limits, clock and caches."""

    settings: Settings
    vault: Vault
    broker: Broker
    redis: Any | None
    throttle: Throttle
    quotas: Quotas
    provider: Provider
    clock: Callable[[], datetime]
    shown: Shown = field(default_factory=Shown)

    @classmethod
    def open(cls, settings: Settings, clock: Callable[[], datetime] | None = None) -> "Services":
        """Open the vault and point a client at Redis; neither is called yet."""
        client = redis_client(settings.redis_url, settings.redis_tls)
        broker = Broker(settings.redis_url, settings.visibility_seconds, settings.redis_tls)
        return cls(
            settings=settings,
            vault=Vault(settings),
            broker=broker,
            redis=client,
            throttle=Throttle(client),
            quotas=Quotas(settings, client),
            provider=Provider(),
            clock=clock or _utc_now,
        )

    def redis_answers(self) -> bool:
        """Whether Redis is there just now."""
        try:
            return self.redis is not None and bool(self.redis.ping())
        except RedisError:
            return False


def db_session() -> Session:
    """The running request's database session, for views to pass on."""
    return db.session()


def redis_client(url: str, tls: Mapping[str, Any] | None = None) -> Any | None:
    """A client that gives up within half a second and does not try again; None without an address.

    Celery's `redis+socket://` is what redis-py calls `unix://`. `tls`: `Settings.redis_tls`.
    """
    if not url:
        return None
    if url.startswith("redis+socket://"):
        parts = urlsplit(url)
        secret = f":{quote(parts.password)}@" if parts.password else ""
        url = f"unix://{secret}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    return redis.Redis.from_url(
        url,
        socket_timeout=0.5,
        socket_connect_timeout=0.5,
        retry=Retry(NoBackoff(), 0),
        **(tls or {}),
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)
