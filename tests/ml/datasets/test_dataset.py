"""The cache that training reads: made, split by patient, and drawn from."""

import argparse
import csv
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.datasets import catalogue, dataset, rle  # noqa: E402 - with torch
from ml.datasets.catalogue import Attributes, Record  # noqa: E402
from ml.errors import BadInput  # noqa: E402
from ml.images.picture import Unreadable  # noqa: E402
from ml.preparation import phantom, prepare, selection  # noqa: E402 - with torch
from ml.preprocessing import transforms  # noqa: E402 - with torch
from ml.preprocessing.lung_crop import Crop  # noqa: E402
from ml.recipe import SOURCES, Recipe  # noqa: E402
from ml.training import train  # noqa: E402 - with torch

pytestmark = pytest.mark.torch

SMALL = Recipe(size=64, size_from=((0.0, 64),), epoch_pictures=32, batch=8)


def table(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def options(**values: object) -> argparse.Namespace:
    """The command's options as the command line would give them, one reading process."""
    parser = argparse.ArgumentParser()
    prepare.add_arguments(parser)
    words = ["--workers", "1"]
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not None:
            words += [option, str(value)]
    return parser.parse_args(words)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Four outlined pictures of three patients and two panel pictures, made by `prepare`."""
    pictures, panel = tmp_path / "pictures" / "deeper", tmp_path / "panel"
    pictures.mkdir(parents=True)
    panel.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a1", "a2", "b1", "c1"):
        side = 1024 if name != "c1" else 800
        cv2.imwrite(str(pictures / f"{name}.png"), rng.integers(0, 255, (side, side), np.uint8))
    for name in ("p1", "p2", "p3"):
        cv2.imwrite(str(panel / f"{name}.jpg"), rng.integers(0, 255, (300, 200), np.uint8))
    left, right = np.zeros((2, 1024, 1024), dtype=bool)
    left[100:300, 100:200] = True
    right[600:700, 800:1000] = True
    masks = [["a1", rle.encode(left)], ["a1", rle.encode(right)], ["c1", rle.encode(left)]]
    negatives = [["a2", " -1"], ["b1", "-1"], ["nofile", "-1"]]
    arguments = options(
        rle=table(tmp_path / "rle.csv", ["ImageId", " EncodedPixels"], masks + negatives),
        dicom=pictures.parent,
        index=table(
            tmp_path / "index.csv",
            ["ImageId", "patient", "fold"],
            [["a1", "A", "0"], ["a2", "A", "0"], ["b1", "B", "1"], ["c1", "C", "2"]],
        ),
        panel=panel,
        panel_index=table(
            tmp_path / "panel.csv",
            ["id", "label", "pneumothorax", "patient"],
            [
                ["p1", "radiologist panel", "1", "A"],
                ["p2", "radiologist panel", "0", "Z"],
                ["p3", "text-mined, unverified", "1", "Y"],
            ],
        ),
        out=tmp_path / "cache",
        size=384,
    )
    assert prepare.run(arguments) == 0
    return tmp_path / "cache"


def given(tmp_path: Path, outlines: list[list[str]], **more: object) -> argparse.Namespace:
    """The command's arguments for pictures that stand in tmp_path already."""
    values = {
        "rle": table(tmp_path / "rle.csv", ["ImageId", "EncodedPixels"], outlines),
        "dicom": tmp_path,
        "out": tmp_path / "cache",
        "size": 64,
    }
    return options(**(values | more))


def test_pictures_that_cannot_be_cached_are_listed_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)
    for name in ("good", "long", "full"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), grey)
    (tmp_path / "torn.png").write_bytes((tmp_path / "good.png").read_bytes()[:500])
    (tmp_path / "cache" / "pictures" / "full.png").mkdir(parents=True)  # cannot be written
    masks = [["good", "-1"], ["torn", "-1"], ["long", "0 9999999"], ["full", "-1"]]
    assert prepare.run(given(tmp_path, masks)) == 3
    assert [record.id for record in catalogue.read_records(tmp_path / "cache")] == ["good"]
    assert not (tmp_path / "cache" / "pictures" / "long.png").exists()
    told = capsys.readouterr().err
    assert "torn: " in told
    assert "long: its mask: " in told
    assert "full: Is a directory" in told


def test_what_is_unreadable_keeps_its_code_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Unreadable("truncated", "The file ends too soon.")))
    assert (error.code, error.message) == ("truncated", "The file ends too soon.")


def test_a_cache_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no picture of"):
        prepare.run(given(tmp_path, [["nowhere", "-1"]]))


