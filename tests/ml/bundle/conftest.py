"""A cache as one file, with a recipe that trains in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml.__main__ import main

RECIPE = """
name = "tiny"
encoder = "tu-test_efficientnet"
decoder_channels = [16, 16, 8, 8, 8]
size = 64
size_from = [[0.0, 32], [0.5, 64]]
epochs = 1
epoch_pictures = 8
batch = 4
positive_share = [0.75, 0.5]
encoder_rate = 1e-3
dropout = 0.0
ema = 0.5
freeze_encoder_norm = false
threads = 1
held_out_fold = 1
augment_on = "device"
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.ml.tiny_training import cache_of_three_folds

    return cache_of_three_folds(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def bundle(cache: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """72 pictures of 64 px in three folds."""
    out = tmp_path_factory.mktemp("bundle") / "tiny.bundle"
    words = ["--cache", str(cache), "--recipe", str(recipe), "--out", str(out)]
    assert main(["bundle", *words]) == 0
    return out
