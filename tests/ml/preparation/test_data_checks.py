"""What may be wrong with a data set is found, and nothing else is."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from ml.datasets.catalogue import NO_FOLD, Attributes, Record
from ml.preparation import data_checks

pytestmark = pytest.mark.torch


def record(name: str, patient: str, fold: int, pixels: str = "", source: str = "masks") -> Record:
    return Record(name, source, patient, fold, False, 10, 10, attributes=Attributes(pixels=pixels))


def test_equal_pixels_become_one_patient_in_one_fold():
    findings = data_checks.Findings()
    records = [
        record("a1", "A", 0, "same"),
        record("b1", "B", 1, "same"),
        record("b2", "B", 1, "other"),
        record("c1", "C", 2),
    ]
    found = {one.id: (one.patient, one.fold) for one in data_checks.joined(records, findings)}
    # All of B's pictures move: else B would be on both sides of a split.
    assert found == {"a1": ("A", 0), "b1": ("A", 0), "b2": ("A", 0), "c1": ("C", 2)}
    assert findings.duplicates == [["a1", "b1"]]
    assert findings.duplicates_across_folds == [["a1", "b1"]]


def test_a_chain_of_equal_pictures_is_one_patient():
    records = [
        record("a1", "A", 0, "x"),
        record("b1", "B", 1, "x"),
        record("b2", "B", 1, "y"),
        record("c1", "C", 2, "y"),
    ]
    found = data_checks.joined(records, data_checks.Findings())
    assert len({(one.patient, one.fold) for one in found}) == 1


@pytest.mark.parametrize("turned", [False, True])
def test_a_picture_with_a_fold_keeps_it_beside_one_without(turned):
    records = [
        record("p", "Z", NO_FOLD, "x", "panel"),
        record("a", "A", 3, "x", "panel"),
        record("a2", "A", 3, "y"),
    ]
    found = data_checks.joined(records[::-1] if turned else records, data_checks.Findings())
    assert {(one.patient, one.fold) for one in found} == {("A", 3)}


def test_two_pictures_of_one_patient_stay_and_are_reported():
    findings = data_checks.Findings()
    records = [record("a1", "A", 0, "x"), record("a2", "A", 0, "x")]
    assert data_checks.joined(records, findings) == records
    assert findings.duplicates == [["a1", "a2"]]
    assert findings.duplicates_across_folds == []


def test_labels_and_rows_that_contradict_an_outline_are_named():
    texts = {
        "both": ["-1", "3 4"],
        "labelled": ["-1"],
        "unlabelled": ["5 6"],
        "right": ["5 6", "9 9"],
        "unknown": [" -1 "],
    }
    labels = {"labelled": "1", "unlabelled": "0", "right": "1", "unknown": "unknown"}
    assert data_checks.contradictions(texts, labels) == ["both", "labelled", "unlabelled"]


@pytest.mark.parametrize(
    ("mask", "picture", "fits"),
    [
        ((512, 512), (1024, 1024), True),
        ((300, 200), (600, 400), True),
        ((300, 200), (601, 399), True),
        ((200, 300), (600, 400), False),
    ],
)
def test_a_mask_has_the_aspect_of_its_picture(mask, picture, fits):
    assert data_checks.fits(mask, picture) is fits


def test_what_was_found_is_printed_in_sentences_and_stored_in_full(tmp_path):
    assert data_checks.Findings().lines() == []
    findings = data_checks.Findings(contradictory=list("abcde"), duplicates=[["x", "y"]])
    first, second = findings.lines()
    assert first == "1 groups of pictures have the same pixels under several names: x, y"
    assert second.endswith(": a; b; c; ...")
    findings.write(tmp_path)
    assert json.loads((tmp_path / data_checks.FILE).read_text())["contradictory"] == list("abcde")
