"""The command that makes a training cache."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.datasets import catalogue, dataset, rle  # noqa: E402 - with torch
from ml.datasets.catalogue import Attributes, Record  # noqa: E402
from ml.errors import BadInput  # noqa: E402
from ml.inference import severity  # noqa: E402
from ml.preparation import phantom, prepare  # noqa: E402 - with torch
from ml.recipe import Recipe  # noqa: E402
from ml.runtime import lung_finder  # noqa: E402
from tests.support.ml.training_cache import given, made_cache, options, table  # noqa: E402

pytestmark = pytest.mark.torch

SMALL = Recipe(size=64, size_from=((0.0, 64),), epoch_pictures=32, batch=8)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return made_cache(tmp_path)


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


def test_a_cache_that_cannot_be_written_is_found_before_pictures_are_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((300, 300), np.uint8))
    (tmp_path / "cache" / catalogue.RECORDS).mkdir(parents=True)
    with pytest.raises(BadInput, match=f"{catalogue.RECORDS} is a folder"):
        prepare.run(given(tmp_path, [["good", "-1"]]))
    assert not list((tmp_path / "cache" / "pictures").iterdir())


def test_a_cache_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no picture of"):
        prepare.run(given(tmp_path, [["nowhere", "-1"]]))


def test_a_panel_needs_its_index(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--panel-index"):
        prepare.run(given(tmp_path, [["a", "-1"]], panel=tmp_path))


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


def drawn(pictures: dataset.Pictures, epoch: int) -> list[torch.Tensor]:
    epoch_pictures = dataset.AugmentedEpoch(pictures, SMALL, epoch, 0.5, 64)
    return [epoch_pictures[i]["picture"] for i in range(4)]


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


def test_masks_of_another_shape_or_without_anything_are_reported(
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


def test_pictures_and_masks_are_also_written_as_png_of_their_own_size(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    deep = np.random.default_rng(0).integers(0, 4000, (700, 600), np.uint16)
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "films" / f"{name}.png"), deep)
    left = np.zeros((1024, 1024), dtype=bool)
    left[256:512, 0:512] = True
    outlines = [["a.dcm", rle.encode(left)], ["b.dcm", "-1"]]
    arguments = given(tmp_path, outlines, dicom=tmp_path / "films", png=tmp_path / "png")
    assert prepare.run(arguments) == 0
    for name, share in (("a", 0.125), ("b", 0.0)):
        picture, mask = (
            cv2.imread(str(tmp_path / "png" / folder / f"{name}.png"), cv2.IMREAD_UNCHANGED)
            for folder in ("pictures", "masks")
        )
        assert (picture.dtype, picture.shape, mask.shape) == (np.uint8, (700, 600), (700, 600))
        assert np.ptp(picture) == 255
        assert set(np.unique(mask)) <= {0, 255}
        assert (mask > 0).mean() == pytest.approx(share, abs=0.002)


def test_another_class_gets_its_masks_and_its_column(tmp_path: Path) -> None:
    films, fluid = tmp_path / "films", tmp_path / "fluid"
    films.mkdir()
    fluid.mkdir()
    grey = np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)
    for name in "abc":
        cv2.imwrite(str(films / f"{name}.png"), grey + np.uint8(ord(name)))
    low = np.zeros((300, 300), np.uint8)
    low[200:250, 50:100] = 255
    cv2.imwrite(str(fluid / "b.png"), low)
    air = np.zeros((1024, 1024), dtype=bool)
    air[100:300, 100:200] = True
    outlines = [["a", rle.encode(air)], ["b", "-1"], ["c", "-1"]]
    given_so = given(tmp_path, outlines, dicom=films, also=f"pleural-effusion={fluid}")
    assert prepare.run(given_so) == 0
    cache = tmp_path / "cache"
    records = {record.id: record for record in catalogue.read_records(cache)}
    assert [records[name].other_classes for name in "abc"] == [(), ("pleural-effusion",), ()]
    assert [records[name].positive for name in "abc"] == [True, False, False]
    classes = ("pneumothorax", "pleural-effusion")
    masks = dataset.Pictures.read(cache, [records["a"], records["b"]], classes).masks
    assert [mask.any((0, 1)).tolist() for mask in masks] == [[True, False], [False, True]]


def test_another_class_that_does_not_label_every_picture_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((300, 300), np.uint8))
    fluid = table(tmp_path / "fluid.csv", ["ImageId", "EncodedPixels"], [["b", "-1"]])
    outlines = [["a", "-1"]]
    with pytest.raises(BadInput, match="does not list 1 of the pictures, such as a"):
        prepare.run(given(tmp_path, outlines, also=f"fluid={fluid}"))
    for wrong in ("fluid", "=x", f"Fluid={fluid}"):
        with pytest.raises(BadInput, match="NAME=PATH"):
            prepare.run(given(tmp_path, outlines, also=wrong))
    panel = {"panel": tmp_path, "panel_index": fluid}
    with pytest.raises(BadInput, match="every picture needs a label for every class"):
        prepare.run(given(tmp_path, outlines, also=f"fluid={fluid}", **panel))


def test_the_index_has_the_size_class_of_every_outline(tmp_path: Path) -> None:
    drawn = phantom.draw(7, "right", 30.0)
    (tmp_path / "films").mkdir()
    (tmp_path / "air").mkdir()
    for name in ("one", "two"):
        (tmp_path / "films" / f"{name}.dcm").write_bytes(phantom.dicom(drawn))
    cv2.imwrite(str(tmp_path / "air" / "one.png"), drawn.mask.astype(np.uint8) * 255)
    lungs = lung_finder.Finder(threads=1)
    arguments = given(
        tmp_path, [], rle=None, masks=tmp_path / "air", dicom=tmp_path / "films", lungs=True
    )
    assert prepare.run(arguments) == 0
    (record,) = catalogue.read_records(tmp_path / "cache")
    small = dataset.Pictures.read_one(tmp_path / "cache", record)
    mask = dataset.Pictures.read_mask(tmp_path / "cache", record)
    assert mask is not None
    expected = severity.of_mask(mask > 127, lungs.find(small))
    assert expected in ("small", "moderate", "large")
    assert record.attributes.severity == expected
    assert record.attributes.lesions == 1
