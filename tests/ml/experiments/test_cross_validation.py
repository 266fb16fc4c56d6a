"""Cross-validation: every fold by a network that never saw it, resumable, pooled honestly."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.__main__ import main  # noqa: E402
from ml.datasets import catalogue  # noqa: E402
from ml.datasets.catalogue import Record  # noqa: E402
from ml.errors import BadInput  # noqa: E402
from ml.evaluation import held_out  # noqa: E402
from ml.experiments import cross_validation  # noqa: E402
from ml.metrics import calibration  # noqa: E402
from ml.training import train  # noqa: E402
from tests.support.ml.tiny_training import discs  # noqa: E402 - only where torch is

pytestmark = pytest.mark.torch

BRIEF = """
name = "brief"
encoder = "tu-test_efficientnet"
decoder_channels = [16, 16, 8, 8, 8]
size = 64
size_from = [[0.0, 64]]
epochs = 1
epoch_pictures = 4
batch = 4
threads = 1
validate_every = 0
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """48 discs of 48 patients in two folds."""
    folder = tmp_path / "cache"
    for name in ("pictures", "masks"):
        (folder / name).mkdir(parents=True)
    drawn = discs(48)
    records = []
    for number, record in enumerate(drawn.records):
        cv2.imwrite(str(folder / "pictures" / f"{record.id}.png"), drawn.pictures[number])
        mask = drawn.masks[number]
        if mask is not None:
            cv2.imwrite(str(folder / "masks" / f"{record.id}.png"), mask)
        records.append(replace(record, patient=f"p{number}", fold=number // 2 % 2))
    catalogue.write_records(folder, records)
    return folder


def crossing(cache: Path, *more: str) -> tuple[int, Path]:
    recipe = cache.parent / "brief.toml"
    recipe.write_text(BRIEF)
    out = cache.parent / "out"
    asked = ["--recipe", str(recipe), "--cache", str(cache), "--out", str(out)]
    return main(["folds", *asked, "--replicates", "20", *more]), out


def test_a_report_that_cannot_be_written_is_found_before_the_training(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = cache.parent / "out" / "share-0.5" / f"{cross_validation.REPORT}.json"
    report.mkdir(parents=True)
    done, out = crossing(cache, "--share", "1,0.5")
    assert done == 1
    assert f"{report} is a folder" in capsys.readouterr().err
    assert not list(out.rglob("fold-*"))


def test_every_fold_is_judged_by_a_network_that_never_saw_it_and_pooled(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done, out = crossing(cache)
    assert done == 0
    found = json.loads((out / f"{cross_validation.REPORT}.json").read_text())
    assert set(found["folds"]) == {"0", "1"}
    for fold in found["folds"].values():
        assert fold["counts"]["held_out"]["patients"] == 24
        assert fold["counts"]["training"]["patients"] == 24
    assert found["metrics"]["auc"]["n"] == 48
    assert found["metrics"]["positive_dice"]["n"] == 24
    assert found["metrics"]["auc"]["low"] <= found["metrics"]["auc"]["value"]
    assert set(found["pixels"]) == set(held_out.PER_PIXEL)
    assert found["kaggle"]["kaggle_dice_empty"]["value"] == 0.5  # half of the discs are positive
    assert sum(part["positives"] for part in found["subgroups"]["size"].values()) == 24
    printed = capsys.readouterr().out
    assert "positive_dice" in printed
    assert "size small: sensitivity" in printed
    tables = [
        cross_validation.load(out / f"fold-{fold}" / f"{cross_validation.TABLES}.npz")
        for fold in (0, 1)
    ]
    assert not set(tables[0].patients) & set(tables[1].patients)

    # The same command goes on: what is there is not trained again, what is missing is.
    before = (out / "fold-0" / train.CHECKPOINT).stat().st_mtime_ns
    (out / "fold-1" / f"{cross_validation.TABLES}.npz").unlink()
    assert crossing(cache)[0] == 0
    assert json.loads((out / f"{cross_validation.REPORT}.json").read_text()) == found
    assert (out / "fold-0" / train.CHECKPOINT).stat().st_mtime_ns == before
    # The same networks, shown the pictures otherwise, are not trained again either.
    against = ("--against", str(out))
    assert crossing(cache, "--served-size", "32", "--served-mirror", *against)[0] == 0
    other = json.loads((out / f"{cross_validation.REPORT}-whole-32-mirror.json").read_text())
    assert (other["recipe"]["size"], other["recipe"]["mirror"]) == (32, True)
    assert other["metrics"] != found["metrics"]
    more = other["metrics"]["auc"]["value"] - found["metrics"]["auc"]["value"]
    assert other["against"]["auc"]["value"] == pytest.approx(more, abs=2e-4)
    assert "difference: auc" in capsys.readouterr().out
    assert (out / "fold-0" / train.CHECKPOINT).stat().st_mtime_ns == before
    assert json.loads((out / f"{cross_validation.REPORT}.json").read_text()) == found
    # Not with another recipe, though.
    capsys.readouterr()
    assert crossing(cache, "--minutes", "0.1")[0] == 1
    assert "another recipe" in capsys.readouterr().err


def test_a_network_that_crops_is_not_measured_on_what_has_no_lungs(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crossing(cache, "--only", "0", "--served-crop", "lungs")[0] == 1
    assert "prepared without --lungs" in capsys.readouterr().err


def test_single_folds_and_shares_of_the_patients_can_be_asked_for(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done, out = crossing(cache, "--only", "1", "--share", "0.25,1")
    assert done == 0
    assert not (out / "share-0.25" / "fold-0").exists()
    patients = {}
    for share in ("0.25", "1"):
        found = json.loads((out / f"share-{share}" / f"{cross_validation.REPORT}.json").read_text())
        assert list(found["folds"]) == ["1"]
        patients[share] = found["folds"]["1"]["counts"]["training"]["patients"]
    assert patients == {"0.25": 6, "1": 24}
    capsys.readouterr()
    one = str(out / "share-1" / "fold-1" / train.CHECKPOINT)
    assert crossing(cache, "--only", "1", "--share", "1", "--against", one)[0] == 0
    assert json.loads((out / "share-1" / "folds.json").read_text())["against"]["auc"]["value"] == 0
    assert crossing(cache, "--only", "0", "--against", one)[0] == 1
    assert "trained on patients of fold 0" in capsys.readouterr().err
    assert crossing(cache, "--against", str(out / "nowhere"))[0] == 1
    assert "has no predictions for fold 0" in capsys.readouterr().err
    assert crossing(cache, "--only", "one")[0] == 1
    assert "one is not a list of numbers" in capsys.readouterr().err


def test_a_share_is_of_patients_keeps_their_classes_and_is_part_of_a_larger_one() -> None:
    records = [
        Record(f"{patient}-{n}", "masks", f"p{patient}", patient % 5, patient % 4 == 0, 9, 9)
        for patient in range(100)
        for n in range(2)
    ]
    quarter, half = (catalogue.split(records, 0, share)[0] for share in (0.25, 0.5))
    names = [{r.patient for r in part} for part in (quarter, half)]
    assert names[0] < names[1]
    assert len(names[0]) == 20
    assert len(quarter) == 40  # all pictures of each
    assert len({r.patient for r in quarter if r.positive}) == 5
    whole, held_out = catalogue.split(records, 0)
    assert catalogue.split(records, 0, 1.0) == (whole, held_out)
    assert catalogue.split(records, 0, 0.25)[1] == held_out


def table(seed: int, shift: float) -> calibration.HeldOutPredictions:
    """A fold whose network's logits lie `shift` higher than another's."""
    draw = np.random.default_rng(seed)
    count, levels = 80, len(calibration.GRID)
    truth = np.where(np.arange(count) % 3 == 0, 100, 0)
    hits = np.tile((truth * 0.8).astype(np.int64)[:, None], levels)
    found = np.tile(np.where(truth > 0, 90, 5)[:, None], levels)
    logits = np.where(truth > 0, 2.0, -2.0) + draw.normal(0, 1.5, count) + shift
    names = np.array([f"{seed}-{n}" for n in range(count)])
    return calibration.HeldOutPredictions(
        names, logits, np.full(count, 4096), truth, hits, found, found, 64
    )


def test_networks_on_different_scales_are_pooled_on_one() -> None:
    alone = [held_out.pooled([table(seed, 0.0)], 20)["metrics"]["auc"]["value"] for seed in (1, 2)]
    pooled = held_out.pooled([table(1, 0.0), table(2, 9.0)], 20)["metrics"]["auc"]
    assert pooled["n"] == 160
    assert pooled["value"] == pytest.approx(np.mean(alone), abs=0.03)
    raw = held_out.concatenated([table(1, 0.0), table(2, 9.0)])
    assert held_out.pooled([raw], 20)["metrics"]["auc"]["value"] < min(alone) - 0.1


def test_a_difference_is_paired_by_picture() -> None:
    one = table(1, 0.0)
    better = replace(one, image_logits=one.image_logits + np.where(one.truth > 0, 0.7, 0.0))
    apart = held_out.compare([better], [one], 200)
    assert 0 <= apart["auc"]["low"] < apart["auc"]["value"] < apart["auc"]["high"]
    alone = held_out.pooled([one], 200)["metrics"]["auc"]
    width, width_alone = (part["high"] - part["low"] for part in (apart["auc"], alone))
    assert width < width_alone
    same = held_out.compare([one], [one], 20)
    assert {tuple(value.values()) for value in same.values()} == {(0.0, 0.0, 0.0)}
    with pytest.raises(BadInput, match="different pictures"):
        held_out.compare([one], [table(2, 0.0)], 20)


def test_a_networks_answers_survive_the_file(tmp_path: Path) -> None:
    written = table(3, 0.0)
    cross_validation.save(written, tmp_path / f"{cross_validation.TABLES}.npz")
    again = cross_validation.load(tmp_path / f"{cross_validation.TABLES}.npz")
    assert again.size == 64
    np.testing.assert_array_equal(again.patients, written.patients)
    np.testing.assert_array_equal(again.hits, written.hits)
