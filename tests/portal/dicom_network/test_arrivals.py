"""What a data set that comes by C-STORE takes of the database, and that its job is announced."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, select

from portal import database
from portal.dicom_network import arrivals
from portal.dicom_network.arrivals import Sent
from portal.dicom_network.storing import Answer
from portal.models import DicomNode, Instance, Job
from portal.services import Services, redis_client
from tests.support.clinic import Clinic
from tests.support.core import Clock
from tests.support.dicom.listening import add_node, settings_of
from tests.support.dicom.sender import DX
from tests.support.pictures import dicom
from xray_files.kinds import EXPLICIT

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def node(clinic: Clinic) -> DicomNode:
    return add_node(clinic)


def take(clinic: Clinic, node: DicomNode, uid: str, **environ: str) -> Answer:
    """The answer to a picture of this SOPInstanceUID, in a study of its own."""
    data = dicom(SOPInstanceUID=uid, StudyInstanceUID=f"{uid}.1", PatientID=uid)
    services = Services.open(settings_of(clinic, **environ), Clock())
    # Of a file its data set: behind the preamble and the meta information.
    start = data.index(b"\x02\x00\x00\x00UL") + 12
    start += int.from_bytes(data[start - 4 : start], "little")
    sent = Sent(DX, uid, DX, EXPLICIT, data[start:])
    try:
        return arrivals.take(services, clinic.core.sessions, node.id, "127.0.0.1", sent)
    finally:
        services.broker.close()


@pytest.fixture
def begun(clinic: Clinic) -> Iterator[list[str]]:
    """The beginnings of transactions on SQLite, while the test runs."""
    found = list[str]()

    def trace(statement: str) -> None:
        if statement.startswith("BEGIN"):
            found.append(statement)

    def watch(connection: Any, *_more: Any) -> None:
        connection.set_trace_callback(trace)

    event.listen(clinic.core.engine, "checkout", watch)
    yield found
    event.remove(clinic.core.engine, "checkout", watch)


@ON_SQLITE
def test_a_picture_takes_sqlites_write_lock_once(
    clinic: Clinic, node: DicomNode, begun: list[str], redis_url: str
) -> None:
    assert take(clinic, node, "1.2.3.1", REDIS_URL=redis_url).status == 0
    assert begun.count("BEGIN IMMEDIATE") == 1
    assert begun.count("BEGIN") > 0


def test_a_node_that_does_not_send_stores_nothing_that_was_not_asked_for(clinic: Clinic) -> None:
    node = add_node(clinic, sends=False, receives=True, host="127.0.0.1", port="104")
    assert take(clinic, node, "1.2.3.6").status == arrivals.NOT_AUTHORISED
    with clinic.session as session:
        assert session.scalars(select(Instance)).all() == []


@ON_SQLITE
def test_what_only_reads_waits_for_nobody_who_writes(
    clinic: Clinic, node: DicomNode, begun: list[str]
) -> None:
    assert take(clinic, node, "1.2.3.2").status == 0
    del begun[:]
    with clinic.core.engine.begin(), clinic.session as session:
        database.begin_reading(session)
        assert len(session.scalars(select(Instance)).all()) == 1
        database.begin_reading(session)  # within a transaction it changes nothing
        session.commit()
    assert begun == ["BEGIN IMMEDIATE", "BEGIN"]


def test_its_job_is_announced_and_marked_so(
    clinic: Clinic, node: DicomNode, redis_url: str
) -> None:
    redis = redis_client(redis_url)
    assert redis is not None
    redis.delete("render")
    assert take(clinic, node, "1.2.3.4", REDIS_URL=redis_url).status == 0
    with clinic.session as session:
        job = session.scalars(select(Job)).one()
        assert job.rung_at is not None
    (message,) = redis.lrange("render", 0, -1)
    assert str(job.id) in json.dumps(json.loads(message)["headers"])
    assert take(clinic, node, "1.2.3.4", REDIS_URL=redis_url).status == 0
    assert redis.llen("render") == 1, "a duplicate has no new job"


@pytest.mark.parametrize("url", ["", "redis+socket:///nowhere/redis.sock"])
def test_without_redis_the_sweep_announces_it_later(
    clinic: Clinic, node: DicomNode, url: str
) -> None:
    assert take(clinic, node, "1.2.3.5", REDIS_URL=url).status == 0
    with clinic.session as session:
        assert session.scalars(select(Job.rung_at)).one() is None
