"""Searching: keys, pages and fields, and what of an exam is found at all."""

import time
from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import select, update

from portal.access import Actor, Denied
from portal.dicomweb import candidates, search
from portal.dicomweb.attributes import ALWAYS, Level, is_if_known
from portal.dicomweb.queries import Query
from portal.dicomweb.records import Served
from portal.dicomweb.search import Found
from portal.formats.header_pool import HeaderPool
from portal.governance import joins, purges
from portal.models import AuditEvent, Blob, BlobKind, Instance, PurgeReason
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.hostile_files.damage import flipped
from tests.support.pictures import picture

STUDIES, SERIES, INSTANCES = Level.STUDIES, Level.SERIES, Level.INSTANCES


def address(one: Served, level: Level) -> str:
    return f"https://x.example/{level}/{one.sop_uid}"


def send(clinic: Clinic, minute: int = 0, **tags: Any) -> UUID:
    tags = {"SeriesInstanceUID": generate_uid()} | tags
    return clinic.submit(now=after(minutes=minute), **tags).study_id


def ask(clinic: Clinic, level: Level = STUDIES, actor: Actor | None = None, **asked: Any) -> Found:
    within = asked.pop("within", "")
    with clinic.session as session:
        return search.search(
            *(session, clinic.vault, actor or clinic.mate, level, Query(**asked)),
            *(address, NOW),
            within=within,
        )


def read(found: Found) -> list[Dataset]:
    return [Dataset.from_json(dict(one)) for one in found.matches]


def ids(found: Found) -> list[str]:
    return [str(one.PatientID) for one in read(found)]


def test_each_level_answers_with_the_standards_attributes(clinic: Clinic) -> None:
    send(clinic, InstanceNumber="3", SeriesNumber="2")
    for level in Level:
        (one,) = ask(clinic, level).matches
        wanted = {tag for tag in ALWAYS[level] if not is_if_known(tag)}
        missing = wanted - set(one) - ({"00280008"} if level is INSTANCES else set())
        assert missing == set(), level
    (study,) = read(ask(clinic))
    assert str(study.PatientName) == "PHANTOM^ONE"
    assert (study.StudyDate, study.StudyTime) == ("20260304", "084500")
    assert study.ModalitiesInStudy == "DX"
    assert (study.NumberOfStudyRelatedSeries, study.NumberOfStudyRelatedInstances) == (1, 1)
    assert study.InstanceAvailability == "ONLINE"
    assert study.RetrieveURL.startswith("https://x.example/studies/")
    assert "Rows" not in study
    (series,) = read(ask(clinic, SERIES))
    assert (series.Modality, series.SeriesNumber) == ("DX", 2)
    assert series.NumberOfSeriesRelatedInstances == 1
    (one,) = read(ask(clinic, INSTANCES))
    assert (one.Rows, one.Columns, one.BitsAllocated, one.InstanceNumber) == (8, 6, 16, 3)
    assert one.SOPClassUID == "1.2.840.10008.5.1.4.1.1.1.1"
    assert one.PatientID == "P-0001"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"patient_id": "P-A"}, ["P-A"]),
        ({"patient_id": "P-a"}, []),
        ({"patient_id": "P"}, []),
        ({"accession": "ACC-B"}, ["P-B"]),
        ({"study_uids": frozenset({"2.25.11", "2.25.13"})}, ["P-C", "P-A"]),
        ({"first_day": date(2026, 3, 2), "last_day": date(2026, 3, 2)}, ["P-B"]),
        ({"first_day": date(2026, 3, 2)}, ["P-C", "P-B"]),
        ({"last_day": date(2026, 3, 2)}, ["P-B", "P-A"]),
        ({"first_day": date(2027, 1, 1)}, []),
        ({"in_study": frozenset({"CR"})}, ["P-C"]),
        ({"in_study": frozenset({"MR"})}, []),
        ({"limit": 2}, ["P-C", "P-B"]),
        ({"limit": 2, "offset": 2}, ["P-A"]),
        ({"limit": 0}, []),
        ({"patient_id": "P-A", "accession": "ACC-B"}, []),
    ],
)
def test_studies_are_found_by_their_keys(
    clinic: Clinic, keys: dict[str, Any], expected: list[str]
) -> None:
    for number, name in enumerate("ABC"):
        send(
            clinic,
            number,
            PatientID=f"P-{name}",
            AccessionNumber=f"ACC-{name}",
            StudyInstanceUID=f"2.25.1{number + 1}",
            StudyDate=f"2026030{number + 1}",
            Modality="CR" if name == "C" else "DX",
        )
    found = ask(clinic, **keys)
    assert ids(found) == expected
    assert found.warnings == []


