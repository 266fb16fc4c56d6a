"""Readers' outlines in an export: the newest as a mask beside the model's, and all in numbers."""

from typing import Any

from sqlalchemy.orm import Session

from portal.formats import mask_png
from portal.models import Blob, Instance
from portal.studies import reader_outlines, sealed_fields, stored_files
from portal.vault import Vault
from worker.contract import outline_runs


def mask(session: Session, vault: Vault, data_key: bytes, instance: Instance) -> bytes | None:
    """The newest outline by a reader as a PNG of the file's size, as the model's mask is.

    None where nobody has drawn one. NotReadable where its file was damaged.
    """
    newest = reader_outlines.newest(session, [instance.id]).get(instance.id)
    blob = session.get(Blob, newest.blob_id) if newest is not None else None
    if newest is None or blob is None:
        return None
    size = newest.rows, newest.columns
    runs = outline_runs.decode(stored_files.read(vault, data_key, blob), *size)
    facts = sealed_fields.open_facts(vault, data_key, instance) or {}
    rows, columns = facts.get("source_size") or size
    return mask_png.write(mask_png.resized(runs, size, (rows, columns)), rows, columns)


def numbers(session: Session, instance: Instance) -> list[dict[str, Any]]:
    """What is known of each version of a picture's outline, the oldest first: no name, no time."""
    return [
        {
            "pixels": one.pixels,
            "dice_to_model": one.dice_model,
            "dice_to_version_before": one.dice_before,
            "measurements": one.measurements,
        }
        for one in reader_outlines.versions(session, [instance.id])
    ]
