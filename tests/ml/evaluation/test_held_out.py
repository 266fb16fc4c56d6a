"""The card's numbers from a network and its held-out pictures."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.datasets import catalogue, dataset  # noqa: E402 - only where torch is
from ml.evaluation import held_out  # noqa: E402 - only where torch is
from ml.metrics import calibration, drift, reference_distribution  # noqa: E402 - only where torch is
from ml.network import model  # noqa: E402 - only where torch is
from ml.recipe import Recipe  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch

TINY = Recipe.from_dict({"size": 64, "size_from": [[0.0, 64]]})


class Threshold(torch.nn.Module):
    """A network whose outline is what is brighter than grey."""

    def outputs(self, picture: torch.Tensor) -> model.NetworkOutputs:
        patches = torch.nn.functional.avg_pool2d(picture, 32)
        return model.NetworkOutputs(picture * 50, patches, picture.mean((2, 3)))

    def image_logits(self, features: torch.Tensor) -> torch.Tensor:
        return features * 10


@pytest.fixture
def pictures() -> dataset.Pictures:
    records, shown, masks = [], [], []
    for number in range(40):
        mask = np.zeros((128, 100), dtype=np.uint8)
        positive = number % 4 == 0
        if positive:
            cv2.rectangle(mask, (20 + number // 2, 30), (60, 80), 255, -1)
        name = str(number)
        records.append(catalogue.Record(name, "masks", name, 0, positive, 256, 200))
        shown.append(mask)
        masks.append(mask if positive else None)
    return dataset.Pictures(records, shown, masks)


def test_pixels_are_counted_in_the_pictures_own_geometry(pictures: dataset.Pictures) -> None:
    tables = held_out.predict(Threshold(), pictures, TINY)  # type: ignore[arg-type]
    middle = int(np.abs(calibration.GRID - 0.5).argmin())
    assert (tables.positive == [record.positive for record in pictures.records]).all()
    assert (tables.pixels == 128 * 100).all()
    truth = np.array([0 if mask is None else (mask > 0).sum() for mask in pictures.masks])
    assert (tables.truth == truth).all()
    some = tables.positive
    np.testing.assert_allclose(tables.hits[some, middle], truth[some], rtol=0.06)
    np.testing.assert_allclose(tables.found[some, middle], truth[some], rtol=0.06)
    np.testing.assert_allclose(tables.area_px[some, middle], truth[some] / 4, rtol=0.1)
    assert (tables.found[~some] == 0).all()


def test_a_perfect_network_gets_perfect_numbers_with_intervals(pictures: dataset.Pictures) -> None:
    tables = held_out.predict(Threshold(), pictures, TINY)  # type: ignore[arg-type]
    found = held_out.pooled([tables], replicates=50)["metrics"]
    assert found["auc"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 40}
    assert found["positive_dice"]["value"] > 0.95
    assert found["positive_dice"]["n"] == 10
    assert found["kaggle_dice"]["low"] <= found["kaggle_dice"]["value"]


def test_the_reference_is_what_predictions_of_the_same_pictures_store(
    pictures: dataset.Pictures,
) -> None:
    statistics = held_out.ReferenceStatistics()
    tables = held_out.predict(Threshold(), pictures, TINY, statistics)  # type: ignore[arg-type]
    probability = calibration.Calibration().probability(tables.image_logits)
    views = ["AP", "PA", "PA", ""] * 10
    found = statistics.reference(probability, views, threshold=0.5)
    of_views = {"n": 30, "count": 10, "of": "view_ap", "at": 0.5}
    assert found["shares"]["view_ap"] == of_views
    assert found["shares"]["called"]["count"] == int((probability >= 0.5).sum())
    assert found["shares"]["prevalence"]["mean"] == pytest.approx(probability.mean(), abs=1e-6)
    assert found["n"] == 40
    assert {len(values) for values in found["quantiles"].values()} == {len(found["levels"])}
    assert found["quantiles"]["aspect"] == pytest.approx([100 / 128] * 21, abs=1e-4)
    # A third of the pictures' width is padding, which the map over the picture leaves out.
    shares = sorted((tables.found[:, 9] / tables.pixels).tolist())
    assert found["quantiles"]["map_share"][-1] == pytest.approx(shares[-1], rel=0.1)
    recent = [{"map_share": share} for share in shares * 3]
    known = {
        "map_share": reference_distribution.Reference(np.array(found["quantiles"]["map_share"]), 40)
    }
    assert drift.compare(known, recent)[0].status == "stable"


def test_gate_and_lungs_see_the_picture_as_serving_shows_it_to_them(
    pictures: dataset.Pictures,
) -> None:
    shown: list[np.ndarray] = []

    def gate(picture: np.ndarray) -> None:
        shown.append(picture)

    sharper = replace(TINY, clahe=2.0)
    watched: list[np.ndarray] = []
    held_out.predict(Threshold(), pictures, sharper, lambda a: watched.append(a.picture), gate=gate)  # type: ignore[arg-type]
    for given in (shown, watched):
        assert all(a is b for a, b in zip(given, pictures.pictures, strict=True))


def test_groups_are_those_of_the_records(pictures: dataset.Pictures) -> None:
    tables = held_out.predict(Threshold(), pictures, TINY)  # type: ignore[arg-type]
    records = [
        replace(
            record,
            attributes=catalogue.Attributes(
                view="PA" if number % 3 else "AP", reported=number < 25
            ),
        )
        for number, record in enumerate(pictures.records)
    ]
    found = held_out.groups([tables], records, replicates=20)
    assert set(found) == {"size", "view", "report"}
    agree = sum(r.positive == (number < 25) for number, r in enumerate(records))
    assert found["report"]["agrees"]["pictures"] == agree
    assert found["report"]["differs"]["pictures"] == 40 - agree
    assert found["view"]["AP"]["pictures"] == 14
    assert found["view"]["PA"]["positive_dice"]["value"] > 0.95
