"""Reports and checkpoints by the clock, and a run's end by a deadline."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.training import checkpoint, train  # noqa: E402
from ml.training.pace import Pace  # noqa: E402
from tests.support.ml.tiny_training import NOTHING, TINY, discs, log  # noqa: E402

pytestmark = pytest.mark.torch


def test_a_deadline_stands_in_place_of_the_minutes() -> None:
    assert Pace().length(2.0, elapsed=30.0) == 120.0
    assert Pace(deadline=time.monotonic() + 50).length(2.0, elapsed=30.0) == pytest.approx(
        80, abs=1
    )
    assert Pace(deadline=time.monotonic() - 50).length(2.0, elapsed=0.0) > 0


def test_rarer_checkpoints_still_end_with_the_last_epoch(tmp_path: Path) -> None:
    recipe = replace(TINY, epochs=3, size_from=((0.0, 64),))
    state = train.fit(recipe, discs(8), NOTHING, tmp_path, pace=Pace(save=3600))
    assert state.epoch == len(log(tmp_path)) == 3
    content, _ = checkpoint.read(tmp_path / train.CHECKPOINT)
    assert content["epoch"] == 3


def test_lines_of_progress_come_when_it_is_time(capsys: pytest.CaptureFixture[str]) -> None:
    sums = torch.tensor([2.0, 4.0, 6.0])
    quiet, often = Pace(), Pace(report=1e-9)
    for pace in (quiet, often):
        pace.step(8, sums, 2, 0.25, "epoch 1, 64 px")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert " 25.0%  epoch 1, 64 px: mask 1.000, image 2.000, patch 3.000; " in lines[0]
