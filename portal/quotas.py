"""Quotas: how much one person, one address and one HL7 node may send, export or ask for in a time.

Each is a bucket that empties steadily: the whole quota at once, and then as much as has emptied
since. The buckets are in Redis, so that all processes of the portal share them; while Redis does
not answer each process counts for itself. Nothing of who it is stands there but a digest.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, Final

from redis.exceptions import RedisError

from portal.accounts.throttle import Throttled, origin
from portal.languages import lazy
from portal.settings import Settings

_HOUR: Final = 3600
_MINUTE: Final = 60
_MOST_COUNTED = 20_000  # buckets in this process while Redis is down


@dataclass(frozen=True, slots=True)
class Quota:
    """`amount` within `seconds` for one person; no limit where it is 0. `text` is for a person."""

    name: str
    amount: int
    seconds: int
    text: str


class QuotaReached(Throttled):
    """More than the quota. `seconds` is how long to wait until this would be accepted."""

    def __init__(self, quota: Quota, seconds: float) -> None:
        super().__init__(seconds)
        self.text = quota.text


# A bucket is the moment at which it will be empty. One atomic step for all buckets of a request:
# what is refused is counted nowhere. KEYS: buckets. ARGV: now, then for each seconds a unit takes,
# how many units, and how many seconds the bucket holds.
_TAKE: Final = """
local now, ends = tonumber(ARGV[1]), {}
for i, key in ipairs(KEYS) do
  local unit, units, size = tonumber(ARGV[i*3-1]), tonumber(ARGV[i*3]), tonumber(ARGV[i*3+1])
  local empty = tonumber(redis.call('GET', key) or '0') or 0
  if empty < now or empty > now + size then empty = now end
  ends[i] = empty + unit * units
  local over = ends[i] - now - size
  if over > 0.000001 then return {i, tostring(over)} end
end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.6f', ends[i]), 'EX', math.ceil(ends[i] - now) + 1)
end
return {0, '0'}
"""


@dataclass(frozen=True, slots=True)
class _Bucket:
    quota: Quota
    key: str
    unit: float  # seconds in which one unit leaves the bucket
    units: int
    size: float  # seconds after which a full bucket is empty


class Quotas:
    """Counts what was used. `redis` is a redis-py client, or None to count in this process."""

    def __init__(self, settings: Settings, redis: Any | None = None) -> None:
        self._addresses = settings.quota_addresses
        self._files = Quota(
            "files",
            settings.uploads_per_hour,
            _HOUR,
            lazy("More files were sent within an hour than are accepted."),
        )
        self._kilobytes = Quota(
            "kilobytes",
            settings.upload_mb_per_hour * 1024,
            _HOUR,
            lazy("More was sent within an hour than is accepted."),
        )
        self._exports = Quota(
            "exports",
            settings.exports_per_hour,
            _HOUR,
            lazy("More was exported within an hour than is allowed."),
        )
        self._calls = Quota(
            "calls",
            settings.api_calls_per_minute,
            _MINUTE,
            lazy("More calls came within a minute than are accepted."),
        )
        self._messages = Quota(
            "hl7",
            settings.hl7.messages_per_hour if settings.hl7 else 0,
            _HOUR,
            "",  # a sender's answer has a code
        )
        self._script = redis.register_script(_TAKE) if redis is not None else None
        self._empty: dict[str, float] = {}
        self._lock = Lock()

    def upload(self, size: int, person: str, address: str, now: datetime) -> None:
        """Count a file of `size` bytes (0: of a ZIP that was counted); QuotaReached."""
        uses = [(self._files, 1), (self._kilobytes, -(-size // 1024))]
        self._count(uses, person, address, now)

    def export(self, person: str, address: str, now: datetime) -> None:
        """Count an export, the list of what it would hold or an overlay; QuotaReached."""
        self._count([(self._exports, 1)], person, address, now)

    def call(self, person: str, address: str, now: datetime) -> None:
        """Count a program's call; QuotaReached."""
        self._count([(self._calls, 1)], person, address, now)

    def message(self, node: str, now: datetime) -> None:
        """Count an HL7 message of a node, wherever it comes from: one address may be that of all of
        a hospital's systems; QuotaReached.
        """
        amount = self._messages.amount
        if amount:
            bucket = _bucket(self._messages, f"node {node}", 1, amount)
            first, over = self._take([bucket], now.timestamp())
            if first:
                raise QuotaReached(self._messages, over)

    def _count(
        self, uses: list[tuple[Quota, int]], person: str, address: str, now: datetime
    ) -> None:
        """Count for the person and the address, or, where one is used up, for nobody.

        What is larger than a whole quota is accepted where nothing was used before, so that no
        setting refuses a single file for good.
        """
        buckets = [
            _bucket(quota, who, units, quota.amount * times)
            for quota, units in uses
            if quota.amount and units
            for who, times in ((f"person {person}", 1), (f"at {origin(address)}", self._addresses))
        ]
        if not buckets:
            return
        first, over = self._take(buckets, now.timestamp())
        if first:
            raise QuotaReached(buckets[first - 1].quota, over)

    def _take(self, buckets: list[_Bucket], now: float) -> tuple[int, float]:
        if self._script is not None:
            numbers = [n for b in buckets for n in (b.unit, b.units, b.size)]
            try:
                first, over = self._script(keys=[b.key for b in buckets], args=[now, *numbers])
                return int(first), float(over)
            except (RedisError, ValueError, TypeError):
                pass  # count here instead: the portal must not depend on Redis
        with self._lock:
            return self._take_here(buckets, now)

    def _take_here(self, buckets: list[_Bucket], now: float) -> tuple[int, float]:
        if len(self._empty) > _MOST_COUNTED:
            self._empty = {key: at for key, at in self._empty.items() if at > now}
        ends = list[float]()
        for number, bucket in enumerate(buckets, 1):
            empty = self._empty.get(bucket.key, 0.0)
            if not now <= empty <= now + bucket.size:
                empty = now
            ends.append(empty + bucket.unit * bucket.units)
            over = ends[-1] - now - bucket.size
            if over > 1e-6:
                return number, over
        for bucket, end in zip(buckets, ends, strict=True):
            self._empty[bucket.key] = end
        return 0, 0.0


def _bucket(quota: Quota, who: str, units: int, amount: int) -> _Bucket:
    digest = hashlib.sha256(who.encode("utf-8", "surrogatepass")).hexdigest()
    key = f"pleura:quota:{quota.name}:{digest[:32]}"
    return _Bucket(quota, key, quota.seconds / amount, min(units, amount), quota.seconds)
