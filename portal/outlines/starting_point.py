"""What the editing of an outline begins with."""

from uuid import UUID

from sqlalchemy.orm import Session

from portal.access import Actor
from portal.errors import Conflict
from portal.languages import _
from portal.models import Instance
from portal.outlines import model_outline, versions
from portal.studies import reader_outlines
from portal.studies.second_reads.blindness import Sight
from portal.teams import ai_visibility
from portal.vault import NotReadable, Vault
from worker.contract import outline_runs


def of(
    session: Session, vault: Vault, actor: Actor, instance: Instance, sight: Sight
) -> tuple[bytes, str, UUID | None]:
    """The runs, where they are from (`version`, `model` or `empty`) and the version's id: the
    newest version that the reader sees, else the model's outline where the actor may see it, else
    nothing. Conflict `damaged`.
    """
    assert instance.rows is not None
    assert instance.columns is not None
    size = instance.rows, instance.columns
    before = reader_outlines.newest(session, [instance.id], sight.authors).get(instance.id)
    if before is not None:
        try:
            return versions.read_runs(session, vault, instance, before), "version", before.id
        except NotReadable:
            raise Conflict(
                "damaged", _("The newest version of this outline is damaged. Ask an administrator.")
            ) from None
    if not ai_visibility.may_see_ai(session, actor, instance.study_id):
        return outline_runs.encode([], *size), "empty", None
    model = model_outline.of(session, vault, instance)
    if model is not None and model.runs:
        return outline_runs.encode(model.runs, *size), "model", None
    return outline_runs.encode([], *size), "empty", None
