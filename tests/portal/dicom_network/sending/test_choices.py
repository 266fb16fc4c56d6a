"""What a node gets: only what is listed, and only where it can be sent."""

import pytest

from portal.dicom_network.sending import choices
from portal.errors import Invalid


@pytest.mark.parametrize(
    ("objects", "moments", "receives", "has_place", "code"),
    [
        (("zip",), ("result",), True, True, "objects"),
        (("sr",), ("always",), True, True, "moments"),
        ((), ("result",), True, True, "objects"),
        (("sr",), (), True, True, "moments"),
        (("sr",), ("result",), False, True, "objects"),
        (("sr",), ("result",), True, False, "host"),
    ],
)
def test_what_can_not_be_is_refused(
    objects: tuple[str, ...],
    moments: tuple[str, ...],
    receives: bool,
    has_place: bool,
    code: str,
) -> None:
    with pytest.raises(Invalid) as refused:
        choices.checked(objects, moments, receives=receives, has_place=has_place)
    assert refused.value.code == code


def test_nothing_is_chosen_unless_it_is() -> None:
    assert choices.checked((), (), receives=False, has_place=False) == choices.NOTHING
    chosen = choices.checked(("ko", "sr"), ("signature", "result"), receives=True, has_place=True)
    assert chosen == (("sr", "ko"), ("result", "signature"))
