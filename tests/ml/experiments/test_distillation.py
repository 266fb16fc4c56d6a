"""What teachers say is kept, mixed with what people drew, and never carries held-out patients."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.__main__ import main  # noqa: E402
from ml.datasets import catalogue, dataset  # noqa: E402
from ml.datasets.catalogue import Record  # noqa: E402
from ml.datasets.soft_labels import SoftLabels  # noqa: E402
from ml.errors import BadInput  # noqa: E402
from ml.network import model  # noqa: E402
from ml.preprocessing import transforms  # noqa: E402
from ml.preprocessing.lung_crop import Crop  # noqa: E402
from ml.recipe import Recipe  # noqa: E402
from ml.recipe_limits import BadRecipe  # noqa: E402
from ml.training import checkpoint, run_state, train  # noqa: E402
from tests.support.ml.tiny_training import NOTHING, TINY, cache_of_three_folds, discs  # noqa: E402

pytestmark = pytest.mark.torch


def teacher(path: Path, seed: int = 1, fold: int = 0) -> Path:
    """A network that says something else of every picture."""
    begun = run_state.start(replace(TINY, seed=seed, held_out_fold=fold), torch.device("cpu"))
    with torch.no_grad():
        begun.average.train()(torch.randn(4, 1, 64, 64))
        begun.average.image.weight.normal_(std=0.1)
        begun.average.outline[0].weight.mul_(8)
    run_state.save(begun, path)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return cache_of_three_folds(tmp_path / "cache")


def teach(cache: Path, *teachers: Path, name: str = "two") -> int:
    words = [word for path in teachers for word in ("--teacher", str(path))]
    return main(["soft-labels", *words, "--cache", str(cache), "--name", name])


def said(cache: Path, name: str = "two") -> dict[str, float]:
    with (cache / "taught" / name / "predictions.csv").open(newline="") as file:
        return {row["id"]: float(row["probability"]) for row in csv.DictReader(file)}


def test_what_is_stored_is_the_mean_of_the_teachers_answers(cache: Path, tmp_path: Path) -> None:
    paths = [teacher(tmp_path / f"{seed}.pt", seed) for seed in (1, 2)]
    assert teach(cache, *paths) == 0
    records = catalogue.read_records(cache)
    assert set(said(cache)) == {record.id for record in records}
    record = records[5]
    picture = dataset.Pictures.read_one(cache, record)
    view = torch.from_numpy(transforms.place(picture, 64))[None, None]
    masks, logits = [], []
    for path in paths:
        net = model.build(TINY, weights=False).eval()
        checkpoint.fill(net, checkpoint.weights(path), "teacher")
        with torch.no_grad():
            mask, logit = model.answer(net, view, TINY.mirror)
        masks.append(mask[0, 0].numpy())
        logits.append(float(logit))
    expected = 1 / (1 + np.exp(-np.mean(logits)))
    assert said(cache)[record.id] == pytest.approx(expected, abs=1e-4)
    kept = SoftLabels.read(cache, replace(TINY, taught="two"), [record.id])
    map_ = kept.map_of(record.id, picture.shape).astype(float) / 255
    np.testing.assert_allclose(map_, np.mean(masks, axis=0), atol=0.05)
    assert np.ptp(map_) > 0.1


def test_a_stopped_look_goes_on_with_what_is_left(cache: Path, tmp_path: Path) -> None:
    path = teacher(tmp_path / "one.pt")
    teach(cache, path)
    whole = said(cache)
    words = cache / "taught" / "two" / "predictions.csv"
    lines = words.read_text().splitlines()
    words.write_text("\n".join(lines[:-3]) + "\n")
    first = cache / "taught" / "two" / f"{lines[1].split(',')[0]}.png"
    first.write_bytes(b"not looked at again")
    assert teach(cache, path) == 0
    assert said(cache) == whole
    assert first.read_bytes() == b"not looked at again"
    words.write_text("\n".join([*lines[:3], lines[3][:9]]))  # a stop in the middle of a line
    with pytest.raises(BadInput, match="are incomplete"):
        SoftLabels.read(cache, replace(TINY, taught="two"), [])
    assert teach(cache, path) == 0
    assert said(cache) == whole
    words.write_text("id,probability\n")  # a stop before the first picture
    assert teach(cache, path) == 0
    assert said(cache) == whole


@pytest.mark.parametrize("name", ["my_x", "../x", "", "Two"])
def test_a_name_that_no_recipe_could_give_is_refused(
    cache: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(cache, teacher(tmp_path / "one.pt"), name=name) == 1
    assert "small letters, digits and hyphens" in capsys.readouterr().err


def test_other_teachers_need_another_name(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teach(cache, teacher(tmp_path / "one.pt", seed=1))
    assert teach(cache, teacher(tmp_path / "other.pt", seed=2)) == 1
    assert "choose another --name" in capsys.readouterr().err


@pytest.mark.parametrize(("folds", "allowed"), [((0,), True), ((0, 1), False)])
def test_no_teacher_has_seen_whom_the_student_holds_out(
    cache: Path, tmp_path: Path, folds: tuple[int, ...], allowed: bool
) -> None:
    teach(cache, *(teacher(tmp_path / f"{n}.pt", seed=n, fold=n) for n in folds))
    recipe = replace(TINY, taught="two", held_out_fold=0)
    names = [record.id for record in catalogue.read_records(cache)]
    if allowed:
        assert len(SoftLabels.read(cache, recipe, names).maps) == 72
    else:
        with pytest.raises(BadInput, match="trained on patients of fold 0"):
            SoftLabels.read(cache, recipe, names)
    assert SoftLabels.read(cache, replace(recipe, held_out_fold=-1), names)


def test_what_was_never_taught_is_a_sentence(cache: Path) -> None:
    with pytest.raises(BadInput, match="no soft labels 'two'"):
        SoftLabels.read(cache, replace(TINY, taught="two"), [])
    with pytest.raises(BadRecipe, match="taught is a name"):
        replace(TINY, taught="../away")
    with pytest.raises(BadRecipe, match="taught is a name"):
        replace(TINY, taught="of-{folder}")
    assert replace(TINY, taught="of-{fold}").of_fold(3) == replace(
        TINY, taught="of-3", held_out_fold=3
    )
    with pytest.raises(BadRecipe, match="recipes of one class"):
        replace(TINY, taught="two", classes=("pneumothorax", "other"))


def test_the_teachers_map_moves_with_the_picture() -> None:
    """A map that is the picture itself stays it, whatever the view."""
    still = replace(TINY, contrast=0, brightness=0, gamma=0, noise=0, warp=0.01)
    y, x = np.mgrid[:64, :64] / 64
    picture = np.rint(255 * (0.5 + 0.3 * np.sin(5 * x) * np.cos(4 * y))).astype(np.uint8)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        view, target = transforms.augment(
            picture, np.zeros_like(picture), 64, still, rng, Crop(0.1, 0.1, 0.8), picture
        )
        assert target.shape == (2, 64, 64)
        np.testing.assert_allclose(target[1], (view + 1) / 2, atol=0.01)


def learnt(recipe: Recipe, pictures: dataset.Pictures, out: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = train.fit(recipe, pictures, NOTHING, out).net.state_dict()
    return weights


def taught_discs(value: int, probability: float) -> dataset.Pictures:
    """Discs, and teachers who say the same everywhere."""
    pictures = discs(16)
    names = [record.id for record in pictures.records]
    maps = {name: np.full((64, 64), value, dtype=np.uint8) for name in names}
    return replace(pictures, soft_labels=SoftLabels(maps, dict.fromkeys(names, probability)))


def test_teachers_without_weight_change_nothing_and_with_weight_they_do(tmp_path: Path) -> None:
    alone = learnt(TINY, discs(16), tmp_path / "alone")
    unheard = replace(TINY, taught="x", taught_weight=0.0)
    heard = replace(TINY, taught="x", taught_weight=0.9)
    same = learnt(unheard, taught_discs(255, 1.0), tmp_path / "unheard")
    other = learnt(heard, taught_discs(255, 1.0), tmp_path / "heard")
    for name, value in alone.items():
        torch.testing.assert_close(same[name], value, rtol=0, atol=0)
    assert not torch.equal(other["image.bias"], alone["image.bias"])
    assert not torch.equal(other["outline.0.weight"], alone["outline.0.weight"])


def test_what_nobody_judged_is_drawn_only_with_teachers(cache: Path) -> None:
    records = catalogue.read_records(cache)
    unknown = Record("u", "unlabelled", "u", catalogue.NO_FOLD, False, 64, 64)
    cv2.imwrite(str(cache / "pictures" / "u.png"), np.zeros((64, 64), dtype=np.uint8))
    everything = [*records, unknown]
    catalogue.write_records(cache, everything)
    assert unknown in catalogue.read_records(cache)
    assert unknown not in train.split(TINY, everything)[0]
    assert unknown in train.split(replace(TINY, taught="two"), everything)[0]