def test_a_panel_needs_its_index(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--panel-index"):
        prepare.run(given(tmp_path, [["a", "-1"]], panel=tmp_path))


def test_a_fold_that_is_no_number_is_a_sentence(tmp_path: Path) -> None:
    index = table(tmp_path / "index.csv", ["ImageId", "patient", "fold"], [["a", "A", "one"]])
    with pytest.raises(BadInput, match="fold 'one'"):
        prepare.run(given(tmp_path, [["a", "-1"]], index=index))


def test_a_fold_that_nobody_is_in_is_not_trained_on_by_accident(cache: Path) -> None:
    with pytest.raises(BadInput, match="fold 7 holds no outlined picture"):
        catalogue.split(catalogue.read_records(cache), 7)


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


def test_a_recipe_names_what_it_is_trained_on(cache: Path) -> None:
    records = catalogue.read_records(cache)
    outlined = replace(SMALL, held_out_fold=0, sources=("masks",))
    training, held_out = train.split(outlined, records)
    assert {r.source for r in training} == {"masks"}
    everything, held_out_then = train.split(replace(outlined, sources=SOURCES), records)
    assert {r.source for r in everything} == {"masks", "panel"}
    assert held_out == held_out_then
    with pytest.raises(BadInput, match="no picture of pseudo"):
        train.split(replace(outlined, sources=("pseudo",)), records)


def test_a_table_of_something_else_is_no_cache(tmp_path: Path) -> None:
    table(tmp_path / "records.csv", ["id", "what"], [["a", "b"]])
    with pytest.raises(BadInput, match="is not the table"):
        catalogue.read_records(tmp_path)


def test_prepare_keeps_what_has_a_file_and_a_judgement(cache: Path) -> None:
    records = {record.id: record for record in catalogue.read_records(cache)}
    assert set(records) == {"a1", "a2", "b1", "c1", "p1", "p2"}
    plain = {name: replace(record, attributes=Attributes()) for name, record in records.items()}
    assert plain["a1"] == Record("a1", "masks", "A", 0, True, 1024, 1024)
    assert plain["p1"] == Record("p1", "panel", "A", 0, True, 300, 200)
    assert records["p2"].fold == catalogue.NO_FOLD
    assert records["a1"].outlined
    assert not records["p1"].outlined


def test_what_nobody_judged_is_taken_only_when_it_is_asked_for(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)
    for name in ("a", "p", "q"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), grey + np.uint8(ord(name)))
    index = table(
        tmp_path / "panel.csv",
        ["id", "label", "pneumothorax", "patient"],
        [["p", "none", "unknown", "P"], ["q", "radiologist panel", "0", "Q"]],
    )
    more = {"panel": tmp_path, "panel_index": index}
    assert prepare.run(given(tmp_path, [["a", "-1"]], **more)) == 0
    assert [r.id for r in catalogue.read_records(tmp_path / "cache")] == ["a", "q"]
    assert prepare.run(given(tmp_path, [["a", "-1"]], **more, unlabelled=True)) == 0
    found = {r.id: r for r in catalogue.read_records(tmp_path / "cache")}
    assert found["p"].source == "unlabelled"
    assert (found["p"].positive, found["p"].fold) == (False, catalogue.NO_FOLD)
    assert found["q"].source == "panel"


def test_several_rows_of_a_picture_are_one_mask_at_the_cached_size(cache: Path) -> None:
    pictures = dataset.Pictures.read(cache, catalogue.read_records(cache))
    by_name = dict(zip([r.id for r in pictures.records], pictures.masks, strict=True))
    mask = by_name["a1"]
    assert mask is not None
    assert mask.shape == (512, 512)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[50:150, 50:100] == 255).all()
    assert (mask[300:350, 400:500] == 255).all()
    assert (mask > 0).sum() == 2 * 100 * 50
    assert by_name["a2"] is None


def test_a_smaller_copy_of_a_picture_gets_its_mask_in_the_right_place(cache: Path) -> None:
    pictures = dataset.Pictures.read(cache, catalogue.read_records(cache))
    number = [record.id for record in pictures.records].index("c1")
    mask = pictures.masks[number]
    assert mask is not None
    assert pictures.records[number].rows == 800
    assert (mask[50:150, 50:100] == 255).all()
    assert (mask > 0).sum() == 100 * 50


