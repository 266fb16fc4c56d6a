"""The picture whose outline a person edits: the checks that come before anything is written."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from portal.access import Actor, Denied, Permission
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.models import Instance, Study
from portal.reading.case import load
from portal.studies import exams
from worker.contract import outline_runs
from worker.contract.outline_runs import BadRuns, Run


def lock(session: Session, actor: Actor, study_id: UUID, picture: Any) -> tuple[Study, Instance]:
    """The exam, locked, and its picture with this id.

    Who edits an outline of the exam, purges or joins it waits, or has been. Raises Denied where the
    actor may not review it, Invalid for no picture of it, Conflict where it is not prepared yet.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    rows = exams.pictures(session, [study.id])[study.id]
    instance = next((row for row in rows if str(row.id) == str(picture)), None)
    if instance is None:
        raise Invalid("picture", _("Name one of the case's pictures by its id."))
    if instance.sealed_facts is None or not instance.rows or not instance.columns:
        raise Conflict("not_ready", _("The picture is not prepared: there is nothing to draw on."))
    return study, instance


def checked(instance: Instance, rows: Any, columns: Any, sent: Any) -> tuple[bytes, list[Run]]:
    """An outline's bytes and its runs; Invalid unless it is one of this picture's size."""
    if not isinstance(sent, bytes):
        raise Invalid("runs", _("Send the outline's runs."))
    if (rows, columns) != (instance.rows, instance.columns):
        raise Invalid(
            "size",
            _(
                "The outline is of %(columns)s × %(rows)s pixels, as its picture. "
                "This one is of another picture.",
                columns=instance.columns,
                rows=instance.rows,
            ),
        )
    try:
        return sent, outline_runs.decode(sent, rows, columns)
    except BadRuns as bad:
        raise Invalid(bad.code, bad.message) from bad
