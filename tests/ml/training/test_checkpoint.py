"""Reading checkpoints and the history of weights."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.training import checkpoint, train  # noqa: E402
from tests.support.ml.tiny_training import TINY  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_file_that_is_no_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        train.restore(train.start(TINY, torch.device("cpu")), tmp_path / "checkpoint.pt")


def test_weights_without_a_recorded_past_have_none(tmp_path: Path) -> None:
    bare = tmp_path / "bare.pt"
    torch.save({"config": TINY.to_dict(), "net": {}, "average": {}}, bare)
    assert checkpoint.history(bare) == []
    assert checkpoint.history(tmp_path / "model.safetensors") == []
