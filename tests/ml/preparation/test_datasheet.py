"""The data sheet counts what is in the cache and shows nobody."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from ml.__main__ import main
from ml.datasets import catalogue
from ml.datasets.catalogue import Attributes, Record
from ml.preparation import data_checks, datasheet

pytestmark = pytest.mark.torch


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    records = []
    for number in range(20):
        positive = number % 4 == 0
        about = Attributes(
            view="PA" if number % 2 else "AP",
            age=20.0 + 3 * number,
            lesions=2 if positive else 0,
            area=0.01 * number if positive else 0.0,
            side="left" if positive else "",
            tags=("blurred",) if number == 7 else (),
        )
        name = f"patient{number // 2}"
        fold = number // 2 % 5
        record = Record(f"id{number}", "masks", name, fold, positive, 64, 64, attributes=about)
        records.append(record)
    records.append(replace(records[0], id="panel1", source="panel", fold=catalogue.NO_FOLD))
    (tmp_path / "cache").mkdir()
    catalogue.write_records(tmp_path / "cache", records)
    return tmp_path / "cache"


def test_counts_are_those_of_the_table(cache):
    sheet = datasheet.describe(catalogue.read_records(cache))
    assert (sheet["pictures"], sheet["patients"]) == (21, 10)
    assert sum(part["pictures"] for part in sheet["parts"].values()) == 21
    assert sheet["parts"]["panel, no fold"]["outlined"] == 0
    assert sheet["traits"]["view"] == {"AP": 11, "PA": 10}
    assert sheet["traits"]["tags"] == {"blurred": 1}
    assert sheet["traits"]["side"] == {"left": 5}
    assert "sex" not in sheet["traits"]  # known of nobody
    assert sum(len(shares) for shares in sheet["areas"].values()) == 4  # one has no area


def test_the_page_loads_nothing_and_names_nobody(cache, tmp_path):
    data_checks.Findings(duplicates=[["id1", "id2"]]).write(cache)
    assert main(["datasheet", "--cache", str(cache), "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "datasheet.html").read_text("utf-8")
    assert "<script" not in page
    assert "src=" not in page
    assert "patient3" not in page
    assert "1 groups of pictures have the same pixels" in page
    assert page.count("<svg") >= 4
    sheet = json.loads((tmp_path / "out" / "datasheet.json").read_text())
    assert sheet["checks"]["duplicates"] == [["id1", "id2"]]


def test_a_cache_of_before_has_a_sheet_too(tmp_path):
    old = "id,source,patient,fold,positive,rows,columns,lungs\na,masks,A,0,1,64,64,\n"
    (tmp_path / "records.csv").write_text(old)
    assert main(["datasheet", "--cache", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert "Not checked" in (tmp_path / "out" / "datasheet.html").read_text("utf-8")
