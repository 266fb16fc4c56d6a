"""The model's outline of a picture, which readers correct; it never changes."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.orm import Session

from portal.formats import mask_png
from portal.models import BlobKind, Instance, Prediction
from portal.studies import exams, sealed_fields, stored_files
from portal.vault import NotReadable, Vault
from worker.contract.outline_runs import Run
from xray_files.bad_file import BadFile


@dataclass(frozen=True, slots=True)
class ModelOutline:
    """The runs of the model's mask, of the picture's size, and the prediction that they are of."""

    prediction_id: UUID
    runs: list[Run]


def of(session: Session, vault: Vault, instance: Instance) -> ModelOutline | None:
    """The outline of the picture's newest prediction; None where the model has given no result.

    Where the file's pixels are not square its mask is enlarged, each pixel by the nearest one.
    """
    found = _prediction(session, instance)
    if found is None or found.band is None or not instance.rows or not instance.columns:
        return None
    blob = stored_files.current(session, instance.id, BlobKind.MASK)
    if blob is None:
        return None
    data_key = sealed_fields.instance_key_of(vault, instance)
    session.commit()
    try:
        runs, *size = mask_png.read(stored_files.read(vault, data_key, blob))
    except (BadFile, NotReadable):
        return None
    picture = (instance.rows, instance.columns)
    return ModelOutline(found.id, mask_png.resized(runs, (size[0], size[1]), picture))


def _prediction(session: Session, instance: Instance) -> Prediction | None:
    return exams.last_predictions(session, [instance.study_id]).get(instance.id)
