"""Pictures and decisions in TensorBoard: the same few pictures, after every epoch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from ml.training import board, train  # noqa: E402 - only where torch is
from tests.support.ml.tiny_training import TINY, discs  # noqa: E402

pytestmark = pytest.mark.torch


def test_a_run_logs_inputs_maps_and_decisions_and_learns_the_same(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    torch.set_num_threads(1)
    short = replace(TINY, validate_every=1)
    plain = train.fit(short, discs(16), discs(8, seed=1), tmp_path / "plain")
    logged = train.fit(short, discs(16), discs(8, seed=1), tmp_path / "run", board_pictures=3)
    for name, value in plain.net.state_dict().items():
        assert torch.equal(logged.net.state_dict()[name], value)

    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    found = events.Tags()
    shown = {tag.partition("/")[0] for tag in found["images"]}
    assert len(shown) == 3
    for name in shown:
        assert len(events.Images(f"{name}/map")) == short.epochs
        assert len(events.Images(f"{name}/outline")) == len(events.Images(f"{name}/input")) == 1
        probabilities = [event.value for event in events.Scalars(f"{name}/probability")]
        assert len(probabilities) == short.epochs
        assert all(0 < value < 1 for value in probabilities)
    assert next(event.value for event in events.Scalars("input/least")) >= -1
    assert "input/values" in found["histograms"]
    assert "decisions/text_summary" in found["tensors"]
    assert {"mask_loss", "image_loss", "positive_dice"} <= set(found["scalars"])


def test_the_pictures_are_always_the_same_and_half_of_them_outlined() -> None:
    records = discs(12).records
    first = board.chosen(records, 4)
    names = {records[number].id for number in first}
    assert sum(records[number].outlined for number in first) == 2
    turned = records[::-1]
    assert {turned[number].id for number in board.chosen(turned, 4)} == names
    only = [record for record in records if not record.outlined]
    assert len(board.chosen(only, 4)) == 4
    assert board.chosen(records, 12) == list(np.arange(12))
