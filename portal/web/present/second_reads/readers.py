"""What a team with too few readers can't do, in words."""

from portal.languages import _
from portal.teams.readers import TO_DECIDE


def too_few_readers(number: int) -> str:
    """Why second reads of a team with so many readers don't end, "" where they do."""
    if number >= TO_DECIDE:
        return ""
    if number == 2:
        return _(
            "The team has two readers. Where their findings differ, nobody can decide: the case "
            "waits until the team has a third reader."
        )
    if number == 1:
        return _(
            "The team has one reader. No colleague can read a case again: it waits until the team "
            "has more readers, three where two findings differ."
        )
    return _("The team has no reader, so no case is read.")
