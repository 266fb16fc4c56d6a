"""How a picture was shown when its exam was signed: window, zoom, turn, layers, threshold.

It comes from the page (static/js/viewer/view_state.js) and is checked against bounds. It holds
numbers, codes and ids alone, so nothing about the patient.
"""

from collections.abc import Collection
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from portal.errors import Invalid
from portal.languages import _

_Number = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_MOST: Final = 4


class _Part(BaseModel):
    """What a later version of the viewer sends beside these is left out."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Window(_Part):
    """Centre and width in the picture's grey values."""

    centre: _Number
    width: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    inverted: bool


class Place(_Part):
    """Which part of the picture was in sight: `x`, `y` is the pixel in the middle, `zoom` that of
    the size which fits the film, `turn` in quarters to the right.
    """

    fitted: bool
    zoom: Annotated[float, Field(gt=0, le=1e4, allow_inf_nan=False)]
    x: _Number
    y: _Number
    turn: Annotated[int, Field(ge=0, le=3)]
    flipped: bool


class AiLayer(_Part):
    """How the model's outline was drawn over it."""

    setting: Literal["on", "key", "off"]
    shown: bool
    mode: Literal["outline", "fill", "heat"]
    opacity: _Share
    region: bool


class SeenView(_Part):
    """The view of one picture. `threshold` is of a pixel of the model's map; `outline`: whether the
    reader's was drawn; `shutter`: whether the edges that the sender hides were hidden.
    """

    picture: Annotated[str, Field(pattern=r"^[0-9a-f-]{32,36}$")]
    window: Window
    place: Place
    overlay: AiLayer
    threshold: _Share | None
    outline: bool
    shutter: bool


class _Views(_Part):
    pictures: Annotated[list[SeenView], Field(min_length=1, max_length=_MOST)]


def checked(sent: Any, pictures: Collection[UUID]) -> dict[str, Any] | None:
    """The views as they are stored, the one in the middle first; None where none were sent.

    Invalid for anything unexpected, or a first picture that is not one of the exam's `pictures`;
    others may be those of a prior beside it.
    """
    if sent is None:
        return None
    try:
        found = _Views.model_validate(sent)
        first = UUID(found.pictures[0].picture)
    except ValueError:  # pydantic's own is one, too
        raise Invalid("view", _("The view of the picture is not one that a page sends.")) from None
    if first not in pictures:
        raise Invalid("view", _("The view is of a picture of another case."))
    return found.model_dump(mode="json")