def test_series_and_instances_are_found_by_their_own_keys(clinic: Clinic) -> None:
    study = generate_uid()
    for number in (1, 2):
        send(
            clinic,
            number,
            StudyInstanceUID=study,
            SeriesInstanceUID=f"2.25.2{number}",
            SOPInstanceUID=f"2.25.3{number}",
            Modality="CR" if number == 2 else "DX",
        )
    assert len(ask(clinic).matches) == 1
    for keys in (
        {"series_uids": frozenset({"2.25.22"})},
        {"modalities": frozenset({"CR"})},
        {"sop_uids": frozenset({"2.25.32"})},
        {"sop_uids": frozenset({"2.25.32"}), "study_uids": frozenset({study})},
    ):
        (one,) = read(ask(clinic, INSTANCES, **keys))
        assert one.SOPInstanceUID == "2.25.32", keys
        if "sop_uids" not in keys:
            (series,) = read(ask(clinic, SERIES, **keys))
            assert series.SeriesInstanceUID == "2.25.22"
    assert len(ask(clinic, SERIES, within=study, study_uids=frozenset({study})).matches) == 2


def test_fields_are_included_where_the_header_has_them(clinic: Clinic) -> None:
    send(clinic, InstitutionName="Sample Clinic", PatientComments="none", StationName="R1")
    (plain,) = read(ask(clinic))
    assert "StudyDescription" not in plain
    (some,) = read(ask(clinic, include=frozenset({"00081030", "00080080", "00081010"})))
    assert (some.StudyDescription, some.InstitutionName) == ("Thorax", "Sample Clinic")
    assert "StationName" not in some  # of the series
    (everything,) = read(ask(clinic, include_all=True))
    assert everything.PatientComments == "none"
    (one,) = ask(clinic, INSTANCES, include_all=True).matches
    assert one["00081010"]["Value"] == ["R1"]
    assert "7FE00010" not in one


def test_pictures_that_no_address_can_name_are_not_found(clinic: Clinic) -> None:
    clinic.submit(data=picture())
    clinic.submit()  # without SeriesInstanceUID
    send(clinic, SOPInstanceUID=None)
    assert ask(clinic).matches == []
    first = send(clinic, 1, SOPInstanceUID="2.25.5", PatientID="P-1")
    other = send(clinic, 2, SOPInstanceUID="2.25.5", pixels=b"\1" * 96, PatientID="P-2")
    assert first != other
    assert ids(ask(clinic)) == ["P-1"]


def test_what_others_have_is_not_found(clinic: Clinic) -> None:
    study = generate_uid()
    send(clinic, StudyInstanceUID=study)
    assert ask(clinic, actor=clinic.outsider).matches == []
    with pytest.raises(Denied):
        ask(*(clinic, SERIES, clinic.outsider), within=study, study_uids=frozenset({study}))
    for actor in (clinic.owner, clinic.admin, clinic.auditor):
        with pytest.raises(Denied):
            ask(clinic, actor=actor)