def test_training_input_from_the_cache_is_the_serving_input_of_the_file(cache: Path) -> None:
    from ml.images import reader

    records = [r for r in catalogue.read_records(cache) if r.source == "panel"]
    item = dataset.PlainPictures(dataset.Pictures.read(cache, records), Recipe())[0]
    file = cache.parent / "panel" / f"{records[0].id}.jpg"
    pixels_of_file = reader.read(file.read_bytes()).pixels
    served = transforms.place(transforms.canonical(pixels_of_file, 512), 384)
    np.testing.assert_array_equal(item["picture"][0].numpy(), served)


def test_no_patient_is_on_both_sides_and_only_outlined_pictures_are_held_out(cache: Path) -> None:
    training, held_out = catalogue.split(catalogue.read_records(cache), 0)
    assert {r.id for r in held_out} == {"a1", "a2"}
    assert {r.id for r in training} == {"b1", "c1", "p2"}  # p1 is patient A's, too


def test_without_a_held_out_fold_everything_is_trained_on(cache: Path) -> None:
    training, held_out = catalogue.split(catalogue.read_records(cache), -1)
    assert len(training) == 6
    assert not held_out


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


def test_labels_from_reports_are_taken_on_request(tmp_path: Path) -> None:
    rows = [
        ["p1", "radiologist panel", "1", "A"],
        ["p2", "text-mined, unverified", "0", "B"],
        ["p3", "none", "unknown", "C"],
        ["p4", "text-mined, unverified", "unknown", "D"],
    ]
    index = table(tmp_path / "panel.csv", ["id", "label", "pneumothorax", "patient"], rows)
    assert selection.panel_labels(index, {"A": 3}) == {"p1": ("A", 3, True)}
    assert selection.panel_labels(index, {"A": 3}, reports=True) == {
        "p1": ("A", 3, True),
        "p2": ("B", catalogue.NO_FOLD, False),
    }


def test_outlines_may_come_as_mask_files(tmp_path: Path) -> None:
    for folder in ("pictures", "lungs"):
        (tmp_path / folder).mkdir()
    drawn = np.zeros((300, 200), np.uint8)
    drawn[100:200, 20:80] = 255
    grey = np.random.default_rng(0).integers(0, 255, (600, 400), np.uint8)
    for name in ("one", "two"):
        cv2.imwrite(str(tmp_path / "pictures" / f"{name}.png"), grey)
        cv2.imwrite(str(tmp_path / "lungs" / f"{name}.png"), drawn)
    (tmp_path / "lungs" / "two.png").write_bytes(b"no picture")
    arguments = given(tmp_path, [], rle=None, masks=tmp_path / "lungs", dicom=tmp_path / "pictures")
    assert prepare.run(arguments) == prepare.INCOMPLETE
    records = catalogue.read_records(tmp_path / "cache")
    assert [(r.id, r.outlined, r.rows) for r in records] == [("one", True, 600)]
    mask = dataset.Pictures.read(tmp_path / "cache", records).masks[0]
    assert mask is not None
    assert mask.shape == (512, 341)
    assert mask.mean() / 255 == pytest.approx(0.1, abs=0.005)


def test_what_models_outlined_is_trained_on_and_never_held_out(tmp_path: Path) -> None:
    """A picture that radiologists outlined keeps their outline, whatever a model drew."""
    for folder in ("pictures", "more", "drawn"):
        (tmp_path / folder).mkdir()
    grey = np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)
    mask = np.zeros((300, 300), np.uint8)
    mask[50:100, 50:100] = 255
    for folder, name in (("pictures", "known"), ("more", "known"), ("more", "new")):
        shown = grey if name == "known" else grey[::-1]
        cv2.imwrite(str(tmp_path / folder / f"{name}.png"), shown)
        cv2.imwrite(str(tmp_path / "drawn" / f"{name}.png"), mask)
    arguments = given(
        tmp_path,
        [["known", "-1"]],
        dicom=tmp_path / "pictures",
        pseudo=tmp_path / "more",
        pseudo_masks=tmp_path / "drawn",
    )
    assert prepare.run(arguments) == 0
    records = {r.id: r for r in catalogue.read_records(tmp_path / "cache")}
    assert (records["known"].source, records["known"].outlined) == ("masks", False)
    assert (records["new"].source, records["new"].outlined) == ("pseudo", True)
    assert records["new"].fold == catalogue.NO_FOLD
    training, held_out = catalogue.split(list(records.values()), records["known"].fold)
    assert [r.id for r in training] == ["new"]
    assert [r.id for r in held_out] == ["known"]


