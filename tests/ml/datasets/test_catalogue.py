"""The table of a cache: read, written, split by patient."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.datasets import catalogue  # noqa: E402 - with torch
from ml.datasets.catalogue import Attributes, Record  # noqa: E402
from ml.errors import BadInput  # noqa: E402
from ml.preprocessing.lung_crop import Crop  # noqa: E402
from ml.recipe import SOURCES, Recipe  # noqa: E402
from ml.training import train  # noqa: E402 - with torch
from tests.support.ml.training_cache import made_cache, table  # noqa: E402

pytestmark = pytest.mark.torch

SMALL = Recipe(size=64, size_from=((0.0, 64),), epoch_pictures=32, batch=8)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return made_cache(tmp_path)


def test_a_fold_that_nobody_is_in_is_not_trained_on_by_accident(cache: Path) -> None:
    with pytest.raises(BadInput, match="fold 7 holds no outlined picture"):
        catalogue.split(catalogue.read_records(cache), 7)


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


def test_no_patient_is_on_both_sides_and_only_outlined_pictures_are_held_out(cache: Path) -> None:
    training, held_out = catalogue.split(catalogue.read_records(cache), 0)
    assert {r.id for r in held_out} == {"a1", "a2"}
    assert {r.id for r in training} == {"b1", "c1", "p2"}  # p1 is patient A's, too


def test_without_a_held_out_fold_everything_is_trained_on(cache: Path) -> None:
    training, held_out = catalogue.split(catalogue.read_records(cache), -1)
    assert len(training) == 6
    assert not held_out


def test_a_table_of_before_is_read_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "records.csv").write_text(
        "id,source,patient,fold,positive,rows,columns,lungs\na,masks,A,2,1,64,48,0.1 0.2 0.5\n"
    )
    (record,) = catalogue.read_records(tmp_path)
    assert record == Record("a", "masks", "A", 2, True, 64, 48, Crop(0.1, 0.2, 0.5))
    assert record.attributes == Attributes()
    catalogue.write_records(tmp_path, [record])
    assert catalogue.read_records(tmp_path) == [record]
