"""Settings: what development makes up, what production refuses, and that all is described."""

import json
import re
import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from portal import settings as settings_room
from portal.settings import Settings, SettingsError
from portal.settings.secret_files import new_key_ring
from tests.support.paths import ROOT

LONG = "k7VQmX2rT9sLwZ4bN8cJ1dH6gF3pYeUa"  # made up  # pragma: allowlist secret
ZEROS = json.dumps({"active": "a", "keys": {"a": "A" * 43 + "="}, "index": "A" * 43 + "="})
PRODUCTION = {
    "PLEURA_ENV": "production",
    "DATABASE_URL": "postgresql+psycopg://pleura:pw@db/pleura",
    "REDIS_URL": "redis://:pw@redis:6379/0",
    "PLEURA_PLAIN_HOSTS": "db, redis",
    "PLEURA_DATA_DIR": "/srv/pleura",
    "PLEURA_SECRET_KEY": LONG,
    "PLEURA_WORKER_TOKEN": LONG[::-1],
    "PLEURA_KEY_RING": new_key_ring(),
    "PLEURA_BASE_URL": "https://pleura.example.org",
}


@pytest.mark.parametrize("file", ["data/anchors/log", "data/log", "database/log"])
def test_anchors_lie_neither_in_the_data_folder_nor_beside_the_database(
    tmp_path: Path, file: str
) -> None:
    given = {
        "PLEURA_DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/database/pleura.db",
        "PLEURA_AUDIT_ANCHOR_FILE": str(tmp_path / file),
    }
    with pytest.raises(SettingsError, match="PLEURA_AUDIT_ANCHOR_FILE must lie outside"):
        Settings.from_env(given)
    given["PLEURA_AUDIT_ANCHOR_FILE"] = str(tmp_path / "elsewhere/log")
    assert Settings.from_env(given).audit_anchor_file == tmp_path / "elsewhere/log"


def test_development_makes_keys_once_and_keeps_them_private(tmp_path: Path) -> None:
    environ = {"PLEURA_DATA_DIR": str(tmp_path / "var")}
    first, second = Settings.from_env(environ), Settings.from_env(environ)
    assert first == second
    assert len(first.secret_key) >= 32
    assert first.secret_key != first.worker_token
    for path in (tmp_path / "var").rglob("*"):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


