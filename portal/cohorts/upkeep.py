"""A frozen cohort later: whether it is as it was frozen, and what purges have to take out of it."""

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.cohorts import folder as folders
from portal.cohorts import freezing
from portal.cohorts.folder import COCO, INDEX, SIIM, SPLITS, TOMBSTONES
from portal.models import AuditEvent, Cohort
from portal.vault import Vault

_EVENT: Final = "cohort_purged"
_TABLES: Final = (SIIM, INDEX, COCO, SPLITS)


@dataclass(frozen=True, slots=True)
class Checked:
    """`is_known`: this installation has frozen it, with this manifest. `problems`: a sentence for
    each file that is not as it was. `purged`: pictures that are to be taken out, also those of
    which a stop has left something.
    """

    name: str
    version: int
    is_known: bool
    problems: list[str]
    purged: list[str]


def listed(session: Session) -> list[Cohort]:
    """All cohorts that were frozen, the oldest first; ends the transaction."""
    rows = session.scalars(select(Cohort).order_by(Cohort.created, Cohort.name, Cohort.version))
    found = list(rows)
    session.commit()
    return found


def check(session: Session, vault: Vault, folder: Path) -> Checked:
    """Compare a cohort on disk with what was frozen. BadFolder where it is none."""
    manifest, digest = folders.manifest_of(folder)
    name, version = str(manifest.get("name")), int(manifest.get("version", 0))
    row = session.scalars(
        select(Cohort).where(Cohort.name == name, Cohort.version == version)
    ).one_or_none()
    is_known = row is not None and row.manifest_sha256 == digest
    names = {str(one["id"]) for one in manifest["pictures"]}
    stones = folders.tombstones_of(folder)
    gone = set(stones["pictures"]) - _half_removed(folder, manifest, stones)
    purged = (names & freezing.purged_names(session, vault)) - gone
    problems = folders.problems(folder)
    if row is not None and is_known and not _is_in_the_log(session, row, folder):
        problems.insert(0, f"{TOMBSTONES}: changed")
    return Checked(name, version, is_known, problems, sorted(purged))


def purge(session: Session, vault: Vault, folder: Path, now: datetime) -> list[str]:
    """Take the pictures of purged exams out of a cohort on disk; their names.

    Their files are removed and the tables written without them; `tombstones.json` names both. It
    can be done again after a stop. BadFolder where the folder is none that was frozen here, or is
    not as it was.
    """
    found = check(session, vault, folder)
    if not found.is_known:
        raise folders.BadFolder("not_known", f"{folder} was not frozen here, or was changed.")
    if not found.purged:
        return []
    manifest, _ = folders.manifest_of(folder)
    stones = folders.tombstones_of(folder)
    due = {*stones["pictures"], *found.purged}
    bad = [one for one in found.problems if not _is_of_a_stop(one, folder, manifest, stones, due)]
    if bad:
        raise folders.BadFolder("damaged", f"{folder} is not as it was frozen: {bad[0]}.")
    files = [
        name for name in manifest["files"] if Path(name).stem in due and Path(name).parent != Path()
    ]
    tables = _tables_without(folder, manifest, due)
    if not due <= set(stones["pictures"]):
        content = {
            "pictures": sorted(due),
            "removed": sorted(files),
            "before": {name: _digest_of(folder / name) for name in tables},
            "rewritten": {name: hashlib.sha256(data).hexdigest() for name, data in tables.items()},
            "note": "These pictures were purged after the cohort was frozen.",
        }
        _write_tombstones(session, found, folder, folders.as_json(content), now)
    for name in files:
        (folder / name).unlink(missing_ok=True)
    for name, table in tables.items():
        folders.write(folder / f"{name}.new", table)
        (folder / f"{name}.new").replace(folder / name)
    folders.sync_folder(folder)
    return found.purged


