"""The stream of an open worklist: for readers alone, what changes and nothing else."""

import json
from typing import Any
from uuid import uuid4

from flask import Flask

from portal.accounts import sessions
from portal.models import AuditEvent, User, db
from portal.web.present import list_arrivals
from tests.support.core import NOW, Clock
from tests.support.people import Person
from tests.support.portal_app import analyse, core_of, make_study, sign_in


def test_a_stream_sends_what_changes_until_the_login_ends(
    app: Flask, reader: Person, clock: Clock
) -> None:
    study, unlisted = make_study(app, reader), make_study(app, reader, 1)
    client = sign_in(app, reader)
    known = list_arrivals.stated(NOW, 0)
    answer = client.get(f"/worklist/events?ids={study},nonsense&known={known}")
    assert answer.content_type.startswith("text/event-stream")
    stream: Any = iter(answer.response)
    assert next(stream) == b"retry: 5000\n\n"

    def following() -> dict[str, Any]:
        for message in stream:
            if message.startswith(b"data: "):
                found: dict[str, Any] = json.loads(message.removeprefix(b"data: "))
                return found
        raise AssertionError("the stream has ended")

    clock.forward(minutes=1)
    make_study(app, reader, 2)
    first = following()
    while not first["rows"] and not first["arrived"]:
        first = following()
    assert (first["rows"], first["arrived"]) == ({}, 1)
    assert "<strong>3</strong> to read" in first["counts"]
    analyse(app, study)
    while "likely" not in str(first["rows"]):
        first = following()
    assert list(first["rows"]) == [str(study)]
    assert str(unlisted) not in json.dumps(first)
    with app.app_context():
        shown = db.session.query(AuditEvent).filter_by(event="results_read").all()
    assert [study.hex in row.detail for row in shown] == [True]
    with core_of(app).sessions() as session:
        sessions.close_sessions(session, session.get_one(User, reader.id).id, clock())
        session.commit()
    analyse(app, unlisted)
    rest = [message for message in stream if not message.startswith(b":")]
    assert rest == [b"event: ended\ndata: session\n\n"]  # the page asks no stream any more


def test_who_reads_nothing_has_no_stream(app: Flask, technologist: Person, reader: Person) -> None:
    client = sign_in(app, technologist)
    assert client.get(f"/worklist/events?ids={uuid4()}").status_code == 403
    assert 'data-stream-url=""' in client.get("/worklist").text
    assert "/worklist/events?known=" in sign_in(app, reader).get("/worklist").text


def test_a_page_that_is_too_old_or_forged_knows_no_arrivals() -> None:
    fresh = list_arrivals.stated(NOW, 7)
    assert list_arrivals.parse(fresh, NOW) == (NOW, 7)
    for text in ("", "x", "1.2", "nan.1", "1e99.1", f"{NOW.timestamp() + 60}.1", "1.x"):
        assert list_arrivals.parse(text, NOW) == (NOW, 0), text
