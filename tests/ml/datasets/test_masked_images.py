"""What is hidden of a picture is learnt from the rest; such a network judges nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.__main__ import main  # noqa: E402
from ml.datasets import catalogue, dataset, masked_images  # noqa: E402
from ml.datasets.catalogue import Record  # noqa: E402
from ml.recipe_limits import BadRecipe  # noqa: E402
from ml.training import checkpoint, run_state, train  # noqa: E402
from ml.training.checkpoint import BadCheckpoint  # noqa: E402
from tests.support.ml.tiny_training import NOTHING, TINY, discs, log  # noqa: E402

pytestmark = pytest.mark.torch

FILLS_IN = replace(
    TINY,
    hidden=0.5,
    loss="bce",
    image_weight=0.0,
    patch_weight=0.0,
    size_from=((0.0, 64),),
    epochs=12,
)


def test_half_of_the_patches_are_hidden_and_the_whole_picture_is_to_be_learnt() -> None:
    view = np.random.default_rng(1).uniform(-1, 1, (128, 128)).astype(np.float32)
    item = masked_images.item(view, 0.5, np.random.default_rng(2))
    assert torch.equal(item["mask"][0], torch.from_numpy((view + 1) / 2))
    changed = (item["picture"][0].numpy() != view).reshape(4, 32, 4, 32).any((1, 3))
    assert changed.sum() == 8
    other = masked_images.item(view, 0.5, np.random.default_rng(3))
    assert not torch.equal(item["picture"], other["picture"])


def test_pictures_that_nobody_judged_teach_too() -> None:
    pictures = discs(6)
    records = [replace(record, source="unlabelled") for record in pictures.records[:3]]
    mixed = dataset.Pictures([*records, *pictures.records[3:]], pictures.pictures, pictures.masks)
    drawn = dataset.AugmentedEpoch(mixed, replace(FILLS_IN, positive_share=(0.5, 0.5)), 0, 0.5, 64)
    assert set(drawn.order) == set(range(6))
    assert all(item["outlined"] == 1 for item in map(drawn.__getitem__, range(len(drawn))))


def test_it_learns_to_fill_in_and_a_run_that_judges_begins_with_it(tmp_path: Path) -> None:
    train.fit(FILLS_IN, discs(16), NOTHING, tmp_path / "filled")
    losses = [float(row["mask_loss"]) for row in log(tmp_path / "filled")]
    assert losses[-1] < losses[0] - 0.02
    path = tmp_path / "filled" / "checkpoint.pt"
    one = replace(TINY, epochs=1)
    begun = run_state.start(one, torch.device("cpu"))
    run_state.start_from(begun, path, other_patients=True)
    learnt = checkpoint.weights(path)
    assert all(torch.equal(value, learnt[name]) for name, value in begun.net.state_dict().items())


def test_it_is_not_taken_for_a_network_that_judges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "filled.pt"
    run_state.save(run_state.start(FILLS_IN, torch.device("cpu")), path)
    with pytest.raises(BadCheckpoint, match="hidden patches"):
        checkpoint.read_trained(path)
    assert main(["export", "--checkpoint", str(path), "--out", str(tmp_path / "out")]) != 0
    assert "train --start" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "other",
    [{"loss": "bce_dice"}, {"image_weight": 1.0}, {"taught": "two"}, {"hidden": 1.0}],
)
def test_a_recipe_that_cannot_be_meant(other: dict[str, object]) -> None:
    with pytest.raises(BadRecipe, match="hidden"):
        replace(FILLS_IN, **other)  # type: ignore[arg-type]


def test_pictures_that_nobody_judged_are_learnt_from() -> None:
    extra = Record("5", "unlabelled", "5", 1, False, 64, 64)
    assert catalogue.of_sources([extra], FILLS_IN) == [extra]
    assert not catalogue.of_sources([extra], TINY)
