"""The files of a picture that people and programs get, and the overlay that is drawn from them."""

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import Blob, BlobKind, Instance
from portal.reading import drawn_overlay
from portal.reading.case_records import BlobData
from portal.studies import sealed_fields, stored_files
from portal.vault import NotReadable, Vault

# Not the source file: its header names the patient.
SERVED: Final = frozenset(BlobKind) - {BlobKind.SOURCE}
# What the overlay is drawn from where it is not stored.
_OF_AN_OVERLAY: Final = frozenset({BlobKind.PIXELS, BlobKind.MASK})


def of(session: Session, instance: Instance) -> dict[BlobKind, Blob]:
    """The stored files of a picture that are served."""
    rows = session.scalars(
        select(Blob)
        .where(Blob.instance_id == instance.id, Blob.kind.in_(SERVED), Blob.current)
        .order_by(Blob.created)
    )
    return {row.kind: row for row in rows}


def available(stored: Collection[BlobKind]) -> frozenset[BlobKind]:
    """The kinds that `read` returns where these are stored."""
    kinds = frozenset(stored)
    return kinds | {BlobKind.OVERLAY} if kinds >= _OF_AN_OVERLAY else kinds


def read(
    vault: Vault, instance: Instance, stored: Mapping[BlobKind, Blob], kind: BlobKind
) -> BlobData:
    """One of the `available` files; NotReadable where what it needs was damaged."""
    data_key = sealed_fields.instance_key_of(vault, instance)
    if kind in stored:
        blob = stored[kind]
        return BlobData(stored_files.read(vault, data_key, blob), blob.media_type)
    # Workers of a version before have stored it.
    facts = sealed_fields.open_facts(vault, data_key, instance)
    if facts is None:
        raise NotReadable("a picture has files and no facts")
    whole = 2 ** facts["bits"]
    centre, width, _ = (*facts["windows"], (whole / 2, whole, ""))[0]
    pixels, mask = (
        stored_files.read(vault, data_key, stored[part])
        for part in (BlobKind.PIXELS, BlobKind.MASK)
    )
    drawn = drawn_overlay.draw(pixels, facts["rows"], facts["columns"], (centre, width), mask)
    return BlobData(drawn, "image/png")
