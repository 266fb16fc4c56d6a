"""How far the outlines of two readers of an exam agree, where both have drawn one."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.orm import Session

from portal.models import Blob, Instance, Outline
from portal.studies import exams, reader_outlines, sealed_fields, stored_files
from portal.vault import NotReadable, Vault, VaultError
from worker.contract import outline_runs
from worker.contract.outline_runs import Run


def between(session: Session, vault: Vault, study_id: UUID, one: UUID, other: UUID) -> float | None:
    """The Dice of the newest outlines of two readers, 0 to 1: the mean over the pictures on which
    both have drawn, two empty outlines being equal. None where there is no such picture, or a file
    can't be read: the finding that is stated counts all the same.
    """
    pictures = {row.id: row for row in exams.pictures(session, [study_id])[study_id]}
    mine = reader_outlines.newest(session, pictures, [one], only_counting=True)
    theirs = reader_outlines.newest(session, pictures, [other], only_counting=True)
    both = [pictures[i] for i in pictures if i in mine and i in theirs]
    try:
        found = [
            outline_runs.dice(
                _runs(session, vault, picture, mine), _runs(session, vault, picture, theirs)
            )
            for picture in both
        ]
    except (NotReadable, VaultError):
        return None
    return round(sum(found) / len(found), 6) if found else None


def _runs(
    session: Session, vault: Vault, picture: Instance, newest: Mapping[UUID, Outline]
) -> list[Run]:
    outline = newest[picture.id]
    blob = session.get(Blob, outline.blob_id)
    if blob is None:
        raise NotReadable("an outline has no file")
    data_key = sealed_fields.instance_key_of(vault, picture)
    data = stored_files.read(vault, data_key, blob)
    return outline_runs.decode(data, outline.rows, outline.columns)
