"""`python -m worker`: how it starts, how it refuses to, and how a probe sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.isolation import processes
from tests.support.isolation.processes import command_and_environment, is_open_to_its_user
from tests.support.wait import until
from tests.worker.client.test_portal_client import Script, script
from worker import life
from worker.settings import Settings

__all__ = ["script"]


def environment_of(folder: Path, **more: str) -> dict[str, str]:
    """An environment in which neither Redis nor portal answers."""
    return {
        "PATH": os.environ["PATH"],
        "REDIS_URL": f"redis+socket://:password@{folder}/none.sock",
        "PLEURA_PORTAL_URL": "http://127.0.0.1:9",
        "PLEURA_WORKER_TOKEN": "token-of-a-worker",
        "PLEURA_WORKER_NAME": "one",
        "PLEURA_WORKER_STATE": str(folder / "life"),
        **more,
    }


def worker(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_a_worker_with_a_wrong_setting_names_it_and_does_not_start(tmp_path: Path) -> None:
    done = worker("render", env={**environment_of(tmp_path), "JOB_SECONDS": "soon"})
    assert done.returncode == 2
    assert done.stderr == "worker: JOB_SECONDS must be a whole number from 5 to 3600.\n"


def test_a_worker_without_a_model_reports_it_and_ends(tmp_path: Path) -> None:
    done = worker("segment", env=environment_of(tmp_path, PLEURA_WEIGHTS=str(tmp_path / "nothing")))
    assert done.returncode == 1
    assert "the segment worker ends: it can't start: " in done.stdout
    assert "nothing (neither card.json nor CURRENT)" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not list((tmp_path / "life").glob("*.alive"))


def test_a_worker_that_reaches_neither_portal_nor_redis_is_not_alive(tmp_path: Path) -> None:
    environment = environment_of(tmp_path)
    settings = Settings.from_env(environment)
    running = subprocess.Popen([sys.executable, "-m", "worker", "render"], env=environment)
    try:
        assert until(life.trouble_file(settings, "render").exists)
        done = worker("alive", "render", env=environment)
    finally:
        running.kill()
        running.wait()
    assert done.returncode == 1
    assert done.stderr == (
        "worker: the render worker has had no answer since it started: neither the portal at "
        "http://127.0.0.1:9 nor Redis can be reached.\n"
    )


def test_a_probe_sees_a_worker_that_lives_and_no_process_shows_its_secrets(
    tmp_path: Path, script: Script
) -> None:
    script.answers["claim"] = [204]
    address = f"http://127.0.0.1:{script.server_port}"
    environment = environment_of(tmp_path, PLEURA_PORTAL_URL=address)
    settings = Settings.from_env(environment)
    assert worker("alive", "render", env=environment).returncode == 1
    running = subprocess.Popen([sys.executable, "-m", "worker", "render"], env=environment)
    alive_file = life.alive_file(settings, "render")
    try:
        assert until(alive_file.exists)
        assert worker("alive", "render", env=environment).returncode == 0
        assert worker("alive", env=environment).returncode == 0
        assert worker("alive", "segment", env=environment).returncode == 1
        started_with = {
            pid: command_and_environment(pid) for pid in processes.descendants(running.pid)
        }
        assert any(b"decoder_process" in text for text in started_with.values())
        for secret in (b"token-of-a-worker", b":password@"):
            assert not [pid for pid, text in started_with.items() if secret in text]
        assert not [pid for pid in started_with if is_open_to_its_user(pid)]
    finally:
        running.kill()
        running.wait()
    os.utime(alive_file, (0, 0))
    assert worker("alive", env=environment).returncode == 1
