"""The training pictures: what is drawn from a cache, and how."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.datasets import catalogue, dataset  # noqa: E402 - with torch
from ml.preprocessing import transforms  # noqa: E402 - with torch
from ml.recipe import Recipe  # noqa: E402
from tests.support.ml.training_cache import made_cache  # noqa: E402

pytestmark = pytest.mark.torch

SMALL = Recipe(size=64, size_from=((0.0, 64),), epoch_pictures=32, batch=8)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return made_cache(tmp_path)


def test_where_only_the_outline_is_learnt_no_positive_without_one_is_drawn(cache: Path) -> None:
    pictures = dataset.Pictures.read(cache, catalogue.read_records(cache))
    records = pictures.records
    outline_only = replace(SMALL, image_weight=0.0, patch_weight=0.0)
    for share in (1.0, 0.5):
        order = dataset.AugmentedEpoch(pictures, outline_only, 0, share, 64).order
        drawn = [records[number] for number in order]
        assert sum(record.outlined for record in drawn) == 32 * share
        assert not any(record.positive and not record.outlined for record in drawn)
    both = dataset.AugmentedEpoch(pictures, SMALL, 0, 1.0, 64).order
    assert "p1" in {records[number].id for number in both}


def test_training_input_from_the_cache_is_the_serving_input_of_the_file(cache: Path) -> None:
    from ml.images import reader

    records = [r for r in catalogue.read_records(cache) if r.source == "panel"]
    item = dataset.PlainPictures(dataset.Pictures.read(cache, records), Recipe())[0]
    file = cache.parent / "panel" / f"{records[0].id}.jpg"
    pixels_of_file = reader.read(file.read_bytes()).pixels
    served = transforms.place(transforms.canonical(pixels_of_file, 512), 384)
    np.testing.assert_array_equal(item["picture"][0].numpy(), served)


def test_the_share_of_positives_is_kept_and_none_comes_twice_before_all_came_once() -> None:
    positive = np.array([True] * 10 + [False] * 90)
    order = dataset.draw(positive, 60, 0.5, np.random.default_rng(0))
    assert positive[order].sum() == 30
    counts = np.bincount(order, minlength=100)
    assert (counts[:10] == 3).all()
    assert counts[10:].max() == 1


def test_a_class_without_pictures_is_an_error_not_an_endless_loop() -> None:
    with pytest.raises(ValueError, match="no picture of this class"):
        dataset.draw(np.array([False, False]), 4, 0.5, np.random.default_rng(0))


def drawn(pictures: dataset.Pictures, epoch: int) -> list[torch.Tensor]:
    epoch_pictures = dataset.AugmentedEpoch(pictures, SMALL, epoch, 0.5, 64)
    return [epoch_pictures[i]["picture"] for i in range(4)]


def test_an_epoch_is_drawn_the_same_again_and_another_epoch_otherwise(cache: Path) -> None:
    pictures = dataset.Pictures.read(cache, catalogue.read_records(cache))
    for once, again in zip(drawn(pictures, 3), drawn(pictures, 3), strict=True):
        torch.testing.assert_close(once, again, rtol=0, atol=0)
    assert not torch.equal(drawn(pictures, 3)[0], drawn(pictures, 4)[0])


def test_a_judged_picture_teaches_the_image_level_only(cache: Path) -> None:
    pictures = dataset.Pictures.read(cache, catalogue.read_records(cache))
    plain = dataset.PlainPictures(pictures, Recipe(size=64, size_from=((0.0, 64),)))
    for number, record in enumerate(pictures.records):
        item = plain[number]
        assert bool(item["positive"]) == record.positive
        assert bool(item["outlined"]) == (record.id in ("a1", "c1"))
        assert bool(item["mask"].any()) == (record.id in ("a1", "c1"))
