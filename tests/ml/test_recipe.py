"""Recipes: refused settings, names, plain values."""

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.recipe import Recipe  # noqa: E402
from ml.recipe_limits import BadRecipe  # noqa: E402
from tests.support.ml.tiny_training import TINY  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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


def test_a_recipe_survives_the_card() -> None:
    assert Recipe.from_dict(TINY.to_dict()) == TINY
