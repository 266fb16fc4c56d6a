"""Every image has the packages that its commands need, and no more is needed.

The processes of these tests see the distributions of an image's list (requirements/) alone, so a
missing one is noticed here, and not when a container starts. torch on the CPU stands in for a GPU.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from ml.preparation import phantom
from portal.models import Instance, Prediction, Worker
from tests.support.image_packages import hidden
from tests.support.paths import ROOT
from tests.support.running_portal import RunningPortal

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]


def python(image: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python as it would run in an image."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment, **hidden.environment(image)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("image", "absent"),
    [
        ("portal", {"cv2", "numpy", "openvino", "torch"}),
        ("worker-cpu", {"flask", "sqlalchemy", "torch", "timm"}),
        ("worker-gpu", {"flask", "sqlalchemy", "openvino", "matplotlib"}),
    ],
)
def test_an_image_lacks_what_it_is_not_to_have(image: str, absent: set[str]) -> None:
    assert absent <= hidden.modules(image)
    done = python(image, "-c", f"import {min(absent)}")
    assert "ModuleNotFoundError" in done.stderr


@pytest.fixture
def gpu_worker(running: RunningPortal) -> Iterator[RunningPortal]:
    """The installation with a segment worker of the GPU's image, two pictures at a time."""
    pytest.importorskip("torch", reason="torch is not installed")
    options, image = running.worker_options.pop("segment"), running.worker_images.pop("segment")
    running.kill("segment", signal.SIGKILL)
    running.start_worker(
        "segment",
        image="worker-gpu",
        PLEURA_DEVICE="cpu",
        PLEURA_ENGINE="torch",
        PLEURA_BATCH="2",
    )
    yield running
    running.kill("segment", signal.SIGKILL)
    running.worker_options["segment"], running.worker_images["segment"] = options, image
    running.start_worker("segment")


def analysed(running: RunningPortal, seed: int) -> Prediction:
    """The prediction for a drawn chest that is sent to the portal."""
    drawn = phantom.draw(seed, "left", 35, rows=512, columns=512)
    study = running.submit(phantom.dicom(drawn), "film.dcm")
    running.wait("it has a result", lambda: running.settled([study]))
    with running.rows() as session:
        found = session.scalars(
            select(Prediction)
            .join(Instance, Instance.id == Prediction.instance_id)
            .where(Instance.study_id == study)
        )
        return found.one()


def test_portal_and_cpu_workers_analyse_a_picture(running: RunningPortal) -> None:
    assert analysed(running, 22).probability is not None


@pytest.mark.sampled(2)
@pytest.mark.torch
def test_the_gpus_image_analyses_a_picture_without_openvino(gpu_worker: RunningPortal) -> None:
    assert analysed(gpu_worker, 23).probability is not None

    def engine() -> str:
        with gpu_worker.rows() as session:
            return session.scalars(select(Worker).where(Worker.queue == "segment")).one().engine

    gpu_worker.wait("the worker has named its engine", lambda: engine() == "cpu torch f32")


@pytest.mark.parametrize("image", ["worker-cpu", "worker-gpu"])
def test_a_worker_is_probed_in_its_image(running: RunningPortal, image: str) -> None:
    settings = {
        "REDIS_URL": running.redis.worker_url,
        "PLEURA_PORTAL_URL": running.address,
        "PLEURA_WORKER_TOKEN": running.settings.worker_token,
        "PLEURA_WORKER_NAME": "test",
        "PLEURA_WORKER_STATE": str(running.folder / "life"),
    }
    for queue in ((), ("render",), ("segment",)):
        alive = python(image, "-m", "worker", "alive", *queue, **settings)
        assert (alive.returncode, alive.stderr) == (0, "")
    silent = settings | {"PLEURA_WORKER_STATE": str(running.folder / "nowhere")}
    dead = python(image, "-m", "worker", "alive", "render", **silent)
    assert dead.returncode == 1
    assert (
        dead.stderr == "worker: no render worker of the name test has started, or it has ended.\n"
    )


def test_the_portals_commands_start(running: RunningPortal) -> None:
    for words in (("settings",), ("model", "list")):
        assert running.command(*words) == 0, words


@pytest.mark.parametrize(
    ("image", "arguments", "sentence"),
    [
        ("portal", ("-m", "ml", "predict", "x", "--out", "y"), "predict needs "),
        ("worker-cpu", ("-m", "portal", "check"), "portal: it needs "),
        (
            "worker-cpu",
            ("-m", "ml", "predict", "x", "--out", "y", "--device", "cuda"),
            "a model in torch needs torch: install it with `pip install .[worker-gpu]`",
        ),
        (
            "worker-gpu",
            ("-m", "ml", "predict", "x", "--out", "y", "--engine", "openvino"),
            "a model in OpenVINO needs openvino: install it with",
        ),
    ],
)
def test_what_an_image_lacks_is_named_in_a_sentence(
    image: str, arguments: tuple[str, ...], sentence: str
) -> None:
    done = python(image, *arguments)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
