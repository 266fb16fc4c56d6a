"""When a connection needs TLS, and a worker that refuses to go without or to the wrong server."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError
from redis.retry import Retry

from tests.support.servers.tls_front import Authority, tls_front
from worker.contract.tls import is_here, redis_problem
from worker.settings import BadSettings, Settings, check_redis


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("", True),
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("/run/postgresql", True),
        ("redis", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
    ],
)
def test_what_is_this_machine(host: str, here: bool) -> None:
    assert is_here(host) is here


@pytest.mark.parametrize(
    ("url", "plain_hosts", "reason"),
    [
        ("redis://:pw@redis/0", (), "must start with rediss://"),
        ("redis://:pw@redis/0", ("redis",), None),
        ("redis://:pw@redis/0", ("redis.example.org",), "must start with rediss://"),
        ("redis://:pw@127.0.0.1/0", (), None),
        ("redis+socket://:pw@/run/redis.sock", (), None),
        ("rediss://:pw@redis/0", (), "PLEURA_TLS_CA_FILE must be set"),
        ("rediss://:pw@redis/0?ssl_cert_reqs=none", ("redis",), "no options of TLS"),
        ("", (), None),
    ],
)
def test_when_redis_needs_tls(url: str, plain_hosts: tuple[str, ...], reason: str | None) -> None:
    problem = redis_problem(url, None, plain_hosts)
    assert (reason in (problem or "")) if reason else problem is None
    assert "pw" not in (problem or "")


def worker(redis_url: str, ca_file: Path | None = None) -> Settings:
    environ = {
        "REDIS_URL": redis_url,
        "PLEURA_PORTAL_URL": "http://127.0.0.1:8000",
        "PLEURA_WORKER_TOKEN": "x",
    }
    if ca_file is not None:
        environ["PLEURA_TLS_CA_FILE"] = str(ca_file)
    return Settings.from_env(environ)


def test_a_workers_celery_checks_the_certificate_of_redis(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")  # read when the module is imported
    monkeypatch.setenv("PLEURA_PORTAL_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PLEURA_WORKER_TOKEN", "x")
    make_app = import_module("worker.celery_app").make_app
    ours, another = (Authority.make(tmp_path, name) for name in ("Ours", "Another"))
    password, behind = quote(urlsplit(redis_url).password or ""), Path(urlsplit(redis_url).path)
    for authority, accepted in ((ours, True), (another, False)):
        with tls_front(behind, authority.issue("localhost")) as port:
            settings = worker(f"rediss://:{password}@localhost:{port}/0", ours.file)
            app = make_app(settings)
            if accepted:
                check_redis(settings)
                with app.connection_for_read() as connection:
                    assert connection.default_channel.client.ping()
                continue
            with pytest.raises(BadSettings, match="is not accepted: unable to get local"):
                check_redis(settings)
            once = Retry(NoBackoff(), 0)  # Celery itself tries for some seconds
            client = Redis.from_url(settings.redis_url, retry=once, **app.conf.broker_use_ssl)
            with pytest.raises(ConnectionError, match="certificate verify failed"):
                client.ping()


def test_a_worker_does_not_start_without_tls_to_another_host(tmp_path: Path) -> None:
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PLEURA", "REDIS"))},
        "REDIS_URL": "redis://:pw@redis.example.org/0",
        "PLEURA_PORTAL_URL": "http://127.0.0.1:8000",
        "PLEURA_WORKER_TOKEN": "x",
        "PLEURA_WORKER_STATE": str(tmp_path),
    }
    command = [sys.executable, "-m", "worker", "render"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("worker: REDIS_URL must start with rediss://")
