"""What waits for each reader of a team that does not show the AI result at once, for all of them
together: as many statements for one reader as for any number.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from portal import database
from portal.access import Actor, visible_studies
from portal.models import READ, Study
from portal.reading import worklist
from portal.reading.worklist import Counts
from portal.studies import worklist_order
from portal.teams import ai_visibility


def of_each(session: Session, readers: Sequence[Actor]) -> dict[UUID, Counts]:
    """`worklist.waiting` of each of these readers of one team, by person. Only where rows are
    damaged it is looked up for each by itself; then the session is rolled back.
    """
    try:
        return _of_each(session, readers)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
    return {
        one.user_id: worklist.waiting(session, one, ai_visibility.visible_in_lists(session, one))
        for one in readers
    }


def _of_each(session: Session, readers: Sequence[Actor]) -> dict[UUID, Counts]:
    """As `worklist_filters.to_read` has it: what nobody has read waits for everybody; the few exams
    in which the AI found something after they were read wait for who may see that.
    """
    listed = visible_studies(readers[0])
    unread = listed.where(Study.rank < READ)
    unseen = worklist_order.count(session, unread.where(Study.is_seen.is_(False)))
    late = session.scalars(
        unread.where(Study.is_seen.is_(True), ai_visibility.is_ever_shown()).with_only_columns(
            Study.id
        )
    ).all()
    hidden = ai_visibility.hidden_results(session, late)
    to_read = {one.user_id: unseen + len(late) - len(hidden.of(one, late)) for one in readers}
    is_empty = not all(to_read.values()) and worklist_order.count(session, listed, 1) == 0
    return {
        person: Counts(number, None, None, is_empty and number == 0)
        for person, number in to_read.items()
    }
