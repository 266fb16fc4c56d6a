"""Every architecture, loss and size that a recipe may name learns, answers and ships."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
openvino = pytest.importorskip("openvino", reason="openvino is not installed")

from ml.export import graph  # noqa: E402
from ml.metrics.calibration import Calibration  # noqa: E402
from ml.network import model  # noqa: E402
from ml.preprocessing import transforms  # noqa: E402
from ml.recipe import ARCHITECTURES, LOSSES, Recipe  # noqa: E402
from ml.training import train  # noqa: E402
from tests.support.ml.tiny_training import NOTHING, TINY, discs  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch

ONE_STEP = replace(
    TINY, epochs=1, epoch_pictures=4, batch=4, size_from=((0.0, 64),), rate=1e-3, ema=0.0
)
CHOICES = [{"architecture": name} for name in ARCHITECTURES] + [
    {"attention": "scse", "decoder_channels": (32, 32, 16, 16, 16)},
    {"decoder_norm": "instance"},
    {"outline_stride": 2},
    {"architecture": "Segformer", "encoder": "mit_b0"},
    {"encoder": "efficientnet-b3"},
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_network_takes_a_step_and_ships(choice: dict[str, object], tmp_path: Path) -> None:
    recipe = replace(ONE_STEP, **choice)
    fresh = dict(train.start(recipe, torch.device("cpu")).net.named_parameters())
    state = train.fit(recipe, discs(8), NOTHING, tmp_path)
    learnt = dict(state.net.named_parameters())
    assert all(bool(value.isfinite().all()) for value in learnt.values())
    convolutions = [n for n in learnt if n.startswith(("encoder.", "decoder.")) and
                    learnt[n].ndim == 4 and "_conv_head" not in n]  # fmt: skip
    moved = [name for name in convolutions if not torch.equal(learnt[name], fresh[name])]
    assert len(moved) > 0.9 * len(convolutions)

    exported = graph.to_openvino(state.average, recipe, Calibration())
    pictures = np.stack(discs(2).pictures)[:, None].astype(np.float32) / 127.5 - 1
    shipped = openvino.Core().compile_model(exported, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    said = shipped({"picture": pictures})
    with torch.no_grad():
        masks, images = state.average.eval()(torch.from_numpy(pictures))
    np.testing.assert_allclose(said["mask_probability"], masks.sigmoid().numpy(), atol=0.01)
    np.testing.assert_allclose(said["image_probability"], images.sigmoid().numpy(), atol=0.01)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_teaches_the_outline(loss: str, tmp_path: Path) -> None:
    outline = replace(ONE_STEP, loss=loss, image_weight=0.0, patch_weight=0.0)
    fresh = dict(train.start(outline, torch.device("cpu")).net.named_parameters())
    state = train.fit(outline, discs(8), NOTHING, tmp_path)
    learnt = dict(state.net.named_parameters())
    assert all(bool(value.isfinite().all()) for value in learnt.values())
    heads = [name for name in learnt if name.startswith("outline.")]
    assert heads
    assert not any(torch.equal(learnt[name], fresh[name]) for name in heads)


@pytest.fixture(scope="module")
def net() -> model.Segmenter:
    return model.build(ONE_STEP, weights=False).eval()


@pytest.mark.parametrize("size", [256, 384, 512, 768, 1024])
def test_every_size_of_the_reference_and_above_is_answered(net: model.Segmenter, size: int) -> None:
    recipe = Recipe.from_dict({"size": size, "size_from": [[0.0, size // 2], [0.5, size]]})
    assert transforms.canonical_side(recipe.size) >= size
    with torch.no_grad():
        masks, images = net(torch.zeros(1, 1, size, size))
    assert masks.shape == (1, 1, size, size)
    assert images.shape == (1, 1)
