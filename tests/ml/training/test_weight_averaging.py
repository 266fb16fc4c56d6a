"""Epochs that a run keeps, and their average at its end."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.training import train, weight_averaging  # noqa: E402 - only where torch is
from tests.support.ml.tiny_training import TINY, discs, log  # noqa: E402

pytestmark = pytest.mark.torch

KEEPING = replace(TINY, epochs=4, validate_every=1, size_from=((0.0, 64),), keep=2)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_mean_of_weights_is_their_mean_and_counters_are_the_last_ones() -> None:
    parts = [
        {"w": torch.tensor([1.0, 3.0]), "n": torch.tensor(4)},
        {"w": torch.tensor([3.0, 5.0]), "n": torch.tensor(8)},
    ]
    found = weight_averaging.mean(parts)
    assert found["w"].tolist() == [2, 4]
    assert found["n"].item() == 8


def test_the_last_epochs_are_averaged_and_their_norms_measured_anew(tmp_path: Path) -> None:
    train.fit(KEEPING, discs(16), discs(8, seed=1), tmp_path)
    files = sorted((tmp_path / weight_averaging.FOLDER).iterdir())
    assert [path.name for path in files] == ["3.pt", "4.pt"]
    third, fourth = (torch.load(path, weights_only=True) for path in files)
    found = torch.load(tmp_path / weight_averaging.AVERAGED, weights_only=True)["average"]
    changed = []
    for name, value in fourth.items():
        if name.endswith(("running_mean", "running_var")):
            changed.append(not torch.equal(found[name], (value + third[name]) / 2))
        elif value.dtype.is_floating_point:
            torch.testing.assert_close(found[name], (value + third[name]) / 2)
    assert all(changed)
    own = torch.load(tmp_path / train.CHECKPOINT, weights_only=True)["average"]
    torch.testing.assert_close(own, fourth)  # the run itself goes on from its own weights


def test_frozen_norms_are_not_measured_anew(tmp_path: Path) -> None:
    frozen = replace(KEEPING, freeze_encoder_norm=True, epochs=2)
    run = train.fit(frozen, discs(16), discs(8, seed=1), tmp_path)
    fresh = train.start(frozen, torch.device("cpu")).net.encoder.state_dict()
    averaged = run.average.encoder.state_dict()
    means = [name for name in fresh if name.endswith("running_mean")]
    assert means
    assert all(torch.allclose(fresh[name], averaged[name]) for name in means)


def test_the_best_epochs_are_those_with_the_best_measure(tmp_path: Path) -> None:
    best = replace(KEEPING, keep_by="best", rate=3e-3, stop_on="auc")
    run = train.fit(best, discs(16), discs(8, seed=1), tmp_path)
    measured = sorted(
        ((float(row["auc"]), int(row["epoch"]) + 1) for row in log(tmp_path)), reverse=True
    )
    assert [epoch for _, epoch in run.kept] == [epoch for _, epoch in measured[:2]]


def test_a_stopped_run_keeps_what_an_unbroken_one_keeps(tmp_path: Path) -> None:
    whole = train.fit(KEEPING, discs(16), discs(8, seed=1), tmp_path / "whole")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    broken = tmp_path / "broken"
    for place in ("tidy", "keep"):  # after the state was saved, then before the next one is
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(train.weight_averaging, place, killed)
            with pytest.raises(KeyboardInterrupt):
                train.fit(KEEPING, discs(16), discs(8, seed=1), broken)
    resumed = train.fit(KEEPING, discs(16), discs(8, seed=1), broken)
    assert resumed.kept == whole.kept
    theirs = whole.average.state_dict()
    assert all(torch.equal(v, theirs[k]) for k, v in resumed.average.state_dict().items())
    # And once more, when all is done: nothing is learnt, the same is written.
    again = train.fit(KEEPING, discs(16), discs(8, seed=1), broken)
    assert all(torch.equal(v, theirs[k]) for k, v in again.average.state_dict().items())
