"""worker.settings: which settings a worker accepts, and that a wrong one stops it by name."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from worker.settings import BadSettings, Settings, job_process_environment

GOOD = {
    "REDIS_URL": "redis://:password@127.0.0.1:6379/0",
    "PLEURA_PORTAL_URL": "http://127.0.0.1:8000/",
    "PLEURA_WORKER_TOKEN": "token-of-a-worker",
}


def test_three_variables_are_enough() -> None:
    settings = Settings.from_env(GOOD)
    assert settings.portal_url == "http://127.0.0.1:8000"
    assert (settings.job_seconds, settings.device, settings.threads) == (120, "auto", 0)
    assert settings.weights is None
    assert settings.name


def test_secrets_may_stand_in_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    (tmp_path / "redis").write_text("redis://:other@127.0.0.1/0\n")
    given = {
        "PLEURA_PORTAL_URL": GOOD["PLEURA_PORTAL_URL"],
        "PLEURA_WORKER_TOKEN_FILE": str(tmp_path / "token"),
        "REDIS_URL_FILE": str(tmp_path / "redis"),
    }
    settings = Settings.from_env(given)
    assert settings.token == "from-a-file"
    assert settings.redis_url == "redis://:other@127.0.0.1/0"


def test_no_secret_shows_in_a_printed_object() -> None:
    shown = repr(Settings.from_env(GOOD))
    assert GOOD["PLEURA_WORKER_TOKEN"] not in shown
    assert "password" not in shown


def test_a_unix_socket_is_spelt_as_celery_wants_it() -> None:
    given = {**GOOD, "REDIS_URL": "unix://pleura:password@/run/redis.sock?db=1"}
    url = Settings.from_env(given).redis_url
    assert url == "redis+socket://pleura:password@/run/redis.sock?virtual_host=1"


@pytest.mark.parametrize("seconds", ["5", "120", "3600"])
def test_soft_is_before_hard_before_visibility(seconds: str) -> None:
    settings = Settings.from_env({**GOOD, "JOB_SECONDS": seconds})
    assert settings.soft_seconds < settings.hard_seconds < settings.visibility_seconds


@pytest.mark.parametrize(
    "url", ["http://portal:8000", "http://10.0.0.1", "http://localhost.example", "HTTP://[2001::1]"]
)
def test_pictures_do_not_cross_a_network_unencrypted_unless_a_setting_allows_it(url: str) -> None:
    with pytest.raises(
        BadSettings, match=r"PLEURA_PORTAL_URL must start with https.*PLEURA_PLAIN_HOSTS"
    ):
        Settings.from_env({**GOOD, "PLEURA_PORTAL_URL": url})
    host = urlsplit(url).hostname or ""
    allowed = Settings.from_env({**GOOD, "PLEURA_PORTAL_URL": url, "PLEURA_PLAIN_HOSTS": host})
    assert allowed.portal_url == url


@pytest.mark.parametrize(
    "url", ["https://portal", "http://localhost:1", "http://127.8.0.1", "http://[::1]:8000"]
)
def test_encrypted_or_on_this_machine_needs_no_setting(url: str) -> None:
    assert Settings.from_env({**GOOD, "PLEURA_PORTAL_URL": url}).portal_url == url


def test_a_process_that_does_jobs_has_neither_token_nor_redis(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret of the worker")
    monkeypatch.setenv("REDIS_URL", "redis://worker:secret@redis/0")
    monkeypatch.setenv("PLEURA_PORTAL_URL", "http://127.0.0.1:8000")
    monkeypatch.setenv("PLEURA_WORKER_TOKEN_FILE", str(tmp_path / "token"))
    environment = job_process_environment()
    assert not [value for value in environment.values() if "secret" in value]
    assert "PLEURA_WORKER_TOKEN_FILE" not in environment
    assert Settings.from_env(environment).portal_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", ""),
        ("REDIS_URL", "amqp://somewhere"),
        ("PLEURA_PORTAL_URL", ""),
        ("PLEURA_PORTAL_URL", "127.0.0.1:8000"),
        ("PLEURA_PORTAL_URL", "file:///etc"),
        ("PLEURA_WORKER_TOKEN", "  "),
        ("PLEURA_DEVICE", "tpu"),
        ("PLEURA_ENGINE", "onnx"),
        ("PLEURA_PRECISION", "fp8"),
        ("JOB_SECONDS", "4"),
        ("JOB_SECONDS", "-5"),
        ("JOB_SECONDS", "soon"),
        ("PLEURA_THREADS", "1.5"),
        ("PLEURA_BATCH", "0"),
        ("PLEURA_BATCH", "65"),
        ("PLEURA_DECODE_MB", "1"),
        ("PLEURA_WORKER_TOKEN_FILE", "/does/not/exist"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    others = {other: text for other, text in GOOD.items() if f"{other}_FILE" != name}
    with pytest.raises(BadSettings, match=f"{name} "):
        Settings.from_env({**others, name: value})


def test_a_secret_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    with pytest.raises(BadSettings, match="not both"):
        Settings.from_env({**GOOD, "PLEURA_WORKER_TOKEN_FILE": str(tmp_path / "token")})


def test_only_several_processes_share_an_engine(tmp_path: Path) -> None:
    given = {**GOOD, "PLEURA_WORKER_STATE": str(tmp_path), "PLEURA_WORKER_NAME": "here"}
    assert Settings.from_env(given).engine_socket is None
    shared = Settings.from_env({**given, "PLEURA_BATCH": "8"})
    assert shared.engine_socket == tmp_path / "here.engine"
    long = {**given, "PLEURA_WORKER_STATE": str(tmp_path / ("deep" * 30))}
    assert Settings.from_env(long)
    with pytest.raises(BadSettings, match="PLEURA_WORKER_STATE"):
        Settings.from_env({**long, "PLEURA_BATCH": "8"})
