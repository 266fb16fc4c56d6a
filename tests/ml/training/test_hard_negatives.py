"""Hard negatives: found, drawn the more often, and the same after a stop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.datasets import dataset  # noqa: E402
from ml.network import model  # noqa: E402
from ml.training import hard_negatives, train  # noqa: E402
from tests.support.ml.tiny_training import NOTHING, TINY, discs  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch

MINING = replace(
    TINY, epochs=4, size_from=((0.0, 64),), hard_negatives=1.0, hard_from=0.3, hard_every=2,
    bf16=False,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_negatives_are_drawn_in_proportion_to_how_sure_the_network_was() -> None:
    positive = np.array([True, False, False, False, True])
    given = np.array([0.0, 0.1, 0.0, 0.9, 0.0])
    drawn = dataset.draw(positive, 4000, 0.5, np.random.default_rng(0), given, 1.0)
    counts = np.bincount(drawn, minlength=5)
    assert counts[2] == 0
    assert counts[3] / counts[1] == pytest.approx(9, rel=0.2)
    assert counts[[0, 4]].tolist() == [1000, 1000]
    half = np.bincount(dataset.draw(positive, 4000, 0.5, np.random.default_rng(0), given, 0.5))
    assert half[2] == pytest.approx(333, abs=1)  # the other half of them as before
    assert half.sum() == 4000
    plain = dataset.draw(positive, 40, 0.5, np.random.default_rng(0))
    same = dataset.draw(positive, 40, 0.5, np.random.default_rng(0), given, 0.0)
    np.testing.assert_array_equal(plain, same)


@pytest.mark.parametrize("image_weight", [1.0, 0.0])
def test_the_picture_that_fools_the_network_weighs_most(image_weight: float) -> None:
    net = model.build(TINY, weights=False)
    seen = discs(8)
    hard = 3

    def outputs(picture: torch.Tensor) -> model.NetworkOutputs:
        fooled = torch.tensor([[4.0] if torch.equal(p[0], wanted) else [-4.0] for p in picture])
        mask = fooled[:, :, None, None].expand(-1, 1, 64, 64)
        return model.NetworkOutputs(mask, mask, fooled)

    wanted = dataset.PlainPictures(seen, TINY)[hard]["picture"][0]
    net.outputs, net.image_logits = outputs, lambda features: features  # type: ignore[method-assign]
    found = hard_negatives.measure(
        net, seen, replace(TINY, image_weight=image_weight, patch_weight=0.0)
    )
    assert found.argmax() == hard
    assert (found[::2] == 0).all()  # positives
    assert (found[1::2] > 0).all()


def test_with_several_findings_the_surest_place_counts_and_not_the_amount() -> None:
    two = replace(TINY, classes=("pneumothorax", "effusion"), image_weight=0.0, patch_weight=0.0)
    net = model.build(two, weights=False)
    faint = torch.full((8, 2, 64, 64), -7.0)  # everywhere a little, nowhere much

    def outputs(picture: torch.Tensor) -> model.NetworkOutputs:
        mask = faint[: len(picture)]
        return model.NetworkOutputs(mask, mask, mask.mean((2, 3)))

    net.outputs, net.image_logits = outputs, lambda features: features  # type: ignore[method-assign]
    assert hard_negatives.measure(net, discs(8), two).max() < 0.01


def test_false_positives_are_looked_for_late_and_every_few_epochs() -> None:
    measured, looks = -1, []
    for epoch in range(10):
        if hard_negatives.are_due(MINING, epoch / 10, epoch, measured):
            measured = epoch
            looks.append(epoch)
    assert looks == [3, 5, 7, 9]
    assert not hard_negatives.are_due(TINY, 0.9, 9, -1)  # off unless asked for


def test_a_stopped_run_draws_the_same_hard_negatives_as_an_unbroken_one(tmp_path: Path) -> None:
    whole = train.fit(MINING, discs(16), NOTHING, tmp_path / "whole")
    assert whole.false_positives is not None
    assert whole.false_positives_epoch == 2

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        # Between their measurement and the last epoch, which draws by them once more.
        patch.setattr(
            train.weight_averaging, "tidy", lambda state, _: state.epoch == 3 and killed()
        )
        with pytest.raises(KeyboardInterrupt):
            train.fit(MINING, discs(16), NOTHING, tmp_path / "broken")
    resumed = train.fit(MINING, discs(16), NOTHING, tmp_path / "broken")
    np.testing.assert_array_equal(resumed.false_positives, whole.false_positives)
    theirs = whole.net.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in resumed.net.state_dict().items())