def test_a_purged_exam_is_gone_and_a_joined_one_keeps_its_uid(clinic: Clinic) -> None:
    gone = send(clinic, PatientID="P-1")
    survivor = send(clinic, 1, StudyInstanceUID="2.25.61", PatientID="P-2")
    absorbed = send(clinic, 2, StudyInstanceUID="2.25.62", PatientID="P-2")
    with clinic.session as session:
        purges.purge(session, clinic.vault, None, gone, after(days=1), reason=PurgeReason.TEST_DATA)
        joins.join(session, clinic.vault, None, survivor, absorbed, NOW)
    found = read(ask(clinic))
    assert sorted(one.StudyInstanceUID for one in found) == ["2.25.61", "2.25.62"]
    assert all(one.NumberOfStudyRelatedInstances == 1 for one in found)
    for uid in ("2.25.61", "2.25.62"):
        (one,) = read(ask(clinic, study_uids=frozenset({uid})))
        assert one.StudyInstanceUID == uid


def break_row(clinic: Clinic, study: UUID) -> None:
    with clinic.session as session:
        session.execute(
            update(Instance).where(Instance.study_id == study).values(sealed_phi=b"\0" * 60)
        )
        session.commit()


def break_file(clinic: Clinic, study: UUID) -> None:
    with clinic.session as session:
        name = session.scalars(
            select(Blob.name)
            .join(Instance, Instance.id == Blob.instance_id)
            .where(Instance.study_id == study, Blob.kind == BlobKind.SOURCE)
        ).one()
    path = clinic.core.data_dir / "blobs" / name[:2] / name
    path.write_bytes(flipped(path.read_bytes()))


@pytest.mark.parametrize("damage", [break_row, break_file])
def test_damage_of_one_exam_leaves_the_others(
    clinic: Clinic, damage: Callable[[Clinic, UUID], None]
) -> None:
    broken = send(clinic, PatientID="P-1")
    send(clinic, 1, PatientID="P-2")
    damage(clinic, broken)
    found = ask(clinic)
    assert ids(found) == ["P-2"]
    assert found.warnings == [search.LEFT_OUT]


def test_a_search_writes_one_row_that_names_what_was_shown(clinic: Clinic) -> None:
    first, second = send(clinic), send(clinic, 1)
    ask(clinic, limit=1)
    with clinic.session as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.seq.desc()).limit(2)).all()
    assert rows[0].event == "dicomweb_searched"
    assert rows[1].event != "dicomweb_searched"
    assert second.hex in rows[0].detail
    assert first.hex not in rows[0].detail
    assert "P-0001" not in rows[0].detail


def test_a_search_that_would_read_too_much_ends_with_a_warning(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(3):
        send(clinic, minute)
    monkeypatch.setattr(search, "MOST_HEADERS", 1)
    found = ask(clinic)
    assert len(found.matches) == 1
    assert found.warnings == [search.INCOMPLETE]
    # What was read is in memory: the same again gets further.
    assert len(ask(clinic).matches) == 2
    monkeypatch.setattr(candidates, "MOST_EXAMS", 2)
    found = ask(clinic, limit=0)
    assert found.warnings == []


@pytest.mark.parametrize("keys", [{}, {"in_study": frozenset({"CR"})}], ids=["shown", "sought"])
def test_a_search_whose_headers_take_long_ends_with_a_warning(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    for minute in range(3):
        send(clinic, minute, Modality="DX" if minute else "CR")
    asked, ask_pool = list[str](), HeaderPool.ask

    def slow(pool: HeaderPool, what: Any, data: bytes, **more: Any) -> Any:
        asked.append(what["what"])
        time.sleep(0.3)
        return ask_pool(pool, what, data, **more)

    monkeypatch.setattr(HeaderPool, "ask", slow)
    monkeypatch.setattr(search, "MOST_SECONDS", 0.25)
    found = ask(clinic, **keys)
    assert asked == ["elements"]
    assert len(found.matches) == (0 if keys else 1)
    assert found.warnings == [search.INCOMPLETE]


def test_a_search_without_headers_has_an_end_too(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(clinic)
    monkeypatch.setattr(search, "MOST_SECONDS", -1.0)
    found = ask(clinic, offset=5)
    assert (found.matches, found.warnings) == ([], [search.INCOMPLETE])
