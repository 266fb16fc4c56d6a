"""The stored files of a picture: which one is current, and its decrypted content."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import Blob, BlobKind
from portal.vault import NotReadable, Vault


def current(session: Session, instance_id: UUID | None, kind: BlobKind) -> Blob | None:
    """The file of this kind that counts, of all that were ever made for the picture."""
    return session.scalars(
        select(Blob)
        .where(Blob.instance_id == instance_id, Blob.kind == kind, Blob.current)
        .order_by(Blob.created.desc())
    ).first()


def read(vault: Vault, data_key: bytes, blob: Blob) -> bytes:
    """The file's content; NotReadable or VaultError where it is missing, changed or cut off.

    data_key: the picture's own key.
    """
    data = vault.get(data_key, blob_id=blob.id, kind=blob.kind, name=blob.name)
    if len(data) != blob.size:
        raise NotReadable("a file has another length than was written")
    return data
