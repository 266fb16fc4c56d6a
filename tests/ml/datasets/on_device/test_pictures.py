"""Training from pictures on the device: the batches of the host's path, and the same learning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.datasets import dataset, soft_labels  # noqa: E402
from ml.datasets.on_device import pictures as on_device  # noqa: E402
from ml.errors import BadInput  # noqa: E402
from ml.recipe import Recipe  # noqa: E402
from ml.training import batches, train  # noqa: E402
from tests.support.ml.tiny_training import NOTHING, TINY, discs, log  # noqa: E402

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
QUIET = replace(TINY, noise=0.0, workers=0)
ON_DEVICE = replace(TINY, augment_on="device")


def epoch_of(recipe: Recipe, source: dataset.Pictures) -> dataset.AugmentedEpoch:
    return dataset.AugmentedEpoch(source, recipe, 3, 0.5, 64)


def test_batches_are_the_host_s_but_for_rounding() -> None:
    source = discs(12)
    source.pictures[3] = source.pictures[3][:50, :40]  # pictures of a cache have many shapes
    epoch = epoch_of(QUIET, source)
    host = list(batches.loader(epoch, QUIET))
    stored = on_device.DevicePictures.of(source, QUIET, CPU)
    device = list(batches.drawn(epoch, QUIET, stored))
    assert len(host) == len(device) == 4
    for theirs, ours in zip(host, device, strict=True):
        assert {key: value.shape for key, value in theirs.items()} == {
            key: value.shape for key, value in ours.items()
        }
        for label in ("positive", "label", "outlined"):
            assert torch.equal(theirs[label], ours[label])
        # Noise pictures: neighbours differ by up to 200 levels, see test_augmentation.
        assert float((theirs["picture"] - ours["picture"]).abs().mean()) < 0.02
        assert float((theirs["mask"] != ours["mask"]).float().mean()) < 0.002


def test_processes_share_a_batch_as_a_loader_does() -> None:
    source = discs(12)
    stored, epoch = on_device.DevicePictures.of(source, QUIET, CPU), epoch_of(QUIET, discs(12))
    whole = list(stored.batches(epoch))
    halves = [list(stored.batches(epoch, rank, 2)) for rank in (0, 1)]
    for number, batch in enumerate(whole):
        joined = torch.cat([half[number]["picture"] for half in halves])
        torch.testing.assert_close(joined, batch["picture"])


def test_several_classes_have_a_mask_and_a_label_each() -> None:
    recipe = replace(QUIET, classes=("pneumothorax", "effusion"))
    source = discs(4)
    empty = np.zeros((64, 64), dtype=np.uint8)
    masks = [None if mask is None else np.stack([mask, empty], axis=2) for mask in source.masks]
    both = dataset.Pictures(source.records, source.pictures, masks)
    batch = next(on_device.DevicePictures.of(both, recipe, CPU).batches(epoch_of(recipe, both)))
    assert batch["mask"].shape == (4, 2, 64, 64)
    assert batch["positive"][:, 1].tolist() == [0, 0, 0, 0]
    assert torch.equal(batch["outlined"][:, 0], batch["positive"][:, 0])
    assert float(batch["mask"][:, 1].sum()) == 0 < float(batch["mask"][:, 0].sum())


def test_a_run_on_the_device_learns_and_continues_bit_for_bit(tmp_path: Path) -> None:
    recipe = replace(ON_DEVICE, epochs=6, size_from=((0.0, 64),), rate=1e-3, adapt_norm=4)
    whole = train.fit(recipe, discs(16), discs(4, seed=1), tmp_path / "whole")
    losses = [float(row["mask_loss"]) for row in log(tmp_path / "whole")]
    assert losses[-1] < losses[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.weight_averaging, "tidy", stop)
        with pytest.raises(KeyboardInterrupt):
            train.fit(recipe, discs(16), NOTHING, tmp_path / "broken")
    torch.manual_seed(999)
    resumed = train.fit(recipe, discs(16), NOTHING, tmp_path / "broken")
    theirs = whole.net.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in resumed.net.state_dict().items())


def stop(*_: object) -> None:
    """Stands where a run would be killed: after its first checkpoint."""
    raise KeyboardInterrupt


def test_a_processor_augments_on_the_host_unless_a_recipe_asks() -> None:
    assert on_device.choose(discs(4), TINY, CPU) is None
    assert on_device.choose(discs(4), replace(TINY, augment_on="host"), CPU) is None
    assert on_device.choose(NOTHING, ON_DEVICE, CPU) is None
    chosen = on_device.choose(discs(4), ON_DEVICE, CPU)
    assert chosen is not None
    assert chosen.pictures.dtype == torch.uint8


def test_what_only_the_host_can_do_is_refused() -> None:
    hidden = replace(
        ON_DEVICE, hidden=0.5, loss="bce", image_weight=0.0, patch_weight=0.0, validate_every=0
    )
    with pytest.raises(BadInput, match="hidden patches"):
        on_device.choose(discs(4), hidden, CPU)
    taught = replace(discs(4), soft_labels=soft_labels.SoftLabels({}, {}))
    with pytest.raises(BadInput, match="soft labels"):
        on_device.choose(taught, ON_DEVICE, CPU)
