"""The loop: it learns, it stops when told, and a resumed run is the same run."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.__main__ import main  # noqa: E402
from ml.datasets import dataset  # noqa: E402
from ml.errors import BadInput  # noqa: E402
from ml.network import losses, model, precision  # noqa: E402
from ml.recipe import LOSSES, Recipe  # noqa: E402
from ml.recipe_limits import BadRecipe  # noqa: E402
from ml.training import batch_norm, batches, checkpoint, run_state, train  # noqa: E402
from tests.support.tiny_training import NOTHING, TINY, discs, log  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch


def mean(rows: list[dict[str, str]], column: str) -> float:
    return sum(float(row[column]) for row in rows) / len(rows)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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
        patch.setattr(train.weight_averaging, "tidy", stop_after_one_epoch)
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
    slow = dataset.Pictures(drawn.records, Slow(drawn.pictures), drawn.masks)
    brief = replace(TINY, minutes=0.3 / 60, epochs=0)
    state = train.fit(brief, slow, NOTHING, tmp_path)
    assert state.step == 0
    assert state.schedule.best_loss == math.inf
    assert not (tmp_path / "log.csv").exists()


def test_norms_are_measured_anew_before_training() -> None:
    state = train.start(replace(TINY, adapt_norm=8), torch.device("cpu"))
    layers = [m for m in state.net.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in layers]
    before = [norm.running_mean.clone() for norm in layers]
    decoder = {k: v.clone() for k, v in state.net.decoder.state_dict().items()}
    batch_norm.adapt(state.net, state.recipe, discs(8))
    changed = [not torch.equal(n.running_mean, old) for n, old in zip(layers, before, strict=True)]
    assert all(changed)
    assert [norm.momentum for norm in layers] == momenta
    assert all(torch.equal(v, decoder[k]) for k, v in state.net.decoder.state_dict().items())


RECIPES = sorted((Path(model.__file__).parents[1] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_takes_a_training_step(path: Path) -> None:
    recipe = replace(
        Recipe.load(path), size=64, size_from=((0.0, 64),), batch=2, epoch_pictures=2,
        accumulate=1, pretrained="", workers=0,
    )  # fmt: skip
    state = train.start(recipe, torch.device("cpu"))
    state.net.train()
    batch = next(iter(batches.loader(dataset.AugmentedEpoch(discs(4), recipe, 0, 1.0, 64), recipe)))
    with precision.autocast(recipe, torch.device("cpu")):
        seen = state.net.outputs(batch["picture"])
        image_logits = state.net.image_logits(seen.features)
    part = losses.combined(
        seen.mask_logits.float(), image_logits.float(), seen.patch_logits.float(), batch["mask"],
        batch["positive"], batch["outlined"], losses.MASK_LOSSES[recipe.loss],
    )  # fmt: skip
    before = {name: value.clone() for name, value in state.net.named_parameters()}
    train._weighted(recipe, part.mask, part.image, part.patch).backward()
    state.optimizer.step()
    now = dict(state.net.named_parameters())
    assert all(bool(value.isfinite().all()) for value in now.values())
    trained = [name for name, value in now.items() if value.requires_grad and value.ndim == 4]
    # smp's encoder keeps a layer before its classifier that nobody calls.
    used = [n for n in trained if n.startswith(("encoder.", "decoder.")) and "_conv_head" not in n]
    assert [name for name in used if torch.equal(now[name], before[name])] == []


def test_the_clock_ends_a_run_and_the_schedule_with_it(tmp_path: Path) -> None:
    began = time.monotonic()
    recipe = replace(TINY, minutes=0.1, epochs=0)
    state = train.fit(recipe, discs(16), NOTHING, tmp_path)
    assert 6 <= time.monotonic() - began < 60  # a busy machine's last step may take long
    assert state.step > 0
    rows = log(tmp_path)
    # The clock may run out while an epoch is written: the last row is that one's then.
    done = min(float(rows[-1]["minutes"]) / recipe.minutes, 1.0)
    expected = train.schedule.rate_at(recipe, done)
    assert float(rows[-1]["rate"]) == pytest.approx(expected, abs=0.05)
    began_at = float(rows[-2]["minutes"]) if len(rows) > 1 else 0.0
    assert rows[-1]["size"] == "64" or began_at < 0.05


def test_the_average_is_exponential_and_counters_are_copied() -> None:
    average, net = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    net.weight.data.fill_(3.0)
    net.num_batches_tracked.fill_(7)
    run_state.update_average(average, net, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.num_batches_tracked.item() == 7


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
        {"size_from": [[0.0, 384, 1]]},
        {"epoch_pictures": 0},
        {"positive_share": [0.5]},
        {"architecture": "Net"},
        {"architecture": "UnetPlusPlus", "outline_stride": 2},
        {"architecture": "FPN", "attention": "scse"},
        {"attention": "softmax"},
        {"attention": "scse", "decoder_channels": [64, 32, 32, 16, 8]},
        {"frozen_stages": 2},
        {"drop_path": 0.2},
        {"label_doubt": 0.5},
        {"classes": []},
        {"classes": ["pneumothorax", "pneumothorax"]},
        {"classes": ["../masks"]},
        {"data_share": 0.0},
        {"sources": []},
        {"sources": ["masks", "rumours"]},
        {"devices": 2},
        {"engine": "fabric", "devices": 3},
        {"engine": "ray"},
        {"hard_negatives": 1.5},
        {"hard_every": 0},
        {"denoise": "gauss"},
        {"clahe": -1.0},
        {"accumulate": 0},
        {"accumulate": 3},
        {"onecycle_rise": 1.0},
        {"plateau_factor": 1.0},
        {"patience": -1},
        {"patience": 2, "validate_every": 5},
        {"patience": 5, "held_out_fold": -1},
        {"keep": 2, "keep_by": "best", "validate_every": 0},
        {"keep_by": "all"},
        {"stop_on": "loss"},
        {"decoder_norm": "layer"},
        {"rate": -1e-3},
        {"rate": math.nan},
        {"ema": 2.0},
        {"clip": 0.0},
        {"dropout": 1.5},
        {"drop_path": 2.0},
        {"warmup": 1.0},
        {"positive_share": [2.0, 1.0]},
        {"decoder_channels": [256, 128, 64, 32, 0]},
        {"size": 0, "size_from": [[0.0, 0]]},
        {"size": -32, "size_from": [[0.0, -32]]},
        {"size": 384, "size_from": [[0.0, 128], [0.9, 256], [0.5, 384]]},
        {"workers": -1},
        {"threads": -2},
        {"minutes": math.nan},
        {"decoder_norm": "instance", "architecture": "FPN"},
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadRecipe, match=r".+"):
        Recipe.from_dict(wrong)


@pytest.mark.parametrize("name", ["../x", "", "a b", ".hidden"])
def test_a_recipes_name_is_that_of_a_file_and_stored_ones_stay(tmp_path: Path, name: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f'name = "{name}"\n')
    with pytest.raises(BadRecipe, match="name has letters"):
        Recipe.load(path)
    assert Recipe.from_dict({"name": name}).name == name  # as in checkpoints of older versions


def test_weights_whose_past_nothing_tells_have_none(tmp_path: Path) -> None:
    bare = tmp_path / "bare.pt"
    torch.save({"config": TINY.to_dict(), "net": {}, "average": {}}, bare)
    assert checkpoint.history(bare) == []
    assert checkpoint.history(tmp_path / "model.safetensors") == []


def test_blocks_are_skipped_in_training_alone() -> None:
    recipe = replace(TINY, encoder="tu-tf_efficientnet_lite0", drop_path=0.9, bf16=False)
    state = train.start(recipe, torch.device("cpu"))
    picture = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        model.freeze_norm(state.net.train())
        assert not torch.equal(
            state.net.outputs(picture).features, state.net.outputs(picture).features
        )
        still = state.average.outputs(picture).features
        torch.testing.assert_close(state.net.eval().outputs(picture).features, still)


def test_the_losses_that_a_recipe_may_name_are_those_there_are() -> None:
    assert set(LOSSES) == set(losses.MASK_LOSSES)


def test_a_recipe_survives_the_card() -> None:
    assert Recipe.from_dict(TINY.to_dict()) == TINY


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


def test_a_trunk_has_no_teachers_that_met_its_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('taught = "two"\nheld_out_fold = -1\n')
    asked = ["--recipe", str(recipe), "--cache", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["train", *asked, "--without", "0,1"]) == 1
    assert "teachers may have been trained" in capsys.readouterr().err


def test_a_run_of_another_architecture_is_not_taken_over(tmp_path: Path) -> None:
    train.fit(TINY, discs(8), NOTHING, tmp_path / "first")
    other = replace(TINY, decoder_channels=(8, 8, 8, 8, 8))
    with pytest.raises(ValueError, match="another architecture"):
        train.fit(
            other, discs(8), NOTHING, tmp_path / "second", tmp_path / "first" / train.CHECKPOINT
        )


INDEPENDENT = replace(  # no picture's answer depends on what else is in its batch
    TINY,
    decoder_norm="instance",
    freeze_encoder_norm=True,
    size_from=((0.0, 64),),
    epochs=1,
    bf16=False,
    batch=8,
    epoch_pictures=8,
    clip=1e9,
)


def test_two_passes_of_four_pictures_make_the_step_of_one_pass_of_eight(tmp_path: Path) -> None:
    gradients = []
    for batch, accumulate in ((8, 1), (4, 2), (2, 4)):
        recipe = replace(INDEPENDENT, batch=batch, accumulate=accumulate)
        run = train.fit(recipe, discs(16), NOTHING, tmp_path / f"{batch}")
        assert run.step == 1
        gradients.append({n: p.grad for n, p in run.net.named_parameters() if p.grad is not None})
    logged = [float(log(tmp_path / name)[0]["mask_loss"]) for name in ("8", "4", "2")]
    assert logged == pytest.approx([logged[0]] * 3, rel=1e-4)
    largest = max(float(g.abs().max()) for g in gradients[0].values())
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(other[name], gradient, atol=1e-5 * largest, rtol=1e-3)


def test_a_run_without_progress_on_the_held_out_fold_ends_early_and_stays_ended(
    tmp_path: Path,
) -> None:
    still = replace(
        TINY, epochs=9, patience=2, validate_every=1, rate=0.0, encoder_rate=0.0, image_rate=0.0,
        size_from=((0.0, 64),), freeze_encoder_norm=True, ema=0.0, stop_on="auc",
        decoder_norm="instance",
    )  # fmt: skip
    run = train.fit(still, discs(8), discs(8, seed=1), tmp_path)
    assert run.epoch == 3  # the first is the best so far, two more bring nothing
    again = train.fit(still, discs(8), discs(8, seed=1), tmp_path)
    assert again.epoch == 3
    patient = replace(still, patience=0, epochs=4)
    assert train.fit(patient, discs(8), discs(8, seed=1), tmp_path / "all").epoch == 4


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
    assert (fresh.schedule.plateau_factor, fresh.watch.waited) == (0.25, 2)
    assert fresh.schedule.best_epoch == 0


def test_fp16_is_for_a_gpu_alone() -> None:
    asked = replace(TINY, fp16=True)
    assert precision.runs_in_fp16(asked, torch.device("cuda"))
    assert not precision.runs_in_bf16(asked, torch.device("cuda"))
    assert not precision.runs_in_fp16(asked, torch.device("cpu"))
    assert not precision.runs_in_fp16(TINY, torch.device("cuda"))
    assert not precision.scaler(asked, torch.device("cpu")).is_enabled()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_fp16_learns_on_a_gpu(tmp_path: Path) -> None:
    run = train.fit(replace(TINY, fp16=True, epochs=4), discs(16), NOTHING, tmp_path)
    assert run.scaler.is_enabled()
    assert all(bool(value.isfinite().all()) for value in run.net.parameters())
