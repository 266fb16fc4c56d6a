"""Batch-norm statistics, measured again."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.training import batch_norm, train  # noqa: E402
from tests.support.ml.tiny_training import TINY, discs  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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
