"""Throttle: how often sign-in may be tried, by account and by address.

The tight limit is for one account from one address, so that whoever knows an e-mail address spends
their own tries and not its owner's. A wider one is for an account from everywhere; people who come
from where they have signed in before are not held up by it. A browser in which a person has signed
in before is counted for itself (`device_cookies`), so that nobody else uses up its tries.

The counts live in Redis, so that all processes of the portal share them; while Redis does not
answer, or what lies there can be no count, each process counts for itself. Nobody is ever locked
out for good, not by a writer in Redis either: each time a limit is passed the pause doubles, up to
a quarter of an hour, and an hour without tries ends it.
"""

import hashlib
import ipaddress
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any

from redis.exceptions import RedisError

WINDOW_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 900.0
_FORGET_SECONDS = 3600
_MOST_KEPT = 20_000  # keys counted in this process while Redis is down


@dataclass(frozen=True)
class Limit:
    """At most `tries` for one key within `WINDOW_SECONDS`."""

    name: str
    tries: int


ACCOUNT = Limit("account", 5)  # one account from one address, see `at`
EVERYWHERE = Limit("everywhere", 60)  # one account, from all addresses together
STEP_UP = Limit("step-up", 5)  # one login session that proves again who it is
CODE = Limit("code", 5)  # one person's second factor, tried from one address
CODE_EVERYWHERE = Limit("code-everywhere", 15)  # the same, from all unknown addresses together
LEAVE = Limit("leave", 40)  # one address on its way to the single sign-on issuer
LEAVE_BROWSER = Limit("leave-browser", 10)  # a browser in which a person has signed in before
BACK_BROWSER = Limit("back-browser", 10)  # the same on its way back
LINK = Limit("link", 5)  # passwords that are tried for one link to join
DEVICE = Limit("device", 5)  # one person in a browser of their own, see `device_cookies`
DEVICE_CODE = Limit("device-code", 5)  # the same for the second factor
BREAK_GLASS = Limit("glass", 5)  # one person who opens cases that are not theirs
BAD_TOKEN = Limit("token", 40)
ADDRESS = Limit("address", 40)  # a whole department may share one address


def origin(address: str) -> str:
    """What counts as one address: of IPv6 the network of 64 bits, which is one customer's."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(found) >> 64 << 64)) + "/64"


def at(account: str, address: str) -> str:
    """Whom the limit `ACCOUNT` counts: this account, tried from this address."""
    return f"{account} {origin(address)}"


class Throttled(Exception):
    """Too many tries. `seconds` is how long to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds:.0f} s")
        self.seconds = max(1, round(seconds + 0.5))


# One atomic step on the server: two processes that try at once are both counted.
# KEYS: tries (sorted set), state (hash). ARGV: now, limit, window, longest pause, forget, member.
_TAKE = """
local now, limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local pause_until = tonumber(redis.call('HGET', KEYS[2], 'until') or '0')
-- Longer than any pause, even by a clock that differs by a minute: it was not set here.
if pause_until > now + tonumber(ARGV[4]) + window then
  redis.call('DEL', KEYS[2])
  pause_until = 0
end
if now < pause_until then return tostring(pause_until - now) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if redis.call('ZCARD', KEYS[1]) >= limit then
  local strikes = redis.call('HINCRBY', KEYS[2], 'strikes', 1)
  local pause = math.min(tonumber(ARGV[4]), window * 2 ^ (strikes - 1))
  redis.call('HSET', KEYS[2], 'until', string.format('%.3f', now + pause))
  redis.call('EXPIRE', KEYS[2], ARGV[5])
  redis.call('DEL', KEYS[1])
  return tostring(pause)
end
redis.call('ZADD', KEYS[1], now, ARGV[6])
redis.call('EXPIRE', KEYS[1], math.ceil(window))
return '0'
"""


@dataclass
class _Counter:
    tries: deque[float] = field(default_factory=deque)
    strikes: int = 0
    pause_until: float = 0.0
    last: float = 0.0


class Throttle:
    """Counts tries. `redis` is a redis-py client, or None to count in this process alone."""

    def __init__(self, redis: Any | None = None) -> None:
        self._redis = redis
        self._script = redis.register_script(_TAKE) if redis is not None else None
        self._counters: dict[str, _Counter] = {}
        self._lock = Lock()

    def take(self, tries: Sequence[tuple[Limit, str]], now: datetime) -> None:
        """Count one try against each (limit, who), before it is known whether it succeeds.

        Raises `Throttled` at the first that is spent; those behind it are not counted, so that who
        is refused for their own tries does not use up what is shared with others. A refused try
        is not counted again, so hammering does not lengthen the pause.
        """
        for limit, who in tries:
            pause = self._take_one(limit, _key(limit, who), now)
            if pause > 0:
                raise Throttled(pause)

    def forgive(self, limit: Limit, who: str) -> None:
        """Drop the tries of a person who has just succeeded."""
        key = _key(limit, who)
        with self._lock:
            self._counters.pop(key, None)
        if self._redis is not None:
            try:
                self._redis.delete(f"{key}:tries", f"{key}:state")
            except RedisError:
                return  # the count in Redis runs out by itself

    def _take_one(self, limit: Limit, key: str, now: datetime) -> float:
        moment = now.timestamp()
        if self._script is not None:
            try:
                answer = self._script(
                    keys=[f"{key}:tries", f"{key}:state"],
                    args=[
                        f"{moment:.3f}",
                        limit.tries,
                        WINDOW_SECONDS,
                        LONGEST_PAUSE_SECONDS,
                        _FORGET_SECONDS,
                        secrets.token_hex(8),
                    ],
                )
                pause = float(answer)
                # NaN fails both comparisons; any other value was not written by this throttle.
                if 0 <= pause <= LONGEST_PAUSE_SECONDS + WINDOW_SECONDS:
                    return min(pause, LONGEST_PAUSE_SECONDS)
            except (RedisError, ValueError, TypeError):
                pass  # count here instead: sign-in must not depend on Redis
        with self._lock:
            return self._take_here(limit, key, moment)

    def _take_here(self, limit: Limit, key: str, moment: float) -> float:
        if len(self._counters) > _MOST_KEPT:
            self._counters = {
                k: c
                for k, c in self._counters.items()
                if moment - c.last < WINDOW_SECONDS or moment < c.pause_until
            }
        counter = self._counters.setdefault(key, _Counter())
        if moment < counter.pause_until:
            return counter.pause_until - moment
        if moment - counter.last > _FORGET_SECONDS:
            counter.strikes = 0
        counter.last = moment
        while counter.tries and counter.tries[0] <= moment - WINDOW_SECONDS:
            counter.tries.popleft()
        if len(counter.tries) >= limit.tries:
            counter.strikes += 1
            pause = min(LONGEST_PAUSE_SECONDS, WINDOW_SECONDS * 2.0 ** (counter.strikes - 1))
            counter.pause_until = moment + pause
            counter.tries.clear()
            return pause
        counter.tries.append(moment)
        return 0.0


def _key(limit: Limit, who: str) -> str:
    """A digest, so that Redis holds no name or address."""
    digest = hashlib.sha256(who.strip().casefold().encode("utf-8", "surrogatepass")).hexdigest()
    return f"pleura:tries:{limit.name}:{digest[:32]}"
