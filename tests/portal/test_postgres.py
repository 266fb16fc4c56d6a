"""A PostgreSQL that does not answer: whoever asks it gives up, and the portal goes on.

Behind a front that accepts and holds back everything, as a frozen server does.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from portal import database, postgres
from portal.models import Role, db
from portal.operations import doctor, scheduler
from portal.server import limits
from portal.settings import Settings
from tests.support.core import Core, make_settings
from tests.support.portal_app import make_app, make_person, sign_in
from tests.support.postgres import postgres as postgres_server
from tests.support.served.portal import REAL_LIMITS, serve
from tests.support.servers.stopping_front import StoppingFront, stopping_front
from tests.support.wait import only_on_postgresql, until


@pytest.fixture
def front(core: Core) -> Iterator[StoppingFront]:
    only_on_postgresql(core.engine)
    folder = Path(str(core.engine.url.query["host"]))
    (behind,) = (path for path in folder.glob(".s.PGSQL.*") if path.is_socket())
    with stopping_front(behind) as front:
        yield front


def behind_front(core: Core, front: StoppingFront, **query: str) -> Settings:
    url = make_url(core.settings.database_url).set(host="127.0.0.1", port=front.port, query=query)
    address = url.render_as_string(hide_password=False)
    return make_settings(core.data_dir, DATABASE_URL=address)


def test_who_asks_a_server_that_answers_no_more_gives_up(core: Core, front: StoppingFront) -> None:
    options = database.request_engine_options(behind_front(core, front))
    options["connect_args"]["answer_seconds"] = 1.0
    engine = create_engine(behind_front(core, front).database_url, **options)
    with ThreadPoolExecutor(1) as pool, engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        front.open.clear()
        asked = pool.submit(connection.scalar, text("SELECT 2"))
        try:
            with pytest.raises(OperationalError) as given_up:
                asked.result(60)
        finally:
            front.open.set()
        assert given_up.value.connection_invalidated
    with engine.connect() as connection:  # and no answer is taken for that of another question
        assert connection.scalar(text("SELECT 3")) == 3
    engine.dispose()


def test_the_server_ends_what_takes_a_request_too_long(core: Core, front: StoppingFront) -> None:
    settings = behind_front(core, front, options="-c application_name=pleura")
    options = database.request_engine_options(settings)
    requests = create_engine(settings.database_url, **options)
    commands = database.open_engine(settings)

    def shown(connection: Any, name: str) -> str:
        return str(connection.scalar(text(f"SHOW {name}")))

    with requests.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert shown(connection, "statement_timeout") == f"{settings.statement_seconds}s"
        assert shown(connection, "max_parallel_workers_per_gather") == "0"
        assert shown(connection, "application_name") == "pleura"
        with postgres.allow(connection, 90):
            assert shown(connection, "statement_timeout") == "90s"
        assert shown(connection, "statement_timeout") == f"{settings.statement_seconds}s"
        connection.execute(text("SET statement_timeout = 1"))
        with pytest.raises(OperationalError, match="statement timeout") as ended:
            connection.execute(text("SELECT pg_sleep(60)"))
        assert not ended.value.connection_invalidated
        assert connection.scalar(text("SELECT 1")) == 1
    with commands.connect() as connection:
        assert shown(connection, "statement_timeout") == "0"
    for engine in (requests, commands):
        engine.dispose()


def test_a_network_that_swallows_everything_is_noticed(core: Core, front: StoppingFront) -> None:
    """The system ends such a connection by these; an address that names others keeps them."""
    settings = behind_front(core, front, keepalives_idle="40")
    engine = database.open_engine(settings)
    with engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        used = raw.info.get_parameters()
    engine.dispose()
    assert {name: used[name] for name in postgres.NETWORK if name in used} == {
        name: str(value) for name, value in (postgres.NETWORK | {"keepalives_idle": 40}).items()
    }


def test_whether_the_process_lives_is_answered_while_all_checks_wait(
    core: Core, front: StoppingFront
) -> None:
    address = behind_front(core, front).database_url
    crowd = 2 * limits.HEALTH_THREADS
    with (
        serve(core.data_dir, REAL_LIMITS, DATABASE_URL=address) as served,
        ThreadPoolExecutor(crowd + 1) as clients,
    ):
        assert served.answers("/health/ready")
        front.open.clear()
        before, waiting = front.stopped, list[Future[bool]]()

        def one_waits() -> bool:  # the first ones may get the answer of this second
            if not waiting or waiting[-1].done():
                waiting.append(clients.submit(served.answers, "/health/ready"))
            return front.stopped > before

        try:
            assert until(one_waits)
            waiting += [clients.submit(served.answers, "/health/ready") for _ in range(crowd)]
            assert served.answers("/health/live")
            assert not any(one.done() for one in waiting[-crowd:])
        finally:
            front.open.set()
        for one in waiting:
            one.result(90)
        assert until(lambda: served.answers("/health/ready"))


def test_whether_the_process_lives_is_no_query(tmp_path: Path) -> None:
    """Not even of who asks, by a browser that is signed in."""
    app: Flask = make_app(make_settings(tmp_path))
    client = sign_in(app, make_person(app, Role.READER))
    asked = list[object]()
    with app.app_context():
        event.listen(db.engine, "checkout", lambda *given: asked.append(given))
    assert client.get("/health/live").status_code == 200
    assert asked == []
    assert client.get("/worklist").status_code == 200
    assert asked != []


def test_pages_of_a_server_without_checksums_are_called_not_checked(
    core: Core, tmp_path: Path
) -> None:
    """It counts no page as wrong, whatever stands in it: that is no finding."""
    only_on_postgresql(core.engine)
    assert database.checks_its_pages(core.engine)
    with postgres_server(checksums=False) as address:
        app = make_app(make_settings(tmp_path / "data", DATABASE_URL=address))
        ready = app.test_client().get("/health/ready")
        assert (ready.status_code, ready.json["status"]) == (200, "degraded")
        assert ready.json["checks"]["integrity"] == "unchecked"
        page = sign_in(app, make_person(app, Role.ADMIN)).get("/admin/jobs").text
        assert "Pages of the database are not checked." in page
        with app.app_context():
            found = doctor.structure(db.engine)
            db.engine.dispose()
    assert (found.name, found.state) == ("integrity", "warning")
    assert "not checked" in found.text
    assert "pg_checksums --enable" in found.advice


def test_a_scheduler_gives_up_on_a_server_that_answers_no_more(
    core: Core, front: StoppingFront
) -> None:
    engine = database.open_engine(behind_front(core, front), scheduler.STATEMENT_SECONDS)
    with ThreadPoolExecutor(1) as pool, engine.connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "5min"
        raw: Any = connection.connection.driver_connection
        assert 300 <= raw.answer_seconds <= 310
        raw.answer_seconds = 1.0  # instead of waiting for so long
        front.open.clear()
        asked = pool.submit(connection.scalar, text("SELECT 2"))
        try:
            with pytest.raises(OperationalError):
                asked.result(60)
        finally:
            front.open.set()
    engine.dispose()
