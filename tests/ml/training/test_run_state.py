"""The state of a run: saved, restored, started from other weights."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.errors import BadInput  # noqa: E402
from ml.network import model  # noqa: E402
from ml.training import checkpoint, run_state, train  # noqa: E402
from tests.support.ml.tiny_training import NOTHING, TINY, discs  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_another_recipe_does_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    train.fit(replace(TINY, epochs=1), discs(8), NOTHING, tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        train.fit(TINY, discs(8), NOTHING, tmp_path)


def edit(checkpoint: Path, key: str, value: object = None) -> None:
    """Another value for a setting of a checkpoint's recipe; None takes the setting away."""
    content = torch.load(checkpoint, weights_only=True)
    content["config"].pop(key)
    if value is not None:
        content["config"][key] = value
    torch.save(content, checkpoint)


@pytest.mark.parametrize(
    ("key", "value"),
    [("attention", None), ("mirror", True), ("validate_every", 3), ("threads", 7), ("name", "b")],
)
def test_a_run_goes_on_where_only_a_new_or_a_serving_setting_differs(
    tmp_path: Path, key: str, value: object
) -> None:
    state = train.start(TINY, torch.device("cpu"))
    state.epoch = 7
    train.save(state, tmp_path / "checkpoint.pt")
    edit(tmp_path / "checkpoint.pt", key, value)
    fresh = train.start(TINY, torch.device("cpu"))
    train.restore(fresh, tmp_path / "checkpoint.pt")
    assert fresh.epoch == 7


def test_the_average_is_exponential_and_counters_are_copied() -> None:
    average, net = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    net.weight.data.fill_(3.0)
    net.num_batches_tracked.fill_(7)
    run_state.update_average(average, net, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.num_batches_tracked.item() == 7


def test_a_run_can_begin_with_another_run_s_weights(tmp_path: Path) -> None:
    first = train.fit(TINY, discs(8), NOTHING, tmp_path / "first")
    short = replace(TINY, epochs=1, rate=0.0, encoder_rate=0.0, ema=0.0)
    second = train.fit(
        short, discs(8), NOTHING, tmp_path / "second", tmp_path / "first" / train.CHECKPOINT
    )
    kept = dict(first.average.named_parameters())
    for name, value in second.net.named_parameters():
        if not name.startswith(("image.", "patch.")):  # these have a rate of their own
            torch.testing.assert_close(value, kept[name])
    assert second.step == 4
    # What weights went through is told with them, from run to run.
    earlier = checkpoint.history(tmp_path / "first" / train.CHECKPOINT)
    assert [(run["recipe"], run["pictures"]) for run in earlier] == [
        (TINY.name, TINY.epochs * TINY.epoch_pictures)
    ]
    assert checkpoint.history(tmp_path / "second" / train.CHECKPOINT)[:-1] == earlier
    assert train.fit(short, discs(8), NOTHING, tmp_path / "second").begun_with == tuple(earlier)


def test_no_run_begins_with_weights_that_met_whom_it_leaves_out(tmp_path: Path) -> None:
    one = replace(TINY, epochs=1, held_out_fold=1)
    trunk = tmp_path / "trunk" / train.CHECKPOINT
    train.fit(replace(one, held_out_fold=-1), discs(8), NOTHING, trunk.parent, left_out=(0, 1))
    train.fit(one, discs(8), NOTHING, tmp_path / "ones", trunk)
    for path in (trunk, tmp_path / "ones" / train.CHECKPOINT):
        with pytest.raises(BadInput, match="trained on patients of fold 2"):
            train.fit(replace(one, held_out_fold=2), discs(8), NOTHING, tmp_path / "twos", path)
    # Unless it was on other patients, whose folds are others.
    two = replace(one, held_out_fold=2)
    train.fit(two, discs(8), NOTHING, tmp_path / "twos", trunk, other_patients=True)
    # What a run leaves out is a part of it.
    with pytest.raises(BadInput, match="trained without other folds"):
        train.fit(replace(one, held_out_fold=-1), discs(8), NOTHING, trunk.parent, left_out=(0,))


def test_a_run_of_another_architecture_is_not_taken_over(tmp_path: Path) -> None:
    train.fit(TINY, discs(8), NOTHING, tmp_path / "first")
    other = replace(TINY, decoder_channels=(8, 8, 8, 8, 8))
    with pytest.raises(ValueError, match="another architecture"):
        train.fit(
            other, discs(8), NOTHING, tmp_path / "second", tmp_path / "first" / train.CHECKPOINT
        )


def test_a_checkpoint_from_before_the_newer_settings_goes_on(tmp_path: Path) -> None:
    run = train.fit(replace(TINY, epochs=1), discs(8), NOTHING, tmp_path)
    content = torch.load(tmp_path / train.CHECKPOINT, weights_only=True)
    for name in ("scaler", "kept", "best_measure", "best_epoch"):
        del content[name]
    for name in ("accumulate", "keep", "patience", "plateau_factor", "fp16", "decoder_norm"):
        if name in content["config"]:
            del content["config"][name]
    content["plateau_factor"], content["waited"] = 0.25, 2
    torch.save(content, tmp_path / train.CHECKPOINT)
    fresh = train.start(replace(TINY, epochs=1), torch.device("cpu"))
    train.restore(fresh, tmp_path / train.CHECKPOINT)
    assert fresh.step == run.step
    assert (fresh.schedule.plateau_factor, fresh.schedule.waited) == (0.25, 2)
    assert fresh.schedule.best_epoch == 0


def test_a_gpu_s_average_of_all_weights_at_once_is_the_one_by_one_average() -> None:
    torch.manual_seed(0)
    net, one_by_one, at_once = (model.segmenter(TINY) for _ in range(3))
    at_once.load_state_dict(one_by_one.state_dict())
    next(iter(net.buffers())).add_(1)
    run_state.update_average(one_by_one, net, 0.9)
    run_state._update_together(at_once, net, 0.9)
    for name, value in one_by_one.state_dict().items():
        torch.testing.assert_close(at_once.state_dict()[name], value)
