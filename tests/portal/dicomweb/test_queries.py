"""What a search can be asked, and with which words the rest is refused."""

import contextlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.dicomweb import queries
from portal.dicomweb.attributes import KEYS, Level, keyword_of
from portal.dicomweb.queries import BadQuery, Query

STUDIES, SERIES, INSTANCES = Level.STUDIES, Level.SERIES, Level.INSTANCES


def asked(level: Level, **keys: str) -> Query:
    return queries.parse(level, keys.items())


@pytest.mark.parametrize("name", ["PatientID", "00100020"])
def test_a_key_is_a_keyword_or_a_tag(name: str) -> None:
    assert asked(STUDIES, **{name: " P-1 "}).patient_id == "P-1"


def test_every_key_is_known_at_its_level_and_below() -> None:
    values = {"StudyDate": "20260304", "Modality": "DX", "ModalitiesInStudy": "DX"}
    for level, above in ((STUDIES, 1), (SERIES, 2), (INSTANCES, 3)):
        for one in (STUDIES, SERIES, INSTANCES)[:above]:
            for tag in KEYS[one]:
                name = keyword_of(tag)
                assert asked(level, **{name: values.get(name, "1.2")}) != Query()


def test_lists_of_uids_and_codes_stand_between_commas() -> None:
    found = asked(SERIES, StudyInstanceUID="1.2,1.3", SeriesInstanceUID="1.4", Modality="DX,SR")
    assert found.study_uids == {"1.2", "1.3"}
    assert found.series_uids == {"1.4"}
    assert found.modalities == {"DX", "SR"}


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("20260304", (date(2026, 3, 4), date(2026, 3, 4))),
        ("20260304-20260401", (date(2026, 3, 4), date(2026, 4, 1))),
        ("20260304-", (date(2026, 3, 4), None)),
        ("-20260304", (None, date(2026, 3, 4))),
        ("", (None, None)),
        ("*", (None, None)),
    ],
)
def test_a_date_is_a_day_or_a_range(text: str, days: tuple[date | None, date | None]) -> None:
    found = asked(STUDIES, StudyDate=text)
    assert (found.first_day, found.last_day) == days


def test_modality_of_studies_is_that_of_their_series() -> None:
    assert asked(STUDIES, Modality="DX").in_study == {"DX"}


def test_fields_are_included_by_keyword_tag_and_all() -> None:
    found = queries.parse(
        STUDIES, [("includefield", "00081030,StationName"), ("includefield", "PatientAge")]
    )
    assert found.include == {"00081030", "00081010", "00101010"}
    assert not found.include_all
    assert asked(STUDIES, includefield="all").include_all


def test_a_page_is_bounded() -> None:
    assert asked(STUDIES).limit == queries.LIMIT
    found = asked(STUDIES, limit="100000", offset="7")
    assert (found.limit, found.offset) == (queries.MOST, 7)
    assert len(found.warnings) == 1


def test_fuzzy_matching_is_answered_with_the_standards_warning() -> None:
    assert asked(STUDIES, fuzzymatching="true").warnings == (queries.NOT_FUZZY,)
    assert asked(STUDIES, fuzzymatching="false").warnings == ()


@pytest.mark.parametrize(
    ("level", "keys", "word"),
    [
        (STUDIES, {"PatientName": "ZEBRA"}, "sealed"),
        (STUDIES, {"00100010": "Z*"}, "sealed"),
        (STUDIES, {"PatientID": "P-*"}, "whole"),
        (STUDIES, {"AccessionNumber": "A?"}, "whole"),
        (STUDIES, {"PatientID": "x" * 65}, "64"),
        (STUDIES, {"SeriesInstanceUID": "1.2"}, "keys of studies"),
        (SERIES, {"SOPInstanceUID": "1.2"}, "keys of series"),
        (STUDIES, {"Nonsense": "1"}, "keys of studies"),
        (STUDIES, {"StudyInstanceUID": "1.2.x"}, "UID"),
        (STUDIES, {"StudyDate": "2026"}, "YYYYMMDD"),
        (STUDIES, {"StudyDate": "-"}, "YYYYMMDD"),
        (STUDIES, {"StudyDate": "20260401-20260301"}, "YYYYMMDD"),
        (STUDIES, {"StudyDate": "20260231"}, "YYYYMMDD"),
        (STUDIES, {"ModalitiesInStudy": "d*"}, "code"),
        (STUDIES, {"limit": "-1"}, "whole number"),
        (STUDIES, {"offset": "x"}, "whole number"),
        (STUDIES, {"offset": "999999999"}, "offset"),
        (STUDIES, {"includefield": "NoSuchThing"}, "keyword"),
        (STUDIES, {"fuzzymatching": "1"}, "true or false"),
    ],
)
def test_what_cannot_be_matched_is_refused_with_words(
    level: Level, keys: dict[str, str], word: str
) -> None:
    with pytest.raises(BadQuery) as refused:
        queries.parse(level, keys.items())
    assert word in refused.value.message
    assert "ZEBRA" not in refused.value.message


def test_a_key_twice_is_refused() -> None:
    with pytest.raises(BadQuery):
        queries.parse(STUDIES, [("PatientID", "1"), ("00100020", "2")])
    with pytest.raises(BadQuery):
        queries.parse(STUDIES, [("limit", "1"), ("limit", "2")])


_NAMES = st.sampled_from(
    [
        *("PatientID", "00100020", "PatientName", "StudyDate", "limit", "offset", "includefield"),
        *("ModalitiesInStudy", "Modality", "StudyInstanceUID", "SOPInstanceUID", "fuzzymatching"),
        *("accept", "", "0010", "StudyTime"),
    ]
)


@given(
    st.sampled_from(list(Level)),
    st.lists(st.tuples(_NAMES | st.text(max_size=12), st.text(max_size=80)), max_size=6),
)
def test_any_query_is_read_or_refused(level: Level, keys: list[tuple[str, str]]) -> None:
    with contextlib.suppress(BadQuery):
        assert 0 <= queries.parse(level, keys).limit <= queries.MOST
