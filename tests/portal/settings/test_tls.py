"""TLS to PostgreSQL and Redis: certificates are checked, and production refuses to go without."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from portal import database
from portal.jobs.broker import Broker
from portal.models import JobKind
from portal.services import redis_client
from portal.settings import Settings, SettingsError, tls
from portal.web import create_app
from tests.portal.settings.test_settings import PRODUCTION
from tests.support.servers.tls_front import Authority, tls_front


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("another"), "Another authority")


def settings(folder: Path, ca_file: Path | None, **environ: str) -> Settings:
    given = {"PLEURA_ENV": "test", "PLEURA_DATA_DIR": str(folder)} | environ
    if ca_file is not None:
        given["PLEURA_TLS_CA_FILE"] = str(ca_file)
    return Settings.from_env(given)


# Redis


def redis_address(redis_url: str, port: int, host: str = "localhost") -> str:
    password = urlsplit(redis_url).password or ""
    return f"rediss://:{quote(password)}@{host}:{port}/0"


def redis_socket(redis_url: str) -> Path:
    return Path(urlsplit(redis_url).path)


def test_redis_is_reached_by_tls_by_throttle_and_broker(
    tmp_path: Path, redis_url: str, ours: Authority
) -> None:
    with tls_front(redis_socket(redis_url), ours.issue("localhost")) as port:
        made = settings(tmp_path, ours.file, REDIS_URL=redis_address(redis_url, port))
        client = redis_client(made.redis_url, made.redis_tls)
        assert client is not None
        assert client.ping()
        broker = Broker(made.redis_url, tls=made.redis_tls)
        before = broker.waiting(JobKind.RENDER)
        assert broker.notify(JobKind.RENDER, uuid4())
        assert broker.waiting(JobKind.RENDER) == (before or 0) + 1
        client.lpop(JobKind.RENDER.value)
        assert made.certificate_problems() == []
        broker.close()


WRONG = {
    "another authority": ("localhost", 2, "unable to get local issuer certificate"),
    "another host": ("elsewhere.example", 2, "Hostname mismatch"),
    "expired": ("localhost", -1, "certificate has expired"),
}


@pytest.mark.parametrize("wrong", list(WRONG))
def test_a_wrong_certificate_of_redis_stops_the_start_and_gets_nothing(
    tmp_path: Path, redis_url: str, ours: Authority, another: Authority, wrong: str
) -> None:
    host, days, reason = WRONG[wrong]
    authority = another if wrong == "another authority" else ours
    with tls_front(redis_socket(redis_url), authority.issue(host, days=days)) as port:
        made = settings(tmp_path, ours.file, REDIS_URL=redis_address(redis_url, port))
        with pytest.raises(SettingsError) as refused:
            create_app(made)
        (problem,) = refused.value.problems
        assert problem.startswith(f"REDIS_URL: The certificate of localhost:{port} is not accepted")
        assert reason in problem
        assert problem.endswith(".")
        assert not problem.endswith("..")
        assert not Broker(made.redis_url, tls=made.redis_tls).notify(JobKind.RENDER, uuid4())
        with pytest.raises(RedisConnectionError, match="certificate verify failed"):
            redis_client(made.redis_url, made.redis_tls).ping()  # type: ignore[union-attr]


def test_a_redis_that_is_away_stops_no_start(tmp_path: Path, ours: Authority) -> None:
    made = settings(tmp_path, ours.file, REDIS_URL="rediss://127.0.0.1:9/0")
    assert made.certificate_problems() == []


# PostgreSQL


@pytest.fixture(scope="module")
def postgres_socket(postgres_url: str) -> Path:
    folder = Path(str(make_url(postgres_url).query["host"]))
    (socket,) = (path for path in folder.glob(".s.PGSQL.*") if path.is_socket())
    return socket


@pytest.fixture(scope="module")
def postgres_tls(postgres_socket: Path, ours: Authority) -> Iterator[int]:
    with tls_front(postgres_socket, ours.issue("localhost"), postgres=True) as port:
        yield port


def database_address(postgres_url: str, port: int, **query: str) -> str:
    url = make_url(postgres_url).set(host="localhost", port=port, query=query)
    return url.render_as_string(hide_password=False)


@pytest.mark.postgres
def test_postgresql_is_reached_by_tls(
    tmp_path: Path, postgres_url: str, postgres_tls: int, ours: Authority
) -> None:
    address = database_address(postgres_url, postgres_tls, sslmode="verify-full")
    made = settings(tmp_path, ours.file, DATABASE_URL=address)
    assert made.certificate_problems() == []
    with database.open_engine(made).connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        raw: Any = connection.connection.driver_connection
        assert raw.pgconn.ssl_in_use


@pytest.mark.postgres
@pytest.mark.parametrize("wrong", list(WRONG))
def test_a_wrong_certificate_of_postgresql_stops_the_start_and_gets_nothing(
    tmp_path: Path,
    postgres_url: str,
    postgres_socket: Path,
    ours: Authority,
    another: Authority,
    wrong: str,
) -> None:
    host, days, reason = WRONG[wrong]
    authority = another if wrong == "another authority" else ours
    with tls_front(postgres_socket, authority.issue(host, days=days), postgres=True) as port:
        address = database_address(postgres_url, port, sslmode="verify-full")
        made = settings(tmp_path, ours.file, DATABASE_URL=address)
        with pytest.raises(SettingsError) as refused:
            create_app(made)
        (problem,) = refused.value.problems
        assert problem.startswith(f"DATABASE_URL: The certificate of localhost:{port} is not")
        assert reason in problem
        assert problem.endswith(".")
        assert not problem.endswith("..")
        with pytest.raises(OperationalError, match=r"certificate|host name"):
            database.open_engine(made).connect()


@pytest.mark.postgres
def test_a_postgresql_without_tls_is_refused(
    tmp_path: Path, postgres_url: str, postgres_socket: Path, ours: Authority
) -> None:
    with tls_front(postgres_socket, None, postgres=True) as port:
        address = database_address(postgres_url, port, sslmode="verify-full")
        made = settings(tmp_path, ours.file, DATABASE_URL=address)
        (problem,) = made.certificate_problems()
        assert problem == f"DATABASE_URL: The server at localhost:{port} offers no TLS."
        with pytest.raises(OperationalError, match="does not support SSL"):
            database.open_engine(made).connect()


# What production requires


def test_production_checks_certificates_of_other_hosts_by_default(ours: Authority) -> None:
    change = {"PLEURA_PLAIN_HOSTS": "", "REDIS_URL": "rediss://:pw@redis/0"}
    made = Settings.from_env(PRODUCTION | change | {"PLEURA_TLS_CA_FILE": str(ours.file)})
    assert made.database_tls == {
        "sslmode": "verify-full",
        "sslrootcert": str(ours.file),
        "gssencmode": "disable",
    }
    assert made.redis_tls["ssl_ca_certs"] == str(ours.file)


@pytest.mark.parametrize(
    "change",
    [
        {"DATABASE_URL": "postgresql+psycopg://p:x@127.0.0.1/p"},
        {"DATABASE_URL": "postgresql+psycopg://p:x@[::1]/p"},
        {"DATABASE_URL": "postgresql+psycopg://p:x@/p?host=/run/postgresql"},
        {"PLEURA_PLAIN_HOSTS": "db"},
    ],
)
def test_this_machine_and_listed_hosts_need_no_tls(change: dict[str, str]) -> None:
    redis = {"REDIS_URL": "redis+socket://:pw@/run/redis.sock", "PLEURA_PLAIN_HOSTS": ""}
    made = Settings.from_env(PRODUCTION | redis | change)
    assert (made.database_tls, made.redis_tls) == ({}, {})


REFUSED = {
    "plain Redis": ({"REDIS_URL": "redis://:pw@redis/0"}, r"^REDIS_URL must start with rediss://"),
    "TLS to Redis without authorities": (
        {"REDIS_URL": "rediss://:pw@redis/0", "PLEURA_TLS_CA_FILE": ""},
        "^PLEURA_TLS_CA_FILE must be set for TLS to Redis at redis",
    ),
    "Redis unchecked": ({"REDIS_URL": "rediss://redis/0?ssl_cert_reqs=none"}, "options of TLS"),
    "PostgreSQL without authorities": (
        {"PLEURA_TLS_CA_FILE": ""},
        "^PLEURA_TLS_CA_FILE must be set for TLS to PostgreSQL at db",
    ),
    "PostgreSQL plain": (
        {"DATABASE_URL": "postgresql+psycopg://p:x@db/p?sslmode=disable"},
        "^DATABASE_URL: sslmode must be verify-full for db",
    ),
    "PostgreSQL unchecked": (
        {"DATABASE_URL": "postgresql+psycopg://p:x@db/p?sslmode=require"},
        "sslmode must be verify-full",
    ),
    "PostgreSQL, one of several hosts": (
        {"DATABASE_URL": "postgresql+psycopg://p:x@/p?host=localhost,db&sslmode=prefer"},
        "sslmode must be verify-full for db",
    ),
    "another host by libpq's variables": (
        {"DATABASE_URL": "postgresql+psycopg://p:x@/p", "PGHOST": "db"},
        "^PGHOST must not be set",
    ),
    "another address for this machine's name": (
        {"DATABASE_URL": "postgresql+psycopg://p:x@localhost/p", "PGHOSTADDR": "192.0.2.7"},
        "^PGHOSTADDR must not be set",
    ),
    "a service by libpq's variables": ({"PGSERVICE": "other"}, "^PGSERVICE must not be set"),
    "a service in the address": (
        {"DATABASE_URL": "postgresql+psycopg://p:x@/p?service=other"},
        "^DATABASE_URL must hold no service",
    ),
    "TLS by libpq's variables": ({"PGSSLMODE": "disable"}, "^PGSSLMODE must not be set"),
    "no such file": ({"PLEURA_TLS_CA_FILE": "/nowhere.pem"}, "^PLEURA_TLS_CA_FILE can't be read"),
    "no certificates": ({"PLEURA_TLS_CA_FILE": __file__}, "holds no certificates"),
}


@pytest.mark.postgres
@pytest.mark.parametrize(
    "path",
    [
        "PGHOST=localhost PGPORT={port}",
        "PGHOSTADDR=127.0.0.1 PGPORT={port}",
        "PGSERVICE=other PGSERVICEFILE={file}",
    ],
)
def test_what_leads_libpq_elsewhere_is_refused(
    tmp_path: Path,
    postgres_url: str,
    postgres_socket: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    """By libpq's own doing: these do lead to another server than the address names."""
    file = tmp_path / "services"
    with tls_front(postgres_socket, None, postgres=True) as port:
        file.write_text(f"[other]\nhost=localhost\nport={port}\n", "utf-8")
        variables = dict(one.split("=") for one in path.format(port=port, file=file).split())
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        url = make_url(postgres_url).set(query={})
        address = url.render_as_string(hide_password=False)
        with database.open_engine(settings(tmp_path, None, DATABASE_URL=address)).connect() as made:
            raw: Any = made.connection.driver_connection
            assert raw.info.port == port
    change = {"DATABASE_URL": "postgresql+psycopg://p:x@/p", **variables}
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(PRODUCTION | change)
    assert {one.split()[0] for one in refused.value.problems} == set(variables)
    Settings.from_env(PRODUCTION | change | dict.fromkeys(variables, ""))


