"""The second read on the case page: where it stands, and the findings once they may be seen."""

from dataclasses import dataclass

from portal.access import Actor, Permission
from portal.languages import _, lazy
from portal.reading.case_records import ReviewView, StudyView
from portal.studies.second_reads.progress import SecondReadView
from portal.web.present import review_view, wording
from portal.web.present.review_view import ReviewLine

_READERS = (lazy("First reader"), lazy("Second reader"), lazy("Third reader"))
_ASK = lazy(
    "Another reader of your team reads the case without seeing your finding or the AI result."
)


@dataclass(frozen=True)
class SecondReadPanel:
    """`note` is a sentence, "" for none; `lines`: each reader's finding under their part.

    `is_blind`: the case waits for this person as a second reader. `may_ask`: they can ask for one,
    once they have stated a finding; until then it is not shown.
    """

    note: str = ""
    lines: list[tuple[str, ReviewLine]] | None = None
    dice: str = ""
    is_blind: bool = False
    may_ask: bool = False
    is_shown: bool = True
    badge: str = ""  # in the page's head, where the case waits for this person
    ask_note: str = _ASK


def panel(view: StudyView, actor: Actor) -> SecondReadPanel:
    """The panel for this person."""
    found = view.second_read
    if found is None:
        has_read = any(one.reader_id == actor.user_id for one in view.reviews)
        return SecondReadPanel(may_ask=actor.may(Permission.REVIEW_WRITE), is_shown=has_read)
    counted = [one for i in found.reviews for one in view.reviews if one.review_id == i]
    is_open_to_see = found.step in ("disagreed", "agreed", "decided")
    shown = counted[::-1] if is_open_to_see else []
    lines = review_view.review_lines(shown, actor, view.picture.instance_id)
    return SecondReadPanel(
        note=_note(found, counted),
        lines=list(zip(_READERS, lines, strict=False)),
        dice="" if found.outline_dice is None else wording.fixed(found.outline_dice, 2),
        is_blind=found.step == "blind",
        badge=_badge(found),
    )


def _badge(found: SecondReadView) -> str:
    if found.step == "blind":
        return _("Second read")
    return _("Third read") if found.may_decide else ""


def _note(found: SecondReadView, counted: list[ReviewView]) -> str:
    match found.step:
        case "blind":
            return _(
                "This case waits for a second reader. Until you have stated your finding you see "
                "neither the first reader’s nor the AI result."
            )
        case "waiting" if found.is_drawn:
            return _("The case waits for a second reader (drawn by chance).")
        case "waiting" if found.asked_by:
            return _(
                "The case waits for a second reader (asked for by %(name)s).", name=found.asked_by
            )
        case "waiting":
            return _("The case waits for a second reader.")
        case "disagreed" if found.may_decide:
            return _("The findings of the two readers differ: yours decides.")
        case "disagreed":
            return _("The findings of the two readers differ: a third reader decides.")
        case "agreed":
            return _("Two readers agree: %(finding)s.", finding=_finding(counted))
        case "decided":
            return _("The third reader decided: %(finding)s.", finding=_finding(counted))


def _finding(counted: list[ReviewView]) -> str:
    finding = counted[-1].finding if counted else None
    return str(wording.FINDINGS_WITHIN[finding.value]) if finding else _("not stated")
