"""The loop: it learns, it stops when told, and a resumed run is the same run."""

import csv
import math
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml import config, data, losses, model, precision, train  # noqa: E402 - only where torch is
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
    # Dropout draws from torch's own generator; nothing else may, or the resumed run is another.
    noisy = replace(TINY, dropout=0.3, validate_every=1, adapt_norm=8)
    whole = train.fit(noisy, discs(16), discs(4, seed=1), tmp_path / "whole")

    broken = tmp_path / "broken"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "validate", stop_after_one_epoch)
        with pytest.raises(KeyboardInterrupt):
            train.fit(noisy, discs(16), discs(4, seed=1), broken)
    torch.manual_seed(999)  # whatever happened in between
    resumed = train.fit(noisy, discs(16), discs(4, seed=1), broken)

    assert resumed.epoch == whole.epoch == 2
    for name in ("net", "average"):
        ours, theirs = getattr(resumed, name).state_dict(), getattr(whole, name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    moments = [s.optimizer.state_dict()["state"] for s in (resumed, whole)]
    assert all(
        torch.equal(moments[0][key]["exp_avg"], moments[1][key]["exp_avg"]) for key in moments[1]
    )


def stop_after_one_epoch(*_: object) -> None:
    """Stands where the run would be killed: after the checkpoint, before the next epoch."""
    raise KeyboardInterrupt


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


def test_a_file_that_is_no_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        train.restore(train.start(TINY, torch.device("cpu")), tmp_path / "checkpoint.pt")


class Slow(list[object]):
    """Pictures that take their time."""

    def __getitem__(self, number: object) -> object:
        time.sleep(0.2)
        return super().__getitem__(number)  # type: ignore[index]


def test_an_epoch_without_a_step_is_neither_logged_nor_learnt_from(tmp_path: Path) -> None:
    drawn = discs(8)
    slow = data.Pictures(drawn.records, Slow(drawn.pictures), drawn.masks)
    brief = replace(TINY, minutes=0.3 / 60, epochs=0)
    state = train.fit(brief, slow, NOTHING, tmp_path)
    assert state.step == 0
    assert state.best_loss == math.inf
    assert not (tmp_path / "log.csv").exists()


def test_norms_are_measured_anew_before_training() -> None:
    state = train.start(replace(TINY, adapt_norm=8), torch.device("cpu"))
    norms = [m for m in state.net.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    before = [norm.running_mean.clone() for norm in norms]
    decoder = {k: v.clone() for k, v in state.net.decoder.state_dict().items()}
    train.adapt_norm(state, discs(8))
    changed = [not torch.equal(n.running_mean, old) for n, old in zip(norms, before, strict=True)]
    assert all(changed)
    assert [norm.momentum for norm in norms] == momenta
    assert all(torch.equal(v, decoder[k]) for k, v in state.net.decoder.state_dict().items())
    average = state.average.state_dict()
    assert all(torch.equal(v, average[k]) for k, v in state.net.state_dict().items())


RECIPES = sorted((Path(model.__file__).parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_takes_a_training_step(path: Path) -> None:
    recipe = replace(
        config.load(path), size=64, size_from=((0.0, 64),), batch=2, epoch_pictures=2,
        pretrained="",
    )  # fmt: skip
    state = train.start(recipe, torch.device("cpu"))
    state.net.train()
    batch = next(iter(train._loader(data.Drawn(discs(4), recipe, 0, 1.0, 64), recipe)))
    with precision.autocast(recipe, torch.device("cpu")):
        seen = state.net.look(batch["picture"])
        image_logits = state.net.judge(seen.features)
    part = losses.combined(
        seen.mask_logits.float(), image_logits.float(), seen.patch_logits.float(), batch["mask"],
        batch["positive"], batch["outlined"], losses.MASK_LOSSES[recipe.loss],
    )  # fmt: skip
    before = {name: value.clone() for name, value in state.net.named_parameters()}
    train._weighed(recipe, part.mask, part.image, part.patch).backward()
    state.optimizer.step()
    now = dict(state.net.named_parameters())
    assert all(bool(value.isfinite().all()) for value in now.values())
    trained = [name for name, value in now.items() if value.requires_grad and value.ndim == 4]
    # smp's encoder keeps a layer before its classifier that nobody calls.
    used = [n for n in trained if n.startswith(("encoder.", "decoder.")) and "_conv_head" not in n]
    assert [name for name in used if torch.equal(now[name], before[name])] == []


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
        {"loss": "mse"},
        {"rate": "fast"},
        {"batch": 8.0},
        {"size_from": [384]},
        {"size_from": []},
        {"architecture": "Net"},
        {"architecture": "UnetPlusPlus", "outline_stride": 2},
        {"architecture": "FPN", "attention": "scse"},
        {"attention": "softmax"},
        {"attention": "scse", "decoder_channels": [64, 32, 32, 16, 8]},
        {"frozen_stages": 2},
        {"drop_path": 0.2},
        {"label_doubt": 0.5},
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(config.BadRecipe, match=r".+"):
        config.from_dict(wrong)


def test_blocks_are_skipped_in_training_alone() -> None:
    recipe = replace(TINY, encoder="tu-tf_efficientnet_lite0", drop_path=0.9, bf16=False)
    state = train.start(recipe, torch.device("cpu"))
    picture = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        model.freeze_norm(state.net.train())
        assert not torch.equal(state.net.look(picture).features, state.net.look(picture).features)
        still = state.average.look(picture).features
        torch.testing.assert_close(state.net.eval().look(picture).features, still)


def test_the_losses_that_a_recipe_may_name_are_those_there_are() -> None:
    assert set(config.LOSSES) == set(losses.MASK_LOSSES)


def test_a_recipe_survives_the_card() -> None:
    assert config.from_dict(config.to_dict(TINY)) == TINY


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


def test_a_run_of_another_architecture_is_not_taken_over(tmp_path: Path) -> None:
    train.fit(TINY, discs(8), NOTHING, tmp_path / "first")
    other = replace(TINY, decoder_channels=(8, 8, 8, 8, 8))
    with pytest.raises(ValueError, match="another architecture"):
        train.fit(
            other, discs(8), NOTHING, tmp_path / "second", tmp_path / "first" / train.CHECKPOINT
        )
