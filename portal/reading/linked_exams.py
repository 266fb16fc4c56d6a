"""The exam that a link from a PACS or RIS leads to, as far as the person may see it."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from portal.access import Actor, Denied, Permission, visible_studies
from portal.models import Study
from portal.studies import exams
from portal.teams.exam_links import Named


def exam_of(session: Session, actor: Actor, named: Named) -> UUID:
    """The exam of an accession number; of several the one that came last. Denied where the actor
    sees none: one that is not there looks like another team's.
    """
    actor.require(Permission.STUDY_READ)
    row = aliased(Study)
    here = select(exams.exam_id(row)).where(
        row.team_id == named.team_id, row.accession_key.in_(named.digests)
    )
    found = session.scalars(
        visible_studies(actor)
        .where(Study.id.in_(here))
        .order_by(Study.created.desc(), Study.id)
        .with_only_columns(Study.id)
        .limit(1)
    ).first()
    session.commit()
    if found is None:
        raise Denied("exam by link")
    return found
