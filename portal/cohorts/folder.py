"""A cohort's folder on disk: written beside its place and put there whole, read, and checked.

`manifest.json` lists every file with its size and SHA-256. It never changes: what a purge takes out
later stands in `tombstones.json`, with the digests of the tables that were written without it.
"""

import csv
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from portal.errors import Invalid

FORMAT: Final = "pleura-cohort"
MANIFEST, TOMBSTONES = "manifest.json", "tombstones.json"
SIIM, INDEX, COCO, SPLITS = "siim.csv", "index.csv", "coco.json", "splits.json"
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")


class BadFolder(Invalid):
    """A folder that is no cohort, or can't become one; the message gives the reason."""


def check_name(name: str) -> str:
    """The name, if it is one: small letters, digits and hyphens."""
    if not _NAME.fullmatch(name):
        raise BadFolder("name", "A cohort's name has small letters, digits and hyphens, up to 60.")
    return name


class Writer:
    """Writes files into a folder that is not in its place yet, and notes their digests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, dict[str, Any]] = {}

    def add(self, name: str, data: bytes) -> None:
        """Write one file, down to the disk."""
        write(self.folder / name, data)
        self.files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@contextmanager
def writing(place: Path) -> Iterator[Writer]:
    """A folder to write into, which is put in its place at the end; nothing is left of a failure.

    BadFolder where something is in the place already. OSError as of the disk.
    """
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise BadFolder("not_empty", f"{place} is not empty: a cohort gets a folder of its own.")
    if not place.parent.is_dir():
        raise BadFolder("no_parent", f"There is no folder {place.parent}.")
    beside = place.with_name(f".{place.name}.being-written")
    if beside.exists():
        shutil.rmtree(beside)  # of a stop
    beside.mkdir(mode=0o700)
    try:
        yield Writer(beside)
        if place.exists():
            place.rmdir()
        beside.rename(place)
        sync_folder(place.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def write(path: Path, data: bytes) -> None:
    """Write a file down to the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Write a folder's entries down to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_json(content: Any) -> bytes:
    """The text of a JSON file."""
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """The text of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def manifest_of(folder: Path) -> tuple[dict[str, Any], str]:
    """A cohort's manifest and its SHA-256; BadFolder where the folder has none."""
    try:
        data = (folder / MANIFEST).read_bytes()
        read = json.loads(data)
    except (OSError, ValueError):
        raise BadFolder("no_cohort", f"{folder} holds no cohort: no {MANIFEST}.") from None
    if not isinstance(read, dict) or read.get("format") != FORMAT:
        raise BadFolder("no_cohort", f"{folder} holds no cohort.")
    return read, hashlib.sha256(data).hexdigest()


def tombstones_of(folder: Path) -> dict[str, Any]:
    """What was taken out after the cohort was frozen: names of pictures, files with digests."""
    try:
        read = json.loads((folder / TOMBSTONES).read_bytes())
    except FileNotFoundError:
        return {"pictures": [], "removed": [], "rewritten": {}}
    except (OSError, ValueError):
        raise BadFolder("damaged", f"{folder / TOMBSTONES} can't be read.") from None
    return dict(read)


def problems(folder: Path) -> list[str]:
    """A sentence for each file that is not as it was frozen or, by a tombstone, left."""
    manifest, _ = manifest_of(folder)
    tombstones = tombstones_of(folder)
    removed, rewritten = set(tombstones["removed"]), tombstones["rewritten"]
    found = list[str]()
    for name, stated in manifest["files"].items():
        path = folder / name
        if name in removed:
            if path.exists():
                found.append(f"{name}: is there, although it was removed")
            continue
        wanted = rewritten.get(name, stated["sha256"])
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            found.append(f"{name}: missing")
            continue
        if digest != wanted:
            found.append(f"{name}: changed")
    known = {*manifest["files"], MANIFEST, TOMBSTONES}
    there = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    found += [f"{name}: not of this cohort" for name in sorted(there - known)]
    return found
