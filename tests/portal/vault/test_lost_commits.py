"""A commit that succeeds while its answer is lost: the rows stand, so their files must."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.jobs import outcomes, sweeper, tickets
from portal.jobs.files import Output, read_input
from portal.models import Blob, BlobKind, Instance, JobState
from portal.reading import case
from portal.studies import sealed_fields
from tests.portal.jobs.test_sweeper import old
from tests.portal.vault.test_vault import files
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.jobs import MEDIA_TYPES, facts_of, rendered
from tests.support.pictures import dicom, jpeg


class AnswerLost(Exception):
    """What the driver raises when the connection breaks after COMMIT was sent."""


@contextmanager
def losing(monkeypatch: pytest.MonkeyPatch, wanted: type, *, committed: bool) -> Iterator[None]:
    """The commit that writes a `wanted` row breaks: behind the database's back or before it."""
    commit = Session.commit

    def breaking(session: Session) -> None:
        session.flush()
        written = any(isinstance(row, wanted) for row in session.identity_map.values())
        if committed or not written:
            commit(session)
        if written:
            raise AnswerLost

    with monkeypatch.context() as patched:
        patched.setattr(Session, "commit", breaking)
        yield


def readable(clinic: Clinic, ticket: tickets.Ticket, kind: BlobKind) -> bytes:
    """A stored output's bytes, whether or not its attempt has ended."""
    with clinic.session as session:
        blob = session.scalars(
            select(Blob).where(Blob.job_id == ticket.job_id, Blob.kind == kind)
        ).one()
        instance = session.get_one(Instance, blob.instance_id)
        data_key = sealed_fields.instance_key_of(clinic.core.vault, instance)
    return clinic.core.vault.get(data_key, blob_id=blob.id, kind=blob.kind, name=blob.name)


def test_an_upload(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom()
    with losing(monkeypatch, Blob, committed=True), pytest.raises(AnswerLost):
        clinic.submit(data)
    again = clinic.submit(data)
    assert again.duplicate
    ticket = clinic.claim(clinic.job(again.study_id).id)
    assert ticket is not None
    with clinic.session as session:
        assert read_input(session, clinic.vault, ticket, "source")[0] == data


def test_an_output(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = clinic.claim(clinic.job(clinic.submit().study_id).id)
    assert ticket is not None
    with losing(monkeypatch, Blob, committed=True), pytest.raises(AnswerLost):
        clinic.store(ticket, thumb=jpeg(inside=b"thumb"))
    assert readable(clinic, ticket, BlobKind.THUMB) == jpeg(inside=b"thumb")


def test_a_result_with_its_outputs(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    study_id = clinic.submit().study_id
    ticket = clinic.claim(clinic.job(study_id).id)
    assert ticket is not None
    sent = [Output(kind, MEDIA_TYPES[kind], data) for kind, data in rendered(8, 6).items()]
    result = {"facts": facts_of(8, 6)}
    with (
        losing(monkeypatch, Blob, committed=True),
        pytest.raises(AnswerLost),
        clinic.session as session,
    ):
        outcomes.finish(session, clinic.vault, ticket, result, NOW, sent)
    assert clinic.state_of(ticket.job_id) is JobState.DONE
    with clinic.session as session:
        assert outcomes.finish(session, clinic.vault, ticket, result, NOW, sent) is None
        for kind, data in rendered(8, 6).items():
            found = case.read_blob(session, clinic.vault, clinic.mate, study_id, kind, NOW)
            assert found.data == data


def test_what_was_not_committed_is_left_to_the_sweep(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    with losing(monkeypatch, Blob, committed=False), pytest.raises(AnswerLost):
        clinic.submit()
    (left,) = files(clinic.core.data_dir)
    now = datetime.now(UTC)
    due = now + timedelta(minutes=(int(left.parent.name, 16) - int(now.timestamp()) // 60) % 256)
    with clinic.session as session:
        assert session.scalars(select(Blob)).all() == []
    old(left)
    with clinic.session as session:
        assert sweeper.tidy(session, clinic.vault, due) == 1
    assert files(clinic.core.data_dir) == []