def _write_tombstones(
    session: Session, found: Checked, folder: Path, data: bytes, now: datetime
) -> None:
    """State what is to be removed, in the access log and then in the folder, before anything is:
    a stop in between is seen by `check`, and nobody else can state it.
    """
    audit.append(
        session,
        _EVENT,
        now=now,
        subject_id=_id_of(session, found),
        detail={"pictures": found.purged, "sha256": hashlib.sha256(data).hexdigest()},
    )
    session.commit()
    folders.write(folder / f"{TOMBSTONES}.new", data)
    (folder / f"{TOMBSTONES}.new").replace(folder / TOMBSTONES)
    folders.sync_folder(folder)


def _id_of(session: Session, found: Checked) -> UUID:
    query = select(Cohort.id).where(Cohort.name == found.name, Cohort.version == found.version)
    return session.scalars(query).one()


def _is_in_the_log(session: Session, cohort: Cohort, folder: Path) -> bool:
    """Whether the tombstones, if there are any, are some that were written here."""
    digest = _digest_of(folder / TOMBSTONES)
    if digest is None:
        return True
    rows = session.scalars(
        select(AuditEvent.detail).where(
            AuditEvent.event == _EVENT, AuditEvent.subject_id == cohort.id
        )
    )
    return any(json.loads(detail).get("sha256") == digest for detail in rows)


def _half_removed(folder: Path, manifest: dict[str, Any], stones: dict[str, Any]) -> set[str]:
    """Pictures with a tombstone of which files are still there; all of them where a table still
    has the content from before.
    """
    if any(
        _digest_of(folder / name) not in (None, rewritten)
        and _digest_of(folder / name) in _digests(name, manifest, stones)
        for name, rewritten in stones["rewritten"].items()
    ):
        return set(stones["pictures"])
    return {Path(name).stem for name in stones["removed"] if (folder / name).exists()}


def _digests(name: str, manifest: dict[str, Any], stones: dict[str, Any]) -> set[str]:
    """What a table may be after a stop: as it was frozen, before or after the last removal."""
    of_stones = (stones.get("before", {}).get(name), stones["rewritten"].get(name))
    return {manifest["files"][name]["sha256"], *(one for one in of_stones if one)}


def _is_of_a_stop(
    problem: str, folder: Path, manifest: dict[str, Any], stones: dict[str, Any], due: set[str]
) -> bool:
    """Whether a problem is what a stop in the middle of a removal leaves."""
    name = problem.partition(":")[0]
    if name in _TABLES:
        return _digest_of(folder / name) in _digests(name, manifest, stones)
    return Path(name).stem in due or name in {f"{one}.new" for one in (*_TABLES, TOMBSTONES)}


def _digest_of(path: Path) -> str | None:
    """The SHA-256 of a file; None where there is none that can be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _tables_without(folder: Path, manifest: dict[str, Any], due: set[str]) -> dict[str, bytes]:
    """The tables without these pictures, and without patients of whom no picture is left."""
    tables = {name: _csv_without((folder / name).read_text("utf-8"), due) for name in (SIIM, INDEX)}
    coco = json.loads((folder / COCO).read_bytes())
    gone = {one["id"] for one in coco["images"] if Path(one["file_name"]).stem in due}
    coco["images"] = [one for one in coco["images"] if one["id"] not in gone]
    coco["annotations"] = [one for one in coco["annotations"] if one["image_id"] not in gone]
    tables[COCO] = folders.as_json(coco)
    left = {one["patient"] for one in manifest["pictures"] if one["id"] not in due}
    splits = json.loads((folder / SPLITS).read_bytes())
    splits["patients"] = {who: fold for who, fold in splits["patients"].items() if who in left}
    tables[SPLITS] = folders.as_json(splits)
    return tables


def _csv_without(text: str, due: set[str]) -> bytes:
    columns, *rows = list(csv.reader(io.StringIO(text)))
    return folders.as_csv(columns, [row for row in rows if row[0] not in due])
