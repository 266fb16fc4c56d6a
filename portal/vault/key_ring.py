"""The key ring: which keys wrap data keys, and how keys are added and removed."""

import base64
import binascii
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from portal.settings import Settings
from portal.settings.secret_files import new_ring_key
from portal.vault.blob_store import VaultError

# Whatever wraps a key has committed or failed by then.
SETTLED: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Keys that have left the ring, and unused ones that were retired too short a time ago."""

    gone: list[str]
    waiting: list[str]


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys that wrap data keys, by id, and the key of lookups. Every key has 32 bytes."""

    active: str
    keys: dict[str, bytes]
    index: bytes

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """The ring from its JSON; VaultError where it cannot be used."""
        try:
            parsed = json.loads(text)
            keys = {
                str(key_id): base64.b64decode(key, validate=True)
                for key_id, key in parsed["keys"].items()
            }
            _check_times(parsed.get("retired_at", {}), keys)
            ring = cls(str(parsed["active"]), keys, base64.b64decode(parsed["index"]))
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise VaultError("the key ring can't be read") from error
        if ring.active not in keys or any(len(k) != 32 for k in (*keys.values(), ring.index)):
            raise VaultError("the key ring has no active key of 32 bytes")
        return ring


def add_key(settings: Settings, now: datetime) -> str:
    """Add a key to the stored ring and make it the active one; returns its id."""
    key_id, key = new_ring_key()

    def add(ring: dict[str, Any]) -> None:
        _note_retired(ring, now)
        ring["retired_at"][ring["active"]] = now.isoformat()
        ring["keys"][key_id] = key
        ring["active"] = key_id

    _change(settings, add)
    return key_id


def drop_keys(settings: Settings, in_use: set[str], now: datetime) -> Dropped:
    """Remove the keys of the stored ring that are not in use and were retired an hour ago."""
    gone, waiting = list[str](), list[str]()

    def drop(ring: dict[str, Any]) -> None:
        _note_retired(ring, now)
        for key in set(ring["keys"]) - in_use - {ring["active"]}:
            retired = datetime.fromisoformat(ring["retired_at"][key])
            if retired > now - SETTLED:
                waiting.append(key)
                continue
            gone.append(key)
            del ring["keys"][key], ring["retired_at"][key]

    _change(settings, drop)
    return Dropped(sorted(gone), sorted(waiting))


def _change(settings: Settings, change: Callable[[dict[str, Any]], None]) -> None:
    def changed(text: str) -> str:
        KeyRing.parse(text)
        ring = json.loads(text)
        change(ring)
        new = json.dumps(ring)
        KeyRing.parse(new)
        return new

    settings.change_key_ring(changed)


def _note_retired(ring: dict[str, Any], now: datetime) -> None:
    """Note the time at which keys were retired where a ring of an older version lacks it."""
    known = ring.setdefault("retired_at", {})
    for key in set(ring["keys"]) - {ring["active"]}:
        known.setdefault(key, now.isoformat())


def _check_times(retired_at: dict[str, str], keys: Collection[str]) -> None:
    """ValueError unless the times are full ones, of keys that are there."""
    for key, text in retired_at.items():
        if key not in keys or datetime.fromisoformat(text).tzinfo is None:
            raise ValueError
