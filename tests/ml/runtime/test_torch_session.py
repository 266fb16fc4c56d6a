"""The networks in torch: the same answers as in OpenVINO, the lung finder included."""

import functools

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from ml.images import reader
from ml.inference import serving
from ml.inference.predict import predict
from ml.preparation import phantom
from ml.preprocessing import transforms
from ml.runtime import lung_finder, session

pytestmark = pytest.mark.torch


def test_the_lung_finder_finds_the_same_in_both_engines() -> None:
    finders = [
        lung_finder.Finder(opens=functools.partial(session.open, device="cpu", engine=engine))
        for engine in ("openvino", "torch")
    ]
    assert [finder.device.split()[1] for finder in finders] == ["openvino", "torch"]
    for seed, side in ((3, "left"), (4, None)):
        canonical = transforms.canonical(phantom.draw(seed, side, 25).pixels, 512)
        one, other = (finder.find(canonical) for finder in finders)
        # benchmarks/ml/backends.py measures this on X-rays.
        assert np.abs(one.probability - other.probability).max() < 1e-3
        assert (one.mask != other.mask).mean() < 1e-4
        assert one.crop() == other.crop()


def test_a_whole_prediction_is_the_same_in_both_engines_and_near_it_in_bf16() -> None:
    film = reader.read(phantom.dicom(phantom.draw(22, "left", 35, rows=700, columns=700)))
    exact = predict(film, serving.open(device="cpu", engine="openvino"))
    in_torch = predict(film, serving.open(device="cpu", engine="torch"))
    fast = predict(film, serving.open(device="cpu", engine="torch", precision="bf16"))
    assert in_torch.probability == pytest.approx(exact.probability, abs=2e-3)
    assert in_torch.band == exact.band
    assert (in_torch.mask != exact.mask).mean() < 1e-3
    assert fast.probability == pytest.approx(exact.probability, abs=0.1)
    assert fast.probability != in_torch.probability, "bf16 was not used"
