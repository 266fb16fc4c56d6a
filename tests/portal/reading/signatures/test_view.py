"""The view at a signature: what a page sends is kept as it is, anything else refused."""

from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest

from portal.errors import Invalid
from portal.reading.signatures import view

PICTURE = uuid4()
SENT: dict[str, Any] = {
    "pictures": [
        {
            "picture": str(PICTURE),
            "window": {"centre": 2047.5, "width": 4095, "inverted": False},
            "place": {
                "fitted": False,
                "zoom": 2.5,
                "x": 1200.25,
                "y": 800,
                "turn": 1,
                "flipped": True,
            },
            "overlay": {
                "setting": "on",
                "shown": True,
                "mode": "heat",
                "opacity": 0.7,
                "region": False,
            },
            "threshold": 0.45,
            "outline": True,
            "shutter": False,
        }
    ]
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    sent = deepcopy(SENT)
    part: Any = sent
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = to
    return sent


def test_a_view_is_kept_as_it_was_sent() -> None:
    assert view.checked(SENT, [PICTURE]) == SENT
    assert view.checked(None, [PICTURE]) is None
    assert view.checked(changed("pictures", 0, "threshold", to=None), [PICTURE]) is not None


def test_what_a_later_viewer_sends_beside_it_is_left_out() -> None:
    assert view.checked(changed("pictures", 0, "note", to="ZEBRA"), [PICTURE]) == SENT


def test_a_prior_may_stand_beside_the_picture() -> None:
    prior = changed("pictures", 0, "picture", to=str(uuid4()))["pictures"]
    assert view.checked({"pictures": SENT["pictures"] + prior}, [PICTURE]) is not None
    with pytest.raises(Invalid):
        view.checked({"pictures": prior + SENT["pictures"]}, [PICTURE])


@pytest.mark.parametrize(
    "sent",
    [
        "text",
        [],
        {},
        {"pictures": []},
        {"pictures": SENT["pictures"] * 5},
        changed("pictures", 0, "picture", to="-" * 32),
        changed("pictures", 0, "picture", to=7),
        changed("pictures", 0, "window", "width", to=float("nan")),
        changed("pictures", 0, "window", "width", to=1e9),
        changed("pictures", 0, "window", "centre", to="2047"),
        changed("pictures", 0, "place", "zoom", to=0),
        changed("pictures", 0, "place", "turn", to=4),
        changed("pictures", 0, "overlay", "mode", to="CANARY^ZEBRA"),
        changed("pictures", 0, "overlay", "opacity", to=1.5),
        changed("pictures", 0, "threshold", to=-0.1),
        changed("pictures", 0, "outline", to=1),
    ],
)
def test_anything_else_is_refused(sent: Any) -> None:
    with pytest.raises(Invalid) as bad:
        view.checked(sent, [PICTURE])
    assert bad.value.code == "view"
