"""Where the vault's sealed files lie: a folder, or an S3 bucket. Only the vault uses it.

Only `vault` imports this. What arrives here is sealed already: a store sees names that the vault
made and bytes that it cannot read. A file is complete under its name, or absent.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from portal.settings.bucket import Bucket

NAME: Final = re.compile(r"[0-9a-f]{32}-[0-9]{1,6}")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BUCKET_FULL: Final = ("QuotaExceeded", "InsufficientStorage", "XMinioStorageFull")
_GONE: Final = "NoSuchKey"  # a bare 404 may come from another server, such as a proxy
# Requests to a bucket at a time, for one reader.
_AT_ONCE: Final = 16


class VaultError(Exception):
    """The vault can't do what was asked. The text holds no patient data."""


class StorageFull(VaultError):
    """There is no room for another file. Nothing was left behind."""


class StorageUnavailable(VaultError):
    """The place where the files lie does not answer, or not now: nothing is known of a file."""


class NotReadable(VaultError):
    """A sealed value or file is missing, damaged, moved, or its key is gone."""


class Storage(Protocol):
    """What the vault needs of a place for files. Names match NAME; the vault has checked them."""

    def write(self, name: str, sealed: bytes) -> None:
        """Write a file durably and whole; StorageFull or VaultError with nothing left behind."""

    def read(self, name: str) -> bytes:
        """The file; NotReadable where there is none, StorageUnavailable without an answer."""

    def read_many(self, names: Sequence[str]) -> list[bytes | None]:
        """The files in the order of their names, at once where that is quicker.

        None where a file is missing; StorageUnavailable without an answer.
        """

    def has(self, name: str) -> bool:
        """Whether there is a file of this name; StorageUnavailable without an answer."""

    def remove(self, name: str) -> None:
        """Remove a file, for good once this returns; one that is gone already is no error."""

    def names(self, shard: int, before: datetime) -> Iterator[str]:
        """Names that begin with one of 256 bytes and are older than `before`.

        Files that the vault has not made are left alone.
        """

    def remove_stale(self, before: datetime) -> int:
        """Remove what a killed process left half-written before `before`; how many files."""

    def is_empty(self) -> bool:
        """Whether there is no file at all."""

    def adopt(self, staged: "FolderStorage") -> None:
        """Take all files of a folder over; this store must be empty, that folder is then."""

    def clear(self) -> None:
        """Remove every file."""


