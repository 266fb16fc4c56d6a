"""The vault: keys, sealed values and encrypted files. Nothing leaves memory unsealed.

The only module that imports `cryptography`; files lie in its `storage`. AES-256-GCM
with random nonces throughout. Every study has its own data key, wrapped by a key of the ring;
the additional data name the place where a sealed thing belongs, so that one that was moved or
swapped does not open. Rotation re-wraps keys and leaves files alone.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portal.models import BlobKind
from portal.settings import Settings
from portal.settings.secret_files import new_ring_key
from portal.vault.blob_store import NAME, BucketStorage, FolderStorage, Storage
from portal.vault.blob_store import NotReadable as NotReadable
from portal.vault.blob_store import StorageFull as StorageFull
from portal.vault.blob_store import StorageUnavailable as StorageUnavailable
from portal.vault.blob_store import VaultError as VaultError

_NONCE: Final = 12
_BLOB_MAGIC: Final = b"PLB1"
# Whatever wraps a key has committed or failed by then.
SETTLED: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A study's data key as the database keeps it: sealed under the named key of the ring."""

    wrapped: bytes
    key_id: str


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One file for `Vault.get_many`, with the data key that opens it."""

    data_key: bytes
    blob_id: UUID
    kind: BlobKind
    name: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Keys that have left the ring, and unused ones that were retired too short a time ago."""

    gone: list[str]
    waiting: list[str]


@dataclass(frozen=True, slots=True)
class _Ring:
    active: str
    keys: dict[str, bytes]
    index: bytes

    @classmethod
    def parse(cls, text: str) -> "_Ring":
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


