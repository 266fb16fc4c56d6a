"""The stored files of a picture: which one is current, and its decrypted content; and the names of
all files that some row names.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from portal.models import Blob, BlobKind, QuarantinedFile
from portal.vault import NotReadable, Vault


def current(session: Session, instance_id: UUID | None, kind: BlobKind) -> Blob | None:
    """The file of this kind that counts, of all that were ever made for the picture."""
    return session.scalars(
        select(Blob)
        .where(Blob.instance_id == instance_id, Blob.kind == kind, Blob.current)
        .order_by(Blob.created.desc())
    ).first()


def named(session: Session, names: Sequence[str]) -> set[str]:
    """Those of the names that a row names: of a picture's file, or of one in quarantine."""
    of_pictures = select(Blob.name).where(Blob.name.in_(names))
    kept_apart = select(QuarantinedFile.name).where(QuarantinedFile.name.in_(names))
    return set(session.scalars(union_all(of_pictures, kept_apart)))


def read(vault: Vault, data_key: bytes, blob: Blob) -> bytes:
    """The file's content; NotReadable or VaultError where it is missing, changed or cut off.

    data_key: the picture's own key.
    """
    data = vault.get(data_key, blob_id=blob.id, kind=blob.kind, name=blob.name)
    if len(data) != blob.size:
        raise NotReadable("a file has another length than was written")
    return data