def test_a_record_tells_what_is_known_of_its_picture(tmp_path: Path) -> None:
    film = phantom.draw(1, "left", 30, rows=400, columns=400)
    (tmp_path / "one.dcm").write_bytes(phantom.dicom(film))
    cv2.imwrite(str(tmp_path / "two.png"), np.random.default_rng(0).integers(0, 99, (64, 64)))
    left = np.zeros((1024, 1024), dtype=bool)
    left[100:200, 700:800] = True
    left[300:400, 700:800] = True
    index = table(
        tmp_path / "index.csv",
        ["ImageId", "patient", "fold", "view", "age", "nih_labels"],
        [["one", "A", "0", "", "", ""], ["two", "B", "1", "AP", "061Y", "Effusion|Pneumothorax"]],
    )
    outlines = [["one", rle.encode(left)], ["two", "-1"]]
    assert prepare.run(given(tmp_path, outlines, index=index, lungs=True)) == 0
    one, two = (record.attributes for record in catalogue.read_records(tmp_path / "cache"))
    assert (one.view, one.side, one.lesions) == ("PA", "left", 2)
    assert one.area == pytest.approx(2 * 100 * 100 / 1024**2, abs=1e-6)
    assert one.spacing_mm is not None
    assert one.pixels != two.pixels
    assert (two.view, two.age, two.lesions, two.side) == ("AP", 61.0, 0, "")
    assert (one.reported, two.reported) == (None, True)
    assert "under_exposed" not in one.tags


def test_a_table_of_before_is_read_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "records.csv").write_text(
        "id,source,patient,fold,positive,rows,columns,lungs\na,masks,A,2,1,64,48,0.1 0.2 0.5\n"
    )
    (record,) = catalogue.read_records(tmp_path)
    assert record == Record("a", "masks", "A", 2, True, 64, 48, Crop(0.1, 0.2, 0.5))
    assert record.attributes == Attributes()
    catalogue.write_records(tmp_path, [record])
    assert catalogue.read_records(tmp_path) == [record]


def test_the_same_picture_under_two_names_is_never_on_both_sides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    for name, grey in (("a", same), ("b", same), ("c", same[::-1])):
        cv2.imwrite(str(tmp_path / f"{name}.png"), grey)
    index = table(
        tmp_path / "index.csv",
        ["ImageId", "patient", "fold", "pneumothorax"],
        [["a", "A", "0", "0"], ["b", "B", "1", "0"], ["c", "C", "1", "1"]],
    )
    outlines = [[name, "-1"] for name in "abc"]
    assert prepare.run(given(tmp_path, outlines, index=index)) == 0
    records = {record.id: record for record in catalogue.read_records(tmp_path / "cache")}
    assert (records["b"].patient, records["b"].fold) == ("A", 0)
    said = capsys.readouterr().err
    assert "1 of those groups lay in several folds or patients: joined: a, b" in said
    assert "contradicts their label or another row: c" in said


def test_patients_without_folds_are_dealt_out_and_stay_together(tmp_path: Path) -> None:
    texts = {f"p{k}": ["5 9"] if k % 3 == 0 else ["-1"] for k in range(40)}
    index = table(
        tmp_path / "index.csv",
        ["ImageId", "patient", "fold"],
        [[f"p{k}", f"P{k // 2}", "4" if k < 2 else ""] for k in range(40)],
    )
    rows = selection.outlined_labels(texts, index)
    folds: dict[str, set[int]] = {}
    for patient, fold, _ in rows.values():
        folds.setdefault(patient, set()).add(fold)
    assert folds["P0"] == {4}
    assert all(len(found) == 1 for found in folds.values())
    assert len(set.union(*folds.values())) == 5


def test_masks_of_another_shape_or_without_anything_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("pictures", "lungs"):
        (tmp_path / folder).mkdir()
    grey = np.random.default_rng(0).integers(0, 255, (600, 400), np.uint8)
    for name, shape in (("turned", (200, 300)), ("empty", (300, 200))):
        cv2.imwrite(
            str(tmp_path / "pictures" / f"{name}.png"), grey[:: 1 if name == "empty" else -1]
        )
        mask = np.zeros(shape, np.uint8)
        mask[:50, :50] = 255 if name == "turned" else 0
        cv2.imwrite(str(tmp_path / "lungs" / f"{name}.png"), mask)
    arguments = options(
        masks=tmp_path / "lungs", dicom=tmp_path / "pictures", out=tmp_path / "cache", size=64
    )
    prepare.run(arguments)
    said = capsys.readouterr().err
    assert "1 masks have another shape than their picture: turned" in said
    assert "1 masks that were given are empty: empty" in said
    records = catalogue.read_records(tmp_path / "cache")
    assert {r.id: r.positive for r in records} == {"turned": True, "empty": False}
    assert len(dataset.Pictures.read(tmp_path / "cache", records).masks) == 2
