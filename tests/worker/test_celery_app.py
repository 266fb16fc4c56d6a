"""worker.celery_app: the limits and refusals of the application, and what importing it loads."""

import json
import subprocess
import sys

import pytest

from worker.settings import Settings

GIVEN = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "PLEURA_PORTAL_URL": "http://127.0.0.1:1",
    "PLEURA_WORKER_TOKEN": "token-of-a-worker",
    "JOB_SECONDS": "40",
}


@pytest.fixture(scope="module")
def seen() -> dict[str, object]:
    """What a fresh interpreter shows after it imported the application and its tasks."""
    program = """
import json, sys
from worker.celery_app import app
import worker.tasks
conf = app.conf
print(json.dumps({
    "loaded": sorted({name.split(".")[0] for name in sys.modules}),
    "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
    "visibility": conf.broker_transport_options["visibility_timeout"],
    "accepts": conf.accept_content,
    "late": conf.task_acks_late,
    "prefetch": conf.worker_prefetch_multiplier,
    "backend": conf.result_backend,
    "remote": conf.worker_enable_remote_control,
    "pool": conf.worker_pool,
}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=GIVEN, capture_output=True, text=True, check=True
    )
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_importing_it_loads_no_engine_and_no_portal(seen: dict[str, object]) -> None:
    loaded = seen["loaded"]
    assert isinstance(loaded, list)
    assert "celery" in loaded
    heavy = {"torch", "openvino", "cv2", "numpy", "portal", "flask", "sqlalchemy"}
    assert not heavy & set(loaded)


def test_it_has_just_the_five_tasks(seen: dict[str, object]) -> None:
    names = ("drift", "encode", "measure", "render", "report", "segment")
    assert seen["tasks"] == [f"pleura.{name}" for name in names]


def test_redis_waits_for_an_acknowledgement_for_as_long_as_a_job_may_take(
    seen: dict[str, object],
) -> None:
    assert seen["visibility"] == 120 > Settings.from_env(GIVEN).hard_seconds


def test_it_takes_json_late_one_at_a_time_and_keeps_no_results(seen: dict[str, object]) -> None:
    assert seen["accepts"] == ["json"]
    assert seen["late"] is True
    assert seen["prefetch"] == 1
    assert seen["backend"] is None
    assert seen["remote"] is False


def test_its_tasks_run_in_the_main_thread_and_only_hand_ids_over(seen: dict[str, object]) -> None:
    assert seen["pool"] == "solo"
