"""Two findings, one mask each: dark discs and bright squares, from the cache to what ships."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.datasets import catalogue  # noqa: E402
from ml.datasets import dataset as data  # noqa: E402
from ml.datasets.catalogue import Record  # noqa: E402
from ml.export import export  # noqa: E402
from ml.metrics.calibration import Calibration, Thresholds  # noqa: E402
from ml.network import losses, model  # noqa: E402
from ml.runtime import session  # noqa: E402
from ml.training import train, validation  # noqa: E402
from tests.support.ml.tiny_training import TINY  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch

TWO = replace(
    TINY, classes=("disc", "square"), epochs=25, size_from=((0.0, 64),), batch=8,
    positive_share=(0.75, 0.75), rate=1e-2, encoder_rate=3e-3, ema=0.8, warmup=0.0, scale=0.0,
    rotate=0.0, contrast=0.0, brightness=0.0, gamma=0.0, decoder_norm="instance", bf16=False,
    decoder_channels=(32, 32, 16, 16, 16),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four pictures one shows a disc, one a square, one both and one nothing."""
    folder = tmp_path_factory.mktemp("cache")
    for name in ("pictures", "masks", "masks-square"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    records = []
    for number in range(24):
        picture = rng.integers(110, 150, (64, 64)).astype(np.uint8)
        disc, square = number % 4 in (0, 2), number % 4 in (1, 2)
        if disc:
            mask = np.zeros((64, 64), np.uint8)
            cv2.circle(mask, (int(rng.integers(14, 24)), int(rng.integers(14, 50))), 9, 255, -1)
            picture[mask > 0] = 10
            cv2.imwrite(str(folder / "masks" / f"{number}.png"), mask)
        if square:
            mask = np.zeros((64, 64), np.uint8)
            left, top = (int(v) for v in rng.integers(34, 44, 2))
            mask[top : top + 16, left : left + 16] = 255
            picture[mask > 0] = 245
            cv2.imwrite(str(folder / "masks-square" / f"{number}.png"), mask)
        cv2.imwrite(str(folder / "pictures" / f"{number}.png"), picture)
        also = ("square",) if square else ()
        records.append(Record(str(number), "masks", str(number), 0, disc, 64, 64, None, also))
    catalogue.write_records(folder, records)
    return folder


@pytest.fixture(scope="module")
def pictures(cache: Path) -> data.Pictures:
    return data.Pictures.read(cache, catalogue.read_records(cache), TWO.classes)


def test_each_class_has_its_mask_and_its_label(pictures: data.Pictures) -> None:
    for dataset in (
        data.PlainPictures(pictures, TWO),
        data.AugmentedEpoch(pictures, TWO, 0, 0.75, 64),
    ):
        for number in range(8):
            item = dataset[number]
            assert item["mask"].shape == (2, 64, 64)
            assert item["positive"].shape == item["outlined"].shape == (2,)
            assert item["mask"].amax((1, 2)).tolist() == item["outlined"].tolist()
    plain = [data.PlainPictures(pictures, TWO)[n]["positive"].tolist() for n in range(4)]
    assert plain == [[1, 0], [0, 1], [1, 1], [0, 0]]


def test_the_loss_of_two_classes_is_that_of_each_counted_as_a_picture() -> None:
    draw = torch.Generator().manual_seed(0)
    maps, patches = (torch.randn(3, 2, s, s, generator=draw) for s in (8, 2))
    images = torch.randn(3, 2, generator=draw)
    positive = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
    masks = (torch.rand(3, 2, 8, 8, generator=draw) > 0.6) * positive[..., None, None]
    both = losses.combined(maps, images, patches, masks, positive, positive, losses.bce_dice)
    order = [(n, k) for n in range(3) for k in range(2)]
    one = [torch.stack([v[n, k] for n, k in order]) for v in (maps, images, patches, masks)]
    flags = torch.stack([positive[n, k] for n, k in order])
    single = losses.combined(
        one[0][:, None], one[1][:, None], one[2][:, None], one[3][:, None], flags, flags,
        losses.bce_dice,
    )  # fmt: skip
    for name in ("mask", "image", "patch"):
        assert getattr(both, name).item() == pytest.approx(getattr(single, name).item())


def test_one_class_has_the_network_it_always_had() -> None:
    net = model.build(TINY, weights=False)
    assert net.image.weight.shape == (1, model.WIDE + model.EVIDENCE)
    assert net.image.weight[0, model.WIDE :].tolist() == [0.5, 0, 0, 0]


def test_discs_and_squares_are_distinguished_and_ship(
    cache: Path, pictures: data.Pictures, tmp_path: Path
) -> None:
    run = train.fit(TWO, pictures, data.Pictures([], [], []), tmp_path / "run")
    said = validation.validate(run.average, pictures, TWO, torch.device("cpu"))
    assert said["positive_dice"] > 0.7
    assert said["auc"] > 0.7
    shown = torch.stack([data.PlainPictures(pictures, TWO)[n]["picture"] for n in range(24)])
    masks = torch.stack([data.PlainPictures(pictures, TWO)[n]["mask"] for n in range(24)])
    with torch.no_grad():
        found = run.average.eval()(shown)[0].sigmoid()
    for own, other in ((0, 1), (1, 0)):
        inside = masks[:, own] > 0
        assert found[:, own][inside].mean() > 0.6
        assert found[:, own][~inside].mean() < 0.1
        assert found[:, other][inside].mean() < 0.1

    facts = {"name": "two", "version": "1", "trained": {"config": TWO.to_dict()}}
    folder = export.write(
        tmp_path, run.average, TWO, Calibration(2.0, 0.3), Thresholds(), facts, ["a limit"]
    )
    assert json.loads((folder / session.CARD).read_text())["classes"] == ["disc", "square"]
    import openvino

    graph = openvino.Core().compile_model(folder / session.GRAPH, "CPU")
    outputs = graph({"picture": shown[:3].numpy()})
    assert outputs["mask_probability"].shape == (3, 2, 64, 64)
    assert outputs["image_probability"].shape == (3, 2)
    for engine in ("openvino", "torch"):
        answer = session.open(folder, device="cpu", engine=engine).answer(shown[:3].numpy())
        np.testing.assert_allclose(answer.masks, outputs["mask_probability"][:, 0], atol=0.02)
        np.testing.assert_allclose(
            answer.other_masks[:, 0], outputs["mask_probability"][:, 1], atol=0.02
        )
        np.testing.assert_allclose(answer.images, outputs["image_probability"][:, 0], atol=0.02)
        np.testing.assert_allclose(
            answer.other_images[:, 0], outputs["image_probability"][:, 1], atol=0.02
        )
