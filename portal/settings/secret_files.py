"""Secrets: how they are made, what they must be like, and how they are written to files."""

import base64
import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_SAMPLES: Final = ("change", "sample", "example", "secret", "password", "default", "insecure")


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


def weakness(value: str) -> str | None:
    """What is wrong with a secret, for a sentence that begins with its name; None: nothing."""
    if not value:
        return "is missing"
    if len(value) < 32:
        return "must have at least 32 characters"
    if len(set(value)) < 10 or any(sample in value.lower() for sample in _SAMPLES):
        return "looks like a sample; make one with `openssl rand -base64 33`"
    return None


def key_ring_weakness(ring: str) -> str | None:
    """The same for a key ring."""
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


def is_key(text: str) -> bool:
    """Whether a text is a random key of 32 bytes in base64."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return len(key) == 32 and len(set(key)) >= 12


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner can open; OSError where that is not possible."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)


def write_private(path: Path, text: str, *, new: bool = False) -> None:
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
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the folder's, because the file in it is replaced meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
