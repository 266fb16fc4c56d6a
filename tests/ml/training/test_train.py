"""The loop: it learns, it stops when told, and a resumed run is the same run."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.__main__ import main  # noqa: E402
from ml.datasets import dataset  # noqa: E402
from ml.network import losses, model, precision  # noqa: E402
from ml.recipe import LOSSES, Recipe  # noqa: E402
from ml.training import batches, train  # noqa: E402
from tests.support.ml.tiny_training import NOTHING, TINY, discs, log  # noqa: E402 - only where torch is

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


RECIPES = sorted((Path(model.__file__).parents[1] / "recipes").glob("*.toml"))


@pytest.mark.sampled(4)
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


def test_a_trunk_has_no_teachers_that_met_its_folds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('taught = "two"\nheld_out_fold = -1\n')
    asked = ["--recipe", str(recipe), "--cache", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["train", *asked, "--without", "0,1"]) == 1
    assert "teachers trained on the patients" in capsys.readouterr().err


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_fp16_learns_on_a_gpu(tmp_path: Path) -> None:
    run = train.fit(replace(TINY, fp16=True, epochs=4), discs(16), NOTHING, tmp_path)
    assert run.scaler.is_enabled()
    assert all(bool(value.isfinite().all()) for value in run.net.parameters())
