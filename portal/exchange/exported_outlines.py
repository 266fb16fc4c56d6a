"""Readers' outlines in an export: the newest as a mask beside the model's, and all in numbers; of
those that count (`reader_outlines`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.formats import mask_png
from portal.models import Blob, Instance, Outline
from portal.studies import reader_outlines, sealed_fields, stored_files
from portal.vault import Vault
from worker.contract import outline_runs


@dataclass(frozen=True, slots=True)
class Drawn:
    """Where the newest outline by a reader is stored, and the size it was drawn in."""

    blob: Blob
    rows: int
    columns: int


def newest(session: Session, instance: Instance, authors: Collection[UUID] | None) -> Drawn | None:
    """The newest outline of a picture by a reader (`authors`: of these); None without one."""
    drawn = reader_outlines.newest(session, [instance.id], authors, only_counting=True)
    found = drawn.get(instance.id)
    blob = session.get(Blob, found.blob_id) if found is not None else None
    return (
        Drawn(blob, found.rows, found.columns) if found is not None and blob is not None else None
    )


def of_each_reader(
    session: Session, instance: Instance, authors: Collection[UUID] | None = None
) -> list[Drawn]:
    """The newest outline by each reader (`authors`: of these alone), in the order in which they
    first drew one.
    """
    rows = session.execute(
        select(Outline, Blob)
        .join(Blob, Blob.id == Outline.blob_id)
        .where(Outline.instance_id == instance.id, reader_outlines.that_count())
        .order_by(Outline.created, Outline.id)
    ).all()
    newest: dict[UUID, Drawn] = {}
    for outline, blob in rows:
        if authors is None or outline.author_id in authors:
            newest[outline.author_id] = Drawn(blob, outline.rows, outline.columns)
    return list(newest.values())


def mask(vault: Vault, data_key: bytes, instance: Instance, drawn: Drawn) -> bytes:
    """An outline as a PNG of the file's size, as the model's mask is. No query is made.

    NotReadable where its file was damaged.
    """
    size = drawn.rows, drawn.columns
    runs = outline_runs.decode(stored_files.read(vault, data_key, drawn.blob), *size)
    facts = sealed_fields.open_facts(vault, data_key, instance) or {}
    rows, columns = facts.get("source_size") or size
    return mask_png.write(mask_png.resized(runs, size, (rows, columns)), rows, columns)


def numbers(
    session: Session,
    instance: Instance,
    authors: Collection[UUID] | None,
    *,
    compared: bool = True,
) -> list[dict[str, Any]]:
    """What is known of each version of a picture's outline, the oldest first: no name, no time.
    `compared` with the model's.
    """
    return [
        {
            "pixels": one.pixels,
            "dice_to_model": one.dice_model,
            "dice_to_version_before": one.dice_before,
            "measurements": one.measurements,
        }
        for one in reader_outlines.versions(session, [instance.id], authors, compared=compared)
        if one.counts
    ]
