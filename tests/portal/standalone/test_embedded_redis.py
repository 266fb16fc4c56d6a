"""portal.standalone.embedded_redis: the Redis-compatible server of a machine that has none."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from portal.standalone import embedded_redis
from tests.support.wait import until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[embedded_redis.EmbeddedRedis]:
    server = embedded_redis.prepare(tmp_path / "redis")
    process = start(server)
    yield server
    process.terminate()
    process.wait()
    server.tidy()


def start(server: embedded_redis.EmbeddedRedis) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(server.command, stdout=subprocess.DEVNULL)
    assert until(server.answers)
    return process


def client(server: embedded_redis.EmbeddedRedis, user: str | None, word: str | None) -> redis.Redis:
    path = str(server.socket)
    return redis.Redis(
        unix_socket_path=path, username=user, password=word, retry=Retry(NoBackoff(), 0)
    )


def test_it_answers_by_password_on_a_private_socket_and_no_port(
    server: embedded_redis.EmbeddedRedis,
) -> None:
    assert server.answers()
    mode = stat.S_IMODE(server.socket.stat().st_mode)
    assert mode & 0o077 == 0
    info = client(server, None, server.password).info("server")
    assert info["tcp_port"] == 0


@pytest.mark.parametrize(("user", "word"), [(None, None), ("default", "x"), (None, "wrong")])
def test_nobody_else_is_let_in(
    server: embedded_redis.EmbeddedRedis, user: str | None, word: str | None
) -> None:
    with pytest.raises((redis.AuthenticationError, redis.ResponseError)):
        client(server, user, word).ping()


def test_who_is_let_in_can_queue_and_not_administer(server: embedded_redis.EmbeddedRedis) -> None:
    ours = client(server, None, server.password)
    ours.lpush("render", "1")
    assert ours.llen("render") == 1
    for command in (("CONFIG", "GET", "*"), ("FLUSHALL",), ("ACL", "LIST"), ("MODULE", "LIST")):
        with pytest.raises(redis.ResponseError, match="permissions"):
            ours.execute_command(*command)


def test_a_worker_reaches_the_queues_and_nothing_else(server: embedded_redis.EmbeddedRedis) -> None:
    portal = client(server, None, server.password)
    portal.set("throttle:somebody:tries", 5)
    worker = client(server, embedded_redis.WORKER, server.worker_password)
    worker.lpush("render", "1")
    assert worker.brpop(["render", "render\x06\x163"], timeout=1) == (b"render", b"1")
    worker.zadd("unacked_index", {"1": 1.0})
    for command in (
        ("GET", "throttle:somebody:tries"),
        ("DEL", "throttle:somebody:tries"),
        ("EVAL", "return redis.call('DEL', 'throttle:somebody:tries')", "0"),
        ("SET", "anything", "1"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "SETUSER", "worker", "~*"),
        ("SUBSCRIBE", "anything"),
    ):
        with pytest.raises(redis.ResponseError, match=r"(?i)permission|ACL"):
            worker.execute_command(*command)
    assert portal.get("throttle:somebody:tries") == b"5"


def test_what_was_queued_is_there_after_a_restart(tmp_path: Path) -> None:
    server = embedded_redis.prepare(tmp_path / "redis")
    process = start(server)
    client(server, None, server.password).lpush("render", "1")
    log = tmp_path / "redis" / "appendonlydir"
    assert until(lambda: any(b"render" in file.read_bytes() for file in log.iterdir()))
    process.kill()
    process.wait()
    again = embedded_redis.prepare(tmp_path / "redis")
    assert again.password == server.password
    process = start(again)
    assert client(again, None, again.password).llen("render") == 1
    process.terminate()
    process.wait()


def test_a_folder_too_deep_for_a_socket_gets_one_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    server = embedded_redis.prepare(deep)
    process = start(server)
    assert server.answers()
    assert not server.socket.is_relative_to(deep)
    process.terminate()
    process.wait()
    server.tidy()
    assert not server.socket.parent.exists()