def test_production_with_everything_given_starts_and_touches_no_folder() -> None:
    settings = Settings.from_env(PRODUCTION)
    assert settings.production
    assert not settings.data_dir.exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"DATABASE_URL": "sqlite:///x.db"}, "DATABASE_URL"),
        ({"REDIS_URL": ""}, "REDIS_URL"),
        ({"PLEURA_BASE_URL": "http://pleura.example.org"}, "PLEURA_BASE_URL"),
        ({"PLEURA_SECRET_KEY": ""}, "PLEURA_SECRET_KEY"),
        ({"PLEURA_SECRET_KEY": "short"}, "PLEURA_SECRET_KEY"),
        ({"PLEURA_SECRET_KEY": "change-me-" * 5}, "PLEURA_SECRET_KEY"),
        ({"PLEURA_WORKER_TOKEN": "a" * 64}, "PLEURA_WORKER_TOKEN"),
        ({"PLEURA_WORKER_TOKEN": ""}, "PLEURA_WORKER_TOKEN"),
        ({"PLEURA_KEY_RING": ""}, "PLEURA_KEY_RING"),
        ({"PLEURA_KEY_RING": "not a ring"}, "PLEURA_KEY_RING"),
        ({"PLEURA_KEY_RING": '{"active": "a", "keys": {}, "index": ""}'}, "PLEURA_KEY_RING"),
        ({"PLEURA_KEY_RING": ZEROS}, "PLEURA_KEY_RING"),
        ({"PLEURA_ENV": "prodction"}, "PLEURA_ENV"),
        ({"JOB_SECONDS": "soon"}, "JOB_SECONDS"),
        ({"JOB_SECONDS": "0"}, "JOB_SECONDS"),
        ({"PLEURA_MAX_UPLOAD_MB": "-1"}, "PLEURA_MAX_UPLOAD_MB"),
        ({"PLEURA_MAX_UPLOAD_MB": "99999"}, "PLEURA_MAX_UPLOAD_MB"),
        ({"PLEURA_LOG_LEVEL": "chatty"}, "PLEURA_LOG_LEVEL"),
        ({"PLEURA_SECRET_KEY_FILE": "/nowhere"}, "PLEURA_SECRET_KEY"),
    ],
)
def test_production_refuses_and_names_the_variable(change: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(PRODUCTION | change)
    assert any(named in problem for problem in refused.value.problems)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"PLEURA_ENV": "production"})
    assert len(refused.value.problems) == 6
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"PLEURA_ENV": "production", "JOB_SECONDS": "x", "PLEURA_LOG_LEVEL": "y"})
    assert len(refused.value.problems) == 8


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"JOB_SECONDS": "1_0"}, "JOB_SECONDS must be a whole number from 5 to 3600."),
        ({"JOB_SECONDS": "10.0"}, "JOB_SECONDS must be a whole number from 5 to 3600."),
        ({"PLEURA_ENV": "x"}, "PLEURA_ENV must be development, production or test."),
        ({"PLEURA_SHARED_WORKER_TOKEN": "1"}, "PLEURA_SHARED_WORKER_TOKEN must be yes or no."),
        ({"PLEURA_BUCKET": "s3://name"}, "PLEURA_BUCKET_KEY_ID must be set."),
        (
            {"PLEURA_SECRET_KEY_FILE": "/nowhere"},
            "Give PLEURA_SECRET_KEY or PLEURA_SECRET_KEY_FILE, not both.",
        ),
        (
            {"PLEURA_BACKUP_KEY_FILE": "/nowhere"},
            "PLEURA_BACKUP_KEY_FILE can't be read: No such file or directory.",
        ),
    ],
)
def test_a_problem_is_a_sentence(change: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env(PRODUCTION | change)
    assert sentence in refused.value.problems


def test_an_empty_variable_counts_as_not_given_and_space_around_a_value_does_not_count() -> None:
    settings = Settings.from_env(PRODUCTION | {"JOB_SECONDS": "", "PLEURA_LOG_LEVEL": " debug "})
    assert (settings.job_seconds, settings.log_level) == (120, "DEBUG")


def test_settings_do_not_change() -> None:
    settings = Settings.from_env(PRODUCTION)
    with pytest.raises(ValidationError):
        settings.job_seconds = 7  # type: ignore[misc]


def test_a_key_ring_is_not_made_where_a_command_prints_one(tmp_path: Path) -> None:
    environ = {"PLEURA_DATA_DIR": str(tmp_path), "PLEURA_KEY_RING_COMMAND": "echo ring"}
    settings = Settings.from_env(environ)
    assert (settings.read_key_ring(), settings.key_ring) == ("ring", "")
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {"secret_key", "worker_token"}


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{LONG}\n")
    environ = {**PRODUCTION, "PLEURA_SECRET_KEY_FILE": str(tmp_path / "key")}
    del environ["PLEURA_SECRET_KEY"]
    assert Settings.from_env(environ).secret_key == LONG


def test_no_secret_shows_when_settings_are_printed() -> None:
    shown = repr(Settings.from_env(PRODUCTION))
    for name in ("DATABASE_URL", "REDIS_URL", "PLEURA_SECRET_KEY", "PLEURA_KEY_RING"):
        assert PRODUCTION[name] not in shown
    assert PRODUCTION["PLEURA_WORKER_TOKEN"] not in shown


@pytest.mark.parametrize("env", [" ", "prod", "Production"])
def test_an_environment_that_has_no_name_is_refused(tmp_path: Path, env: str) -> None:
    with pytest.raises(SettingsError, match="PLEURA_ENV"):
        Settings.from_env({"PLEURA_ENV": env, "PLEURA_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize("seconds", [5, 120, 3600])
def test_the_clock_of_a_job_is_in_order(seconds: int) -> None:
    s = Settings.from_env(PRODUCTION | {"JOB_SECONDS": str(seconds)})
    assert s.soft_seconds < s.hard_seconds < s.visibility_seconds


def test_every_variable_is_described() -> None:
    modules = Path(str(settings_room.__file__)).parent.rglob("*.py")
    source = "".join(module.read_text("utf-8") for module in modules)
    named = set(
        re.findall(r"\b(?:PLEURA_[A-Z0-9_]*[A-Z0-9]|DATABASE_URL|REDIS_URL|JOB_SECONDS)\b", source)
    )
    described = {variable.name for variable in Settings.describe()}
    # That one is another form of PLEURA_KEY_RING.
    assert named - {"PLEURA_KEY_RING_FILE"} == described
    assert all(variable.meaning.endswith(".") for variable in Settings.describe())


def test_a_data_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"PLEURA_DATA_DIR": str(tmp_path / "file" / "var")})
    assert "can't be made" in refused.value.problems[0]


def test_nothing_but_the_settings_reads_the_environment() -> None:
    """`benchmarks` and tests may; a program that this one starts gets its own by the settings."""
    reads = re.compile(r"\bos\.(?:environ|getenv)\b|\bfrom os import .*\b(?:environ|getenv)\b")
    found = {
        path.relative_to(ROOT).as_posix()
        for package in ("portal", "worker", "ml", "xray_files")
        for path in (ROOT / package).rglob("*.py")
        if reads.search(path.read_text("utf-8"))
    }
    assert found == {
        "portal/settings/__init__.py",
        "portal/settings/process_environment.py",
        "worker/settings.py",
    }
