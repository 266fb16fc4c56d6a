"""The ONNX file says what the network says, of any number of pictures, or is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
openvino = pytest.importorskip("openvino", reason="openvino is not installed")

from ml.errors import BadInput  # noqa: E402
from ml.export import graph, onnx_export, reexport  # noqa: E402 - only where torch is
from ml.metrics.calibration import Calibration  # noqa: E402
from ml.network import model  # noqa: E402 - only where torch is
from ml.recipe import Recipe  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch

RECIPE = Recipe.from_dict(
    {
        "name": "tiny",
        "encoder": "resnet18",
        "decoder_channels": [16, 16, 8, 8, 8],
        "size": 64,
        "size_from": [[0.0, 64]],
        "mirror": False,
    }
)
CARD = {"name": "tiny", "version": "1", "sha256": "ab" * 32, "thresholds": {"mask": 0.1}}


@pytest.fixture(scope="module")
def net() -> model.Segmenter:
    torch.manual_seed(0)
    net = model.build(RECIPE, weights=False)
    with torch.no_grad():
        net.train()(torch.randn(4, 1, 64, 64))
        net.image.weight.normal_(std=0.1)
    return net.eval()


@pytest.fixture(scope="module")
def exporter() -> Iterator[None]:
    """The exporter, which takes its time, is asked once: it answers the second test likewise."""
    programs: list[Any] = []
    ask = torch.onnx.export

    def export_once(*args: Any, **named: Any) -> Any:
        if not programs:
            programs.append(ask(*args, **named))
        return programs[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", export_once)
        yield


def serve(
    patch: pytest.MonkeyPatch, net: model.Segmenter, calibration: Calibration
) -> graph.Probabilities:
    """Make this the shipped model; how one is read from its folder is test_reexport's."""
    plain = graph.Probabilities(net, calibration, RECIPE).eval()
    patch.setattr(reexport, "shipped", lambda _: (CARD, plain, RECIPE))
    return plain


def test_it_gives_what_the_network_gives(
    net: model.Segmenter, exporter: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = serve(monkeypatch, net, Calibration(1.7, -0.4))
    out = tmp_path / "tiny.onnx"
    assert onnx_export.write(Path("anywhere"), out) < 1e-4
    assert list(tmp_path.iterdir()) == [out]
    views = reexport.sample_inputs(64)
    with torch.no_grad():
        mask, image, *_ = (answer.numpy() for answer in plain(torch.from_numpy(views)))
    engine = openvino.Core().compile_model(out, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (3, 1):
        said = engine(views[:count])
        np.testing.assert_allclose(said["mask_probability"], mask[:count], atol=1e-4)
        np.testing.assert_allclose(said["image_probability"], image[:count], atol=1e-4)
    told = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert told["pleura_sha256"] == CARD["sha256"]
    assert told["pleura_thresholds"] == '{"mask": 0.1}'


def test_a_file_with_another_answer_is_not_stored(
    net: model.Segmenter, exporter: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(monkeypatch, net, Calibration(0.5, 2.0))
    out = tmp_path / "tiny.onnx"
    out.write_bytes(b"an older one")
    with pytest.raises(BadInput, match="differ from the network's"):
        onnx_export.write(Path("anywhere"), out)
    assert out.read_bytes() == b"an older one"
    assert list(tmp_path.iterdir()) == [out]
