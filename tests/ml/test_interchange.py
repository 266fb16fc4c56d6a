"""The ONNX file says what the network says, of any number of pictures, or is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
openvino = pytest.importorskip("openvino", reason="openvino is not installed")

from ml import config, export, interchange, model, reexport, session  # noqa: E402
from ml.__main__ import main  # noqa: E402
from ml.calibrate import Calibration, Thresholds  # noqa: E402
from ml.errors import BadInput  # noqa: E402

pytestmark = pytest.mark.torch

RECIPE = config.from_dict(
    {
        "name": "tiny",
        "encoder": "tu-tf_efficientnet_lite0",
        "decoder_channels": [16, 16, 8, 8, 8],
        "size": 64,
        "size_from": [[0.0, 64]],
        "mirror": True,
    }
)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = model.build(RECIPE, weights=False)
    with torch.no_grad():
        net.train()(torch.randn(4, 1, 64, 64))
        net.image.weight.normal_(std=0.1)
    facts = {"name": "tiny", "version": "1", "trained": {"config": config.to_dict(RECIPE)}}
    out = tmp_path_factory.mktemp("weights")
    return export.write(
        out, net.eval(), RECIPE, Calibration(1.7, -0.4), Thresholds(), facts, ["a limit"]
    )


def test_it_says_what_the_served_model_says(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiny.onnx"
    assert main(["onnx", "--weights", str(shipped), "--out", str(out)]) == 0
    assert "differs from the network by at most 0.00" in capsys.readouterr().out
    views = reexport.views(64)
    served = session.open(shipped, "cpu", precision="f32").answer(views)
    engine = openvino.Core().compile_model(out, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for some in (views, views[:1]):
        said = engine(some)
        masks, images = said["mask_probability"][:, 0], said["image_probability"][:, 0]
        np.testing.assert_allclose(masks, served.masks[: len(some)], atol=1e-3)
        np.testing.assert_allclose(images, served.images[: len(some)], atol=1e-3)
    told = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert told["pleura_sha256"] == session.read_card(shipped)["sha256"]
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_that_says_otherwise_is_not_kept(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, plain, recipe = reexport.shipped(shipped)
    real = plain.forward

    def forward(picture: torch.Tensor) -> tuple[torch.Tensor, ...]:
        answer = real(picture)
        return answer if torch.compiler.is_exporting() else (answer[0] + 0.02, *answer[1:])

    monkeypatch.setattr(plain, "forward", forward)
    monkeypatch.setattr(reexport, "shipped", lambda _: (card, plain, recipe))
    (tmp_path / "tiny.onnx").write_bytes(b"an older one")
    with pytest.raises(BadInput, match=r"differ from the network's by 0\.02"):
        interchange.write(shipped, tmp_path / "tiny.onnx")
    assert (tmp_path / "tiny.onnx").read_bytes() == b"an older one"
    assert len(list(tmp_path.iterdir())) == 1
