"""The vault: keys, sealed values and encrypted files. Nothing leaves memory unsealed.

`encryption` seals and opens, `key_ring` holds the keys, `blob_store` the files. Every study and
every picture has its own data key, wrapped by a key of the ring; the additional data name the place
where a sealed value belongs, so that one that was moved or swapped does not open. Rotation re-wraps
keys and leaves files alone.
"""

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from portal.models import BlobKind
from portal.settings import Settings
from portal.vault import key_ring
from portal.vault.blob_store import NAME, BucketStorage, FolderStorage, Storage
from portal.vault.blob_store import NotReadable as NotReadable
from portal.vault.blob_store import StorageFull as StorageFull
from portal.vault.blob_store import StorageUnavailable as StorageUnavailable
from portal.vault.blob_store import VaultError as VaultError
from portal.vault.encryption import NONCE_BYTES as NONCE_BYTES
from portal.vault.encryption import ChunkCipher as ChunkCipher
from portal.vault.encryption import derive as _derive
from portal.vault.encryption import key_mark as key_mark
from portal.vault.encryption import open_sealed as _open
from portal.vault.encryption import seal as _seal
from portal.vault.key_ring import SETTLED as SETTLED
from portal.vault.key_ring import Dropped as Dropped
from portal.vault.key_ring import KeyRing

_BLOB_MAGIC: Final = b"PLB1"


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as the database keeps it: sealed under the named key of the ring."""

    wrapped: bytes
    key_id: str


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One file for `Vault.get_many`, with the data key that opens it."""

    data_key: bytes
    blob_id: UUID
    kind: BlobKind
    name: str


class Vault:
    """Seals and opens values, keeps encrypted files and computes lookups."""

    def __init__(self, settings: Settings) -> None:
        """Read the key ring; no file is touched yet."""
        self._settings = settings
        self._ring = KeyRing.parse(settings.read_key_ring(fresh=False))
        self._storage: Storage = (
            BucketStorage(settings.bucket)
            if settings.bucket
            else FolderStorage(settings.data_dir / "blobs")
        )
        # Where a restore gathers the files until all of them have been looked at.
        self._staging = FolderStorage(settings.data_dir / "restoring")

    # Data keys

    def new_data_key(
        self, study_id: UUID, instance_id: UUID | None = None
    ) -> tuple[bytes, WrappedKey]:
        """A random key for one study, or for one picture of it, bare and wrapped (see `wrap`)."""
        data_key = secrets.token_bytes(32)
        return data_key, self.wrap(data_key, study_id, instance_id)

    def data_key(
        self,
        study_id: UUID,
        wrapped: bytes | None,
        key_id: str | None,
        instance_id: UUID | None = None,
    ) -> bytes:
        """Unwrap a study's or picture's key; NotReadable if destroyed or not of this place."""
        if wrapped is None or key_id is None:
            raise NotReadable("the key was destroyed")
        return _open(self._ring_key(key_id), _key_aad(study_id, instance_id, key_id), wrapped)

    def rewrap(
        self,
        study_id: UUID,
        wrapped: bytes | None,
        key_id: str | None,
        instance_id: UUID | None = None,
    ) -> WrappedKey:
        """The same data key under the ring's active key; NotReadable where it does not open."""
        data_key = self.data_key(study_id, wrapped, key_id, instance_id)
        return self.wrap(data_key, study_id, instance_id)

    def wrap(self, data_key: bytes, study_id: UUID, instance_id: UUID | None = None) -> WrappedKey:
        """A data key under the ring's active key, for one study or one picture in this study.

        A picture that moves to another study has its key wrapped anew; its files stay as they are.
        """
        self._reload(fresh=False)  # what is sealed from here on has the newest key
        key_id = self._ring.active
        sealed = _seal(self._ring.keys[key_id], _key_aad(study_id, instance_id, key_id), data_key)
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
        """The id of the key that a sealed TOTP secret is sealed under."""
        return sealed.partition(b":")[0].decode("ascii", "replace")

    # Lookups and derived keys

    def lookup(self, purpose: str, value: str | bytes) -> str:
        """A keyed digest by which an equal value is found again and nothing else is learnt."""
        data = value.encode() if isinstance(value, str) else value
        return hmac.new(_derive(self._ring.index, f"lookup:{purpose}"), data, "sha256").hexdigest()

    def acquired(self, seconds: int) -> int:
        """Where a time stands in the order of acquisition, in seconds since a secret epoch.

        `seconds` are since 1970 by the clock of the place, as DICOM headers have it. The epoch is
        derived from the ring's part that does not rotate: it lies up to 2**40 seconds (about
        35,000 years) before 1970. Values sort, and their differences are true; without the ring
        none of them is a date.
        """
        epoch = int.from_bytes(_derive(self._ring.index, "epoch")[:5], "big")
        return seconds + epoch

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

        A bucket is asked for them in parallel. StorageUnavailable is raised: then nothing is known.
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
        """Write a sealed file beside the vault, until `adopt` makes all of them the vault's."""
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
        key_id = key_ring.add_key(self._settings, now)
        self._ring = KeyRing.parse(self._settings.read_key_ring())
        return key_id

    def drop_keys(self, in_use: set[str], now: datetime) -> Dropped:
        """Remove the ring's keys that wrap nothing any more.

        Only such as were retired an hour ago: an upload may have wrapped its key just before, and
        its row is not in the database yet. What only a removed key opens, such as an old backup
        of a purged study, is unreadable from then on.
        """
        dropped = key_ring.drop_keys(self._settings, in_use, now)
        self._ring = KeyRing.parse(self._settings.read_key_ring())
        return dropped

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
            self._ring = KeyRing.parse(self._settings.read_key_ring(fresh=fresh))

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


def _key_aad(study_id: UUID, instance_id: UUID | None, key_id: str) -> str:
    picture = f":instances:{instance_id}" if instance_id else ""
    return f"studies:{study_id}{picture}:data_key:{key_id}"


def _totp_aad(user_id: UUID, key_id: str) -> str:
    return f"users:{user_id}:totp:{key_id}"


def _blob_aad(blob_id: UUID, kind: BlobKind) -> str:
    return f"blobs:{blob_id}:{kind.value}"


def content_digest(data: bytes) -> bytes:
    """SHA-256 of a file: what the content lookup is made from."""
    return hashlib.sha256(data).digest()
