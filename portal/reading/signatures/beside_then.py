"""The picture beside at a signature, where it is of another exam: what is stored of it."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Actor, visible_studies
from portal.errors import Invalid
from portal.languages import _
from portal.models import Base, Instance, Outline, Prediction, Signature, Study
from portal.reading import other_exams
from portal.reading.case_records import StudyView
from portal.reading.viewing.beside import Choice
from portal.studies import exams, reader_outlines
from portal.teams import ai_visibility


def of_view(
    session: Session, actor: Actor, study: Study, kept: dict[str, Any] | None
) -> list[Instance]:
    """The pictures of a checked view that are of other exams. Invalid where the actor may not see
    one of them, or it is there no longer.
    """
    named = {UUID(one["picture"]) for one in (kept or {}).get("pictures", ())}
    own = {row.id for row in exams.pictures(session, [study.id])[study.id]}
    if not named - own:
        return []
    seen = visible_studies(actor).with_only_columns(Study.id).where(Study.team_id == study.team_id)
    rows = session.scalars(
        select(Instance)
        .where(Instance.id.in_(named - own), Instance.study_id.in_(seen))
        .order_by(Instance.id)
    ).all()
    if len(rows) < len(named - own):
        raise Invalid(
            "view",
            _("Not signed: the picture beside can no longer be opened. Close it (⇧V), then sign."),
        )
    return list(rows)


def records_of(session: Session, actor: Actor, rows: Collection[Instance]) -> list[Base]:
    """The newest prediction and outline of each of these pictures that the actor sees."""
    ids, pictures = {row.study_id for row in rows}, {row.id for row in rows}
    shown = ids - ai_visibility.hidden(session, actor, ids)
    predictions = exams.last_predictions(session, shown) if shown else {}
    found: list[Base] = [row for picture, row in predictions.items() if picture in pictures]
    reads = ai_visibility.readings(session, ids)
    for study_id in sorted(ids):
        newest = reader_outlines.newest_of_study(session, study_id, reads.authors(actor, study_id))
        found += [outline for picture, outline in newest.items() if picture in pictures]
    return found


def pictures_then(signature: Signature) -> list[UUID]:
    """The pictures that lay beside the one in the middle."""
    views = (signature.view or {}).get("pictures", ())
    return [UUID(one["picture"]) for one in views[1:]]


def named(session: Session, signature: Signature, picture: UUID) -> tuple[UUID | None, UUID | None]:
    """The prediction and the outline of a picture that the signature names."""
    by_table: dict[str, list[UUID]] = {"predictions": [], "outlines": []}
    for name in signature.hashes:
        table, _, row = name.partition("/")
        if table in by_table:
            by_table[table].append(UUID(row))
    prediction = select(Prediction.id).where(
        Prediction.id.in_(by_table["predictions"]), Prediction.instance_id == picture
    )
    outline = select(Outline.id).where(
        Outline.id.in_(by_table["outlines"]), Outline.instance_id == picture
    )
    return session.scalar(prediction), session.scalar(outline)


def choice_of(session: Session, study: Study, view: StudyView) -> Choice:
    """What a picture beside is called, as `viewing.beside` has it."""
    other = session.get_one(Study, view.study_id)
    ids = [one.instance_id for one in view.pictures]
    return Choice(
        study_id=view.study_id,
        picture=view.picture.instance_id,
        case_number=view.case_number,
        number=ids.index(view.picture.instance_id) + 1 if len(ids) > 1 else None,
        view=view.picture.view,
        exam_date="" if other.id == study.id else other_exams.exam_date(view.patient),
        seconds=None
        if study.acquired is None or other.acquired is None
        else study.acquired - other.acquired,
        is_same_exam=other.id == study.id,
        is_comparable=False,
    )
