"""The loop: it learns, it stops when told, and a resumed run is the same run."""

import csv
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml import config, data, train  # noqa: E402 - only where torch is
from ml.data import Record  # noqa: E402

pytestmark = pytest.mark.torch

TINY = config.from_dict(
    {
        "name": "tiny",
        "encoder": "tu-tf_efficientnet_lite0",
        "decoder_channels": [16, 16, 8, 8, 8],
        "size": 64,
        "size_from": [[0.0, 32], [0.5, 64]],
        "epochs": 2,
        "epoch_pictures": 16,
        "batch": 4,
        "positive_share": [0.75, 0.5],
        "encoder_rate": 1e-3,
        "dropout": 0.0,
        "ema": 0.5,
        "freeze_encoder_norm": False,
        "validate_every": 0,
        "threads": 1,
    }
)


def discs(count: int, seed: int = 0) -> data.Pictures:
    """Pictures of which the even ones show a dark disc, outlined by their mask."""
    rng = np.random.default_rng(seed)
    records, pictures, masks = [], [], []
    for number in range(count):
        picture = rng.integers(120, 200, (64, 64)).astype(np.uint8)
        mask = np.zeros((64, 64), dtype=np.uint8)
        positive = number % 2 == 0
        if positive:
            centre = tuple(int(v) for v in rng.integers(16, 48, 2))
            cv2.circle(mask, centre, 10, 255, -1)
            picture[mask > 0] //= 6
        records.append(Record(str(number), "masks", str(number), 0, positive, 64, 64))
        pictures.append(picture)
        masks.append(mask if positive else None)
    return data.Pictures(records, pictures, masks)


NOTHING = data.Pictures([], [], [])


def mean(rows: list[dict[str, str]], column: str) -> float:
    return sum(float(row[column]) for row in rows) / len(rows)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def log(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_few_steps_on_discs_lower_the_mask_loss_and_are_logged(tmp_path: Path) -> None:
    learning = replace(
        TINY, epochs=20, size_from=((0.0, 64),), rate=1e-3, ema=0.9, validate_every=5
    )
    state = train.fit(learning, discs(16), discs(8, seed=1), tmp_path)
    rows = log(tmp_path)
    assert [row["epoch"] for row in rows] == [str(n) for n in range(20)]
    assert mean(rows[-3:], "mask_loss") < 0.8 * mean(rows[:3], "mask_loss")
    assert mean(rows[-3:], "image_loss") < 0.95 * mean(rows[:3], "image_loss")
    assert mean(rows[-3:], "patch_loss") < 0.8 * mean(rows[:3], "patch_loss")
    assert 0 <= float(rows[-1]["auc"]) <= 1  # validated at the end
    assert [bool(row["auc"]) for row in rows] == [n in (4, 9, 14, 19) for n in range(20)]
    assert state.epoch == 20
    assert state.step == 80


def test_a_stopped_and_resumed_run_ends_bit_for_bit_like_an_unbroken_one(tmp_path: Path) -> None:
    whole = train.fit(TINY, discs(16), NOTHING, tmp_path / "whole")

    broken = tmp_path / "broken"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "_log", stop_after_one_epoch)
        with pytest.raises(KeyboardInterrupt):
            train.fit(TINY, discs(16), NOTHING, broken)
    torch.manual_seed(999)  # whatever happened in between
    resumed = train.fit(TINY, discs(16), NOTHING, broken)

    assert resumed.epoch == whole.epoch == 2
    for name in ("net", "average"):
        ours, theirs = getattr(resumed, name).state_dict(), getattr(whole, name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    moments = [s.optimizer.state_dict()["state"] for s in (resumed, whole)]
    assert all(
        torch.equal(moments[0][key]["exp_avg"], moments[1][key]["exp_avg"]) for key in moments[1]
    )


def stop_after_one_epoch(path: Path, row: dict[str, float]) -> None:
    """Stands where the run would be killed: after the checkpoint, before the next epoch."""
    raise KeyboardInterrupt


def test_another_recipe_does_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    train.fit(replace(TINY, epochs=1), discs(8), NOTHING, tmp_path)
    with pytest.raises(ValueError, match="another recipe"):
        train.fit(TINY, discs(8), NOTHING, tmp_path)


def test_the_clock_ends_a_run_and_the_schedule_with_it(tmp_path: Path) -> None:
    began = time.monotonic()
    state = train.fit(replace(TINY, minutes=0.05, epochs=0), discs(16), NOTHING, tmp_path)
    assert 3 <= time.monotonic() - began < 20
    assert state.step > 1
    rows = log(tmp_path)
    assert float(rows[-1]["rate"]) < 0.05
    assert rows[-1]["size"] == "64" or len(rows) == 1


@pytest.mark.parametrize(
    ("progress", "rate"), [(0.0, 0.01), (0.02, 0.5), (0.04, 1.0), (0.52, 0.5), (1.0, 0.0)]
)
def test_the_rate_warms_up_and_falls_with_a_cosine(progress: float, rate: float) -> None:
    assert train.rate_at(TINY, progress) == pytest.approx(rate, abs=1e-9)


def test_the_size_grows_with_progress() -> None:
    assert [train.size_at(TINY, p) for p in (0.0, 0.49, 0.5, 0.99)] == [32, 32, 64, 64]


def test_the_average_is_exponential_and_counters_are_copied() -> None:
    average, net = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    net.weight.data.fill_(3.0)
    net.num_batches_tracked.fill_(7)
    train.average_in(average, net, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.num_batches_tracked.item() == 7


def test_the_plateau_schedule_halves_the_rate_once_the_loss_stops_falling() -> None:
    state = train.start(replace(TINY, schedule="plateau"), torch.device("cpu"))
    for loss in (1.0, 0.5, *[0.5] * (train.PLATEAU_EPOCHS - 1)):
        train._plateau(state, loss)
        assert state.plateau_factor == 1
    train._plateau(state, 0.5)
    assert state.plateau_factor == 0.5
    train._plateau(state, 0.5)
    assert state.plateau_factor == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"size_from": [[0.1, 384]]},
        {"size_from": [[0.0, 256]]},
        {"size": 390, "size_from": [[0.0, 390]]},
        {"schedule": "step"},
        {"batch": 7},
        {"learning_rate": 1e-3},
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        config.from_dict(wrong)


def test_a_recipe_survives_the_card() -> None:
    assert config.from_dict(config.to_dict(TINY)) == TINY


def test_a_run_can_begin_with_another_run_s_encoder_and_decoder(tmp_path: Path) -> None:
    first = train.fit(TINY, discs(8), NOTHING, tmp_path / "first")
    short = replace(TINY, epochs=1, rate=0.0, encoder_rate=0.0, ema=0.0)
    second = train.fit(
        short, discs(8), NOTHING, tmp_path / "second", tmp_path / "first" / train.CHECKPOINT
    )
    kept = dict(first.average.outline.named_parameters())
    for name, value in second.net.outline.named_parameters():
        torch.testing.assert_close(value, kept[name])
    assert second.step == 4


def test_a_run_of_another_architecture_is_not_taken_over(tmp_path: Path) -> None:
    train.fit(TINY, discs(8), NOTHING, tmp_path / "first")
    other = replace(TINY, decoder_channels=(8, 8, 8, 8, 8))
    with pytest.raises(ValueError, match="another architecture"):
        train.fit(
            other, discs(8), NOTHING, tmp_path / "second", tmp_path / "first" / train.CHECKPOINT
        )
