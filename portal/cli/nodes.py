"""What the commands about DICOM and HL7 nodes share."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import Team
from portal.operations.context import Failed


def team_of(session: Session, name: str) -> UUID:
    """The id of the team of this name; Failed for none."""
    found = session.scalar(select(Team.id).where(Team.name == name))
    if found is None:
        raise Failed("There is no team of this name.")
    return found