class FolderStorage:
    """Files in 256 folders below one folder."""

    def __init__(self, folder: Path) -> None:
        """No file is touched yet."""
        self._folder = folder
        self._incoming = folder / "incoming"

    def write(self, name: str, sealed: bytes) -> None:
        """Temporary file, fsync, rename, fsync of the folder."""
        target = self._path(name)
        temporary = self._incoming / f"{name}.{secrets.token_hex(4)}"
        try:
            _make_folder(target.parent)
            _make_folder(self._incoming)
            _write_durably(temporary, sealed)
            temporary.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            for path in (temporary, target):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            if error.errno in _FULL:
                raise StorageFull("there is no room for another file") from error
            raise VaultError(f"a file can't be written (errno {error.errno})") from error

    def read(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except OSError as error:
            raise NotReadable("a file is missing") from error

    def read_many(self, names: Sequence[str]) -> list[bytes | None]:
        return [_or_none(self.read, name) for name in names]  # threads were measured slower

    def has(self, name: str) -> bool:
        return self._path(name).is_file()

    def remove(self, name: str) -> None:
        path = self._path(name)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            _sync_folder(path.parent)  # else a power cut could bring it back

    def names(self, shard: int, before: datetime) -> Iterator[str]:
        folder = self._folder / f"{shard % 256:02x}"
        paths = folder.iterdir() if folder.is_dir() else ()
        for path in filter(lambda path: NAME.fullmatch(path.name), paths):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before.timestamp():
                    yield path.name

    def remove_stale(self, before: datetime) -> int:
        return sum(
            _unlink_older(path, before)
            for path in (self._incoming.iterdir() if self._incoming.is_dir() else ())
        )

    def is_empty(self) -> bool:
        return not any(path.is_file() for path in self._folder.rglob("*"))

    def adopt(self, staged: "FolderStorage") -> None:
        if staged._folder.is_dir():
            self.clear()
            staged._folder.rename(self._folder)
            _sync_folder(self._folder.parent)

    def clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def everything(self) -> Iterator[str]:
        """The names of all files."""
        return (path.name for path in self._folder.rglob("*") if NAME.fullmatch(path.name))

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


class BucketStorage:
    """Objects of one bucket; a PUT is whole and durable, or it did not happen."""

    def __init__(self, bucket: Bucket) -> None:
        """No connection is made yet."""
        self._bucket = bucket

    @cached_property
    def _client(self) -> Any:
        # Made in the process that uses it, and only where a bucket is configured: boto3 is an
        # extra. Keys are always given: it must not go and ask a cloud's metadata service for some.
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self._bucket.endpoint or None,
            region_name=self._bucket.region,
            verify=str(self._bucket.ca_file) if self._bucket.ca_file else None,
            aws_access_key_id=self._bucket.key_id,
            aws_secret_access_key=self._bucket.secret,
            config=Config(
                connect_timeout=5,
                read_timeout=10,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=_AT_ONCE,
                s3={"addressing_style": "path"},
            ),
        )

    def write(self, name: str, sealed: bytes) -> None:
        try:
            self._call("put_object", Key=self._key(name), Body=sealed)
        except VaultError:
            # A request that broke off may have arrived.
            with contextlib.suppress(VaultError):
                self.remove(name)
            raise

    def read(self, name: str) -> bytes:
        content: bytes = self._call("get_object", Key=self._key(name))
        return content

    def read_many(self, names: Sequence[str]) -> list[bytes | None]:
        if len(names) < 2:
            return [_or_none(self.read, name) for name in names]
        _ = self._client  # made once, before the threads share it
        with ThreadPoolExecutor(min(len(names), _AT_ONCE)) as pool:
            return list(pool.map(lambda name: _or_none(self.read, name), names))

    def has(self, name: str) -> bool:
        page = self._call("list_objects_v2", Prefix=self._key(name), MaxKeys=1)
        return any(found["Key"] == self._key(name) for found in page.get("Contents", ()))

    def remove(self, name: str) -> None:
        self._call("delete_object", Key=self._key(name))

    def names(self, shard: int, before: datetime) -> Iterator[str]:
        prefix, token = self._key(f"{shard % 256:02x}"), ""
        while True:
            more: dict[str, str] = {"ContinuationToken": token} if token else {}
            page = self._call("list_objects_v2", Prefix=prefix, **more)
            for found in page.get("Contents", ()):
                name = found["Key"][len(self._bucket.prefix) :]
                if NAME.fullmatch(name) and found["LastModified"] < before:
                    yield name
            before_token, token = token, page.get("NextContinuationToken", "")
            if not token:
                return
            if token == before_token:
                raise StorageUnavailable("the bucket's listing does not end")

    def remove_stale(self, before: datetime) -> int:
        return 0  # a bucket keeps no half objects

    def is_empty(self) -> bool:
        return not any(True for _ in self._all())

    def adopt(self, staged: FolderStorage) -> None:
        try:
            for name in staged.everything():
                self.write(name, staged.read(name))
        except VaultError:
            with contextlib.suppress(VaultError):
                self.clear()
            raise
        staged.clear()

    def clear(self) -> None:
        for name in self._all():
            self.remove(name)

    def _all(self) -> Iterator[str]:
        ever = datetime.max.replace(tzinfo=UTC)
        return (name for shard in range(256) for name in self.names(shard, ever))

    def _key(self, name: str) -> str:
        return self._bucket.prefix + name

    def _call(self, operation: str, **arguments: Any) -> Any:
        """One request; its failures as the vault's errors, without addresses or names of keys."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = getattr(self._client, operation)(Bucket=self._bucket.name, **arguments)
            return answer["Body"].read() if operation == "get_object" else answer
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code == _GONE and operation == "get_object":
                raise NotReadable("a file is missing") from None
            if code in _BUCKET_FULL:
                raise StorageFull("there is no room for another file") from None
            raise StorageUnavailable(f"the bucket refused a request ({code})") from None
        except (BotoCoreError, OSError) as error:
            raise StorageUnavailable(
                f"the bucket can't be reached ({type(error).__name__})"
            ) from None


def _or_none(read: Callable[[str], bytes], name: str) -> bytes | None:
    try:
        return read(name)
    except NotReadable:
        return None


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(folder.parent)


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unlink_older(path: Path, before: datetime) -> int:
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_mtime < before.timestamp():
            path.unlink()
            return 1
    return 0