def test_every_variable_of_libpq_about_server_and_encryption_is_known() -> None:
    """libpq lists its own variables; a new one of a later version shows up here."""
    beside = {
        *("PGUSER", "PGPASSWORD", "PGPASSFILE", "PGDATABASE", "PGREQUIREAUTH", "PGCHANNELBINDING"),
        *("PGOPTIONS", "PGAPPNAME", "PGCLIENTENCODING", "PGCONNECT_TIMEOUT", "PGKRBSRVNAME"),
        *("PGGSSLIB", "PGGSSDELEGATION", "PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS"),
        *("PGSSLCERT", "PGSSLKEY", "PGSSLCERTMODE", "PGSSLCOMPRESSION", "PGREQUIREPEER"),
        *("PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION", "PGREPLICATION", "PGSSLKEYLOGFILE"),
        *("PGOAUTHDEBUG", "PGTTY", "PGDATESTYLE", "PGTZ", "PGGEQO", "PGLOCALEDIR"),
    }
    defaults = psycopg.pq.Conninfo.get_defaults()
    named = {one.envvar.decode() for one in defaults if one.envvar}
    assert named - beside - set(tls._LIBPQ_VARIABLES) == set()


@pytest.mark.parametrize("case", list(REFUSED))
def test_production_refuses(ours: Authority, case: str) -> None:
    change, reason = REFUSED[case]
    environ = PRODUCTION | {
        "REDIS_URL": "rediss://:pw@redis/0",
        "PLEURA_PLAIN_HOSTS": "",
        "PLEURA_TLS_CA_FILE": str(ours.file),
    }
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(environ | change)
    assert [one for one in refused.value.problems if re.search(reason, one)]
    assert ":pw@" not in str(refused.value)
