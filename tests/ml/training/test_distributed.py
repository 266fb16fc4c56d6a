"""Several processes train as one does: same losses, same weights."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.datasets import catalogue  # noqa: E402
from ml.recipe import Recipe  # noqa: E402
from ml.training import distributed, train  # noqa: E402
from tests.support.ml.tiny_training import discs, log  # noqa: E402 - only where torch is
from tests.support.paths import ROOT  # noqa: E402

pytestmark = pytest.mark.torch

# Nothing in a picture's answer depends on what else its process sees: norms are frozen, or those
# of the picture itself.
RECIPE = """
name = "two"
encoder = "tu-test_efficientnet"
decoder_channels = [16, 16, 8, 8, 8]
decoder_norm = "instance"
freeze_encoder_norm = true
size = 64
size_from = [[0.0, 64]]
epochs = 2
epoch_pictures = 16
batch = 4
accumulate = 2
dropout = 0.0
bf16 = false
validate_every = 2
threads = 1
hard_negatives = 0.5
hard_from = 0.4
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    for name in ("pictures", "masks"):
        (folder / name).mkdir(parents=True)
    drawn = discs(24)
    for record, picture, mask in zip(drawn.records, drawn.pictures, drawn.masks, strict=True):
        cv2.imwrite(str(folder / "pictures" / f"{record.id}.png"), picture)
        if mask is not None:
            cv2.imwrite(str(folder / "masks" / f"{record.id}.png"), mask)
    records = [
        catalogue.Record(r.id, r.source, r.patient, int(r.id) % 3, r.positive, r.rows, r.columns)
        for r in drawn.records
    ]
    catalogue.write_records(folder, records)
    return folder


def training(cache: Path, name: str, more: str) -> Path:
    recipe, out = cache.parent / f"{name}.toml", cache.parent / name
    recipe.write_text(RECIPE + more)
    asked = ["train", "--recipe", recipe, "--cache", cache, "--out", out]
    command = [sys.executable, "-m", "ml", *map(str, asked)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.timeout(600)
def test_two_processes_learn_what_one_learns(cache: Path) -> None:
    pytest.importorskip("lightning_fabric", reason="lightning-fabric is not installed")
    one = training(cache, "one", "")
    two = training(cache, "two", 'engine = "fabric"\ndevices = 2\n')
    rows = [log(out) for out in (one, two)]
    assert len(rows[0]) == len(rows[1]) == 2  # one process writes, not both
    for ours, theirs in zip(*rows, strict=True):
        for column in ("mask_loss", "image_loss", "patch_loss"):
            assert float(ours[column]) == pytest.approx(float(theirs[column]), rel=2e-3), column
        assert ours["step"] == theirs["step"]
    written = [torch.load(out / train.CHECKPOINT, weights_only=True) for out in (one, two)]
    weights = [
        torch.cat([v.flatten() for v in content["net"].values() if v.dtype.is_floating_point])
        for content in written
    ]
    # Adam takes the sign of a vanishing gradient from rounding: a few weights go another way.
    assert float((weights[0] - weights[1]).abs().mean()) < 1e-4
    torch.testing.assert_close(
        written[0]["false_positives"], written[1]["false_positives"], atol=1e-2, rtol=1e-2
    )


def test_without_an_engine_a_process_is_alone() -> None:
    group = distributed.start(Recipe())
    assert (group.size, group.rank, group.is_first) == (1, 0, True)
    value = torch.tensor([2.0])
    assert group.sum_of(value) is value
    assert group.broadcast("said") == "said"
    group.barrier()
