"""What the viewer remembers of a person: the same in every browser, and nothing of a patient."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Actor, Permission
from portal.errors import Invalid
from portal.languages import _
from portal.models import OverlayMode, OverlayShown, User, ViewerPreferences

# A window of the picture's own header by its place, or one that Pleura offers for every picture.
PRESETS: Final = (*(f"window-{place}" for place in range(1, 7)), "lung", "soft", "bone", "full")

# The least and the greatest diameter of the brush.
BRUSH: Final = {"brush_mm": (0.5, 100.0), "brush_px": (1.0, 1000.0)}

# Whether the latest prior hangs beside by itself, and whether its place and window go along.
LINKS: Final = ("beside", "link_place", "link_window")


@dataclass(frozen=True, slots=True)
class Preferences:
    """What was chosen last. At first a thin outline without fill: the film before the machine."""

    overlay: OverlayShown = OverlayShown.ON
    mode: OverlayMode = OverlayMode.OUTLINE
    inverted: bool = False
    preset: str = PRESETS[0]
    brush_mm: float = 8.0
    brush_px: int = 40
    beside: bool = True
    link_place: bool = True
    link_window: bool = False

    def as_json(self) -> dict[str, Any]:
        """For the viewer."""
        return asdict(self)


def preferences_of(session: Session, actor: Actor) -> Preferences:
    """What the actor chose last."""
    row = session.get(ViewerPreferences, actor.user_id)
    session.commit()
    if row is None:
        return Preferences()
    return Preferences(**{name: getattr(row, name) for name in Preferences.__dataclass_fields__})


def save_preferences(session: Session, actor: Actor, sent: Mapping[str, Any]) -> None:
    """Remember what the viewer sends: four values, and the sizes of the brush and what hangs beside
    where they were chosen. Raises Invalid for anything else.
    """
    actor.require(Permission.STUDY_READ)
    overlay, mode, inverted, preset = (
        sent.get(name) for name in ("overlay", "mode", "inverted", "preset")
    )
    if (
        overlay not in tuple(OverlayShown)
        or mode not in tuple(OverlayMode)
        or not isinstance(inverted, bool)
        or preset not in PRESETS
    ):
        raise Invalid(
            "preferences", _("Send overlay, mode, inverted and preset as the viewer does.")
        )
    brush = _brush(sent)
    links = {name: sent[name] for name in LINKS if name in sent}
    if not all(isinstance(value, bool) for value in links.values()):
        raise Invalid("preferences", _("%(names)s are true or false.", names=", ".join(LINKS)))
    # Two tabs of one person wait for each other.
    mine = select(User.id).where(User.id == actor.user_id)
    session.execute(mine.with_for_update(key_share=True))
    before = session.get(ViewerPreferences, actor.user_id, populate_existing=True)
    kept = Preferences() if before is None else before
    chosen = Preferences(
        OverlayShown(overlay),
        OverlayMode(mode),
        inverted,
        preset,
        brush.get("brush_mm", kept.brush_mm),
        int(brush.get("brush_px", kept.brush_px)),
        **{name: links.get(name, getattr(kept, name)) for name in LINKS},
    )
    session.merge(ViewerPreferences(user_id=actor.user_id, **chosen.as_json()))
    session.commit()


def _brush(sent: Mapping[str, Any]) -> dict[str, float]:
    """The diameters that were sent, as far as they are in their bounds."""
    found = {name: sent[name] for name in BRUSH if name in sent}
    for name, value in found.items():
        least, most = BRUSH[name]
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not least <= value <= most  # a number that is none is in no bounds
        ):
            raise Invalid(
                "brush",
                _(
                    "%(name)s is a number from %(least)s to %(most)s.",
                    name=name,
                    least=format(least, "g"),
                    most=format(most, "g"),
                ),
            )
    return found
