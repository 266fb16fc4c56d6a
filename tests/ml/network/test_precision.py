"""The precision of training."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.network import precision  # noqa: E402
from tests.support.ml.tiny_training import TINY  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_fp16_is_for_a_gpu_alone() -> None:
    asked = replace(TINY, fp16=True)
    assert precision.runs_in_fp16(asked, torch.device("cuda"))
    assert not precision.runs_in_bf16(asked, torch.device("cuda"))
    assert not precision.runs_in_fp16(asked, torch.device("cpu"))
    assert not precision.runs_in_fp16(TINY, torch.device("cuda"))
    assert not precision.scaler(asked, torch.device("cpu")).is_enabled()