class Vault:
    """Seals and opens values, keeps encrypted files and computes lookups."""

    def __init__(self, settings: Settings) -> None:
        """Read the key ring; no file is touched yet."""
        self._settings = settings
        self._ring = _Ring.parse(settings.read_key_ring(fresh=False))
        self._storage: Storage = (
            BucketStorage(settings.bucket)
            if settings.bucket
            else FolderStorage(settings.data_dir / "blobs")
        )
        # Where a restore gathers the files until all of them have been looked at.
        self._staging = FolderStorage(settings.data_dir / "restoring")

    # Data keys

    def new_data_key(self, study_id: UUID) -> tuple[bytes, WrappedKey]:
        """A random key for one study, bare and wrapped by the active key of the ring."""
        data_key = secrets.token_bytes(32)
        return data_key, self._wrap(study_id, data_key)

    def data_key(self, study_id: UUID, wrapped: bytes | None, key_id: str | None) -> bytes:
        """Unwrap a study's key; NotReadable where it was destroyed or does not belong here."""
        if wrapped is None or key_id is None:
            raise NotReadable("the study's key was destroyed")
        return _open(self._ring_key(key_id), _key_aad(study_id, key_id), wrapped)

    def rewrap(self, study_id: UUID, wrapped: bytes, key_id: str) -> WrappedKey:
        """The same data key under the ring's active key."""
        return self._wrap(study_id, self.data_key(study_id, wrapped, key_id))

    def _wrap(self, study_id: UUID, data_key: bytes) -> WrappedKey:
        self._reload(fresh=False)  # what is sealed from here on stands under the newest key
        key_id = self._ring.active
        sealed = _seal(self._ring.keys[key_id], _key_aad(study_id, key_id), data_key)
        return WrappedKey(sealed, key_id)

    # Values

    def seal(self, data_key: bytes, aad: str, data: bytes) -> bytes:
        """Encrypt a value; `aad` names the row and column that it is for."""
        return _seal(data_key, aad, data)

    def open_(self, data_key: bytes, aad: str, sealed: bytes) -> bytes:
        """Decrypt a value; NotReadable unless it is whole and in its own place."""
        return _open(data_key, aad, sealed)

    def seal_totp(self, user_id: UUID, secret: str) -> bytes:
        """Seal a person's TOTP secret under a key derived from the ring's active key."""
        self._reload(fresh=False)
        key_id = self._ring.active
        sealed = _seal(self._derived(key_id, "totp"), _totp_aad(user_id, key_id), secret.encode())
        return key_id.encode() + b":" + sealed

    def open_totp(self, user_id: UUID, sealed: bytes) -> str:
        """The TOTP secret of this person; NotReadable if it is another's or damaged."""
        key_id = self.totp_key_id(sealed)
        body = sealed.partition(b":")[2]
        return _open(self._derived(key_id, "totp"), _totp_aad(user_id, key_id), body).decode()

    def totp_key_id(self, sealed: bytes) -> str:
        """Which key of the ring a sealed TOTP secret stands under."""
        return sealed.partition(b":")[0].decode("ascii", "replace")

    # Lookups and derived keys

    def lookup(self, purpose: str, value: str | bytes) -> str:
        """A keyed digest by which an equal value is found again and nothing else is learnt."""
        data = value.encode() if isinstance(value, str) else value
        return hmac.new(_derive(self._ring.index, f"lookup:{purpose}"), data, "sha256").hexdigest()

    def audit_key(self) -> bytes:
        """The key of the audit chain. It does not rotate: old links must stay checkable."""
        return _derive(self._ring.index, "audit")

    # Files

    def put(
        self, data_key: bytes, *, blob_id: UUID, kind: BlobKind, attempt: int, data: bytes
    ) -> str:
        """Write an encrypted file durably and return its name.

        The file is complete under its name or absent. Raises StorageFull where there is no room.
        """
        name = f"{blob_id.hex}-{attempt}"
        sealed = _seal(data_key, _blob_aad(blob_id, kind), data, before=_BLOB_MAGIC)
        self._storage.write(name, sealed)
        return name

    def get(self, data_key: bytes, *, blob_id: UUID, kind: BlobKind, name: str) -> bytes:
        """Read an encrypted file; NotReadable if it is missing, damaged or another's."""
        return _open_blob(data_key, blob_id, kind, self._storage.read(_checked(name)))

    def get_many(self, wanted: Sequence[WantedFile]) -> list[bytes | None]:
        """Read several encrypted files in one go, in their order; None where `get` would refuse.

        A bucket is asked for them in parallel. StorageAway is raised: then nothing is known.
        """
        names = [file.name for file in wanted if NAME.fullmatch(file.name)]
        sealed = dict(zip(names, self._storage.read_many(names), strict=True))
        return [_opened(file, sealed.get(file.name)) for file in wanted]

    def destroy(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""
        self._storage.remove(_checked(name))

    def has(self, name: str) -> bool:
        """Whether a file of this name is there."""
        return self._storage.has(_checked(name))

    def remove_stale(self, before: datetime) -> int:
        """Remove what a killed process left half-written before `before`."""
        return self._storage.remove_stale(before)

    def names(self, shard: int, before: datetime) -> Iterator[str]:
        """Names of the vault's files in one of 256 parts that are older than `before`."""
        return self._storage.names(shard, before)

    # Backup and restore: files as they lie there, sealed

    def sealed_file(self, name: str) -> bytes:
        """A file's bytes, still sealed; NotReadable where it is missing."""
        return self._storage.read(_checked(name))

    def is_empty(self) -> bool:
        """Whether the vault holds no file at all."""
        return self._storage.is_empty()

    def stage(self, name: str, sealed: bytes) -> None:
        """Keep a sealed file beside the vault, until `adopt` makes all of them the vault's."""
        self._staging.write(_checked(name), sealed)

    def staged_file(self, name: str) -> bytes:
        """A staged file's bytes, read back from the disk."""
        return self._staging.read(_checked(name))

    def adopt(self) -> None:
        """Make the staged files the vault's own; the vault must be empty."""
        self._storage.adopt(self._staging)

    def discard(self) -> None:
        """Remove what was staged."""
        self._staging.clear()

    def give_up_adopted(self) -> None:
        """Remove what `adopt` took in: its rows did not come into the database after all."""
        self._storage.clear()

    # Rotation

    def add_key(self, now: datetime) -> str:
        """Add a key to the ring file and make it the active one; returns its id.

        Other processes read the file again when they meet an id that they do not know.
        """
        key_id, key = new_ring_key()

        def add(ring: dict[str, Any]) -> None:
            _retire(ring, now)
            ring["retired_at"][ring["active"]] = now.isoformat()
            ring["keys"][key_id] = key
            ring["active"] = key_id

        self._change_ring(add)
        return key_id

    def drop_keys(self, in_use: set[str], now: datetime) -> Dropped:
        """Remove the ring's keys that nothing stands under any more.

        Only such as were retired an hour ago: an upload may have wrapped its key just before, and
        its row is not in the database yet. What only a removed key opens, such as an old backup
        of a purged study, is unreadable from then on.
        """
        gone, waiting = list[str](), list[str]()

        def drop(ring: dict[str, Any]) -> None:
            _retire(ring, now)
            for key in set(ring["keys"]) - in_use - {ring["active"]}:
                retired = datetime.fromisoformat(ring["retired_at"][key])
                if retired > now - SETTLED:
                    waiting.append(key)
                    continue
                gone.append(key)
                del ring["keys"][key], ring["retired_at"][key]

        self._change_ring(drop)
        return Dropped(sorted(gone), sorted(waiting))

    def _change_ring(self, change: Callable[[dict[str, Any]], None]) -> None:
        def changed(text: str) -> str:
            _Ring.parse(text)
            ring = json.loads(text)
            change(ring)
            new = json.dumps(ring)
            _Ring.parse(new)
            return new

        self._settings.change_key_ring(changed)
        self._ring = _Ring.parse(self._settings.read_key_ring())

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of all keys of the ring."""
        return frozenset(self._ring.keys)

    @property
    def active_key_id(self) -> str:
        """The key of the ring that new data keys are wrapped by."""
        return self._ring.active

    def _reload(self, *, fresh: bool = True) -> None:
        with contextlib.suppress(OSError, VaultError):  # what was read before still holds
            self._ring = _Ring.parse(self._settings.read_key_ring(fresh=fresh))

    def _ring_key(self, key_id: str) -> bytes:
        if key_id not in self._ring.keys:
            self._reload()
        try:
            return self._ring.keys[key_id]
        except KeyError:
            raise NotReadable("the key ring lacks a key") from None

    def _derived(self, key_id: str, purpose: str) -> bytes:
        return _derive(self._ring_key(key_id), purpose)


def _checked(name: str) -> str:
    """A name that the vault has made; NotReadable for any other, which leads nowhere."""
    if not NAME.fullmatch(name):
        raise NotReadable("no file has such a name")
    return name


class ChunkCipher:
    """Seals a long stream in chunks (the STREAM construction: a counter and a mark on the last).

    A chunk that was changed, moved, left out or cut off does not open. `header` stands in the
    clear before the chunks and is bound to each of them.
    """

    def __init__(self, key: bytes, salt: bytes, header: bytes) -> None:
        self._cipher = AESGCM(_derive(key, f"chunks:{salt.hex()}"))
        self._header = header
        self._count = 0

    def seal(self, data: bytes, *, last: bool) -> bytes:
        """The next chunk, sealed."""
        sealed = self._cipher.encrypt(self._nonce(last), data, self._header)
        self._count += 1
        return sealed

    def open_(self, sealed: bytes, *, last: bool) -> bytes:
        """The next chunk, opened; NotReadable unless it is the next, whole, and (not) the last."""
        try:
            data = self._cipher.decrypt(self._nonce(last), sealed, self._header)
        except (InvalidTag, ValueError) as error:
            raise NotReadable("a chunk does not open") from error
        self._count += 1
        return data

    def _nonce(self, last: bool) -> bytes:
        return self._count.to_bytes(11, "big") + bytes([last])


def key_mark(key: bytes, salt: bytes) -> str:
    """By which a key is recognised that a stream was sealed with; it tells nothing about it."""
    return _derive(key, f"mark:{salt.hex()}")[:8].hex()


def _retire(ring: dict[str, Any], now: datetime) -> None:
    """Note the time at which keys were retired where a ring of an older version does not say."""
    known = ring.setdefault("retired_at", {})
    for key in set(ring["keys"]) - {ring["active"]}:
        known.setdefault(key, now.isoformat())


def _check_times(retired_at: dict[str, str], keys: Collection[str]) -> None:
    """ValueError unless the times are full ones, of keys that are there."""
    for key, text in retired_at.items():
        if key not in keys or datetime.fromisoformat(text).tzinfo is None:
            raise ValueError


def _derive(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"pleura:{purpose}".encode()).derive(
        key
    )


def _seal(key: bytes, aad: str, data: bytes, before: bytes = b"") -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    # Joined once: a picture is tens of megabytes.
    return b"".join((before, nonce, AESGCM(key).encrypt(nonce, data, aad.encode())))


def _open(key: bytes, aad: str, sealed: bytes | memoryview) -> bytes:
    body = memoryview(sealed)  # its parts are no copies
    try:
        return AESGCM(key).decrypt(body[:_NONCE], body[_NONCE:], aad.encode())
    except (InvalidTag, ValueError) as error:
        raise NotReadable("a sealed value does not open") from error


def _open_blob(data_key: bytes, blob_id: UUID, kind: BlobKind, sealed: bytes) -> bytes:
    if not sealed.startswith(_BLOB_MAGIC):
        raise NotReadable("a file is damaged")
    return _open(data_key, _blob_aad(blob_id, kind), memoryview(sealed)[len(_BLOB_MAGIC) :])


def _opened(file: WantedFile, sealed: bytes | None) -> bytes | None:
    try:
        if sealed is None:
            return None
        return _open_blob(file.data_key, file.blob_id, file.kind, sealed)
    except NotReadable:
        return None


def _key_aad(study_id: UUID, key_id: str) -> str:
    return f"studies:{study_id}:data_key:{key_id}"


def _totp_aad(user_id: UUID, key_id: str) -> str:
    return f"users:{user_id}:totp:{key_id}"


def _blob_aad(blob_id: UUID, kind: BlobKind) -> str:
    return f"blobs:{blob_id}:{kind.value}"


def content_digest(data: bytes) -> bytes:
    """SHA-256 of a file: what the content lookup is made from."""
    return hashlib.sha256(data).digest()
