"""A compiled network gives what the eager one gives; a compiler that fails costs speed alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.network import compiled, model  # noqa: E402
from tests.support.ml.tiny_training import TINY  # noqa: E402

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
WANTED = replace(TINY, compiled="default", bf16=False, size_from=((0.0, 64),))


def test_the_traced_network_is_the_eager_one_and_stays_as_it_was() -> None:
    torch.manual_seed(0)
    net = model.segmenter(WANTED).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    # Traced forward and backward, without the C++ compiler that the default needs.
    traced = compiled.forward(net, WANTED, CPU, backend="aot_eager")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    picture = torch.rand(4, 1, 64, 64) * 2 - 1
    ours, theirs = traced(picture), compiled.forward(net, TINY, CPU)(picture)
    for name in ("mask_logits", "image_logits", "patch_logits"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-3, atol=1e-4)


def test_without_a_working_compiler_the_run_goes_on() -> None:
    net = model.segmenter(WANTED)
    with pytest.warns(UserWarning, match="not compiled"):
        passes = compiled.forward(net, WANTED, CPU, backend="no-such-compiler")
    assert passes(torch.zeros(2, 1, 64, 64)).mask_logits.shape == (2, 1, 64, 64)
