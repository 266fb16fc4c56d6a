"""Filters in addresses: what is usual is left out, what is unknown is the usual."""

import pytest

from portal.web.present import list_filters

PLACE = f"0_1.5_{'ab' * 16}"
ROWS = [
    ({}, {}, "to_read"),
    ({"state": "to_read"}, {}, "to_read"),
    ({"state": "gone", "side": "up", "size": "1", "reader": "x", "days": "2"}, {}, "to_read"),
    ({"size": "10_to_30", "days": "7"}, {"size": "10_to_30", "days": "7"}, "to_read"),
    ({"reader": "mine"}, {"reader": "mine"}, "to_read"),
    ({"reader": "ab" * 16}, {"reader": "ab" * 16}, "to_read"),
    ({"state": "all"}, {"state": "all"}, ""),
    ({"state": "read", "side": "left"}, {"state": "read", "side": "left"}, "read"),
    ({"q": " 7F3A "}, {"q": "7F3A"}, ""),
    ({"q": "7F3A", "state": "to_read"}, {"q": "7F3A", "state": "to_read"}, "to_read"),
    ({"after": PLACE}, {}, "to_read"),
    ({"before": "9" * 200}, {}, "to_read"),
]


@pytest.mark.parametrize(("sent", "stated", "state"), ROWS)
def test_filters_of_an_address(sent: dict[str, str], stated: dict[str, str], state: str) -> None:
    found = list_filters.filters_of(sent)
    assert (found.args, found.query["state"]) == (stated, state)
    assert list_filters.filters_of(found.place) == found


def test_a_case_leads_back_to_its_page_of_the_list() -> None:
    for end in ("after", "before"):
        found = list_filters.filters_of({end: PLACE, "result": "likely"})
        assert found.place == {end: PLACE, "result": "likely"}
    assert list_filters.filters_of({"after": "<b>", "before": "1"}).place == {}


def test_what_is_remembered_of_a_list_is_neither_search_nor_page() -> None:
    found = list_filters.filters_of({"q": "~abc", "side": "left", "after": PLACE})
    assert (found.state, found.remembered) == ("all", {"side": "left"})
    chosen = list_filters.filters_of({"state": "all", "result": "likely"})
    assert chosen.remembered == {"state": "all", "result": "likely"}
