"""The report as a page and as a PDF: whole, and made of nothing from elsewhere."""

from __future__ import annotations

import argparse
import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from ml.datasets import rle
from ml.errors import BadInput
from ml.evaluation import evaluate, gallery, plots, report_pages
from ml.preparation import phantom

SIDE = 256


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A report of twelve drawn chests, four of them with air."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "pictures").mkdir()
    with (
        (folder / "rle.csv").open("w", newline="") as file,
        (folder / "index.csv").open("w", newline="") as index_file,
    ):
        table, index = csv.writer(file), csv.writer(index_file)
        table.writerow(["ImageId", "EncodedPixels"])
        index.writerow(["ImageId", "patient", "view", "age"])
        for number in range(12):
            side = ("left", None, None)[number % 3]
            film = phantom.draw(number, side, width_mm=25, rows=SIDE, columns=SIDE)
            table.writerow([f"film{number}", rle.encode(film.mask)])
            index.writerow([f"film{number}", number, "PA" if number % 2 else "AP", 30 + 5 * number])
            (folder / "pictures" / f"film{number}.dcm").write_bytes(
                phantom.dicom(film, patient_name="CANARY^ZEBRA", patient_id="CANARY-1")
            )
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    given = ["--rle", folder / "rle.csv", "--dicom", folder / "pictures", "--weights", tiny_model]
    given += ["--index", folder / "index.csv", "--report", folder / "out", "--replicates", "20"]
    given += ["--mask-size", SIDE, SIDE, "--gallery", "2", "--device", "cpu", "--rows"]
    assert evaluate.run(parser.parse_args([*map(str, given), str(folder / "rows.csv")])) == 0
    return folder


class Links(HTMLParser):
    """Everything that a page would load, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href")
        ]


def test_the_page_loads_nothing_and_holds_every_plot(written):
    text = (written / "out" / "report.html").read_text("utf-8")
    page = Links()
    page.feed(text)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert "script" not in page.tags
    assert "url(http" not in text
    assert "@import" not in text
    assert page.tags.count("svg") == len(plots.PLOTS) + len(plots.FORESTS)
    for word in ("Kaggle Dice", "calibration error", "age: 40–59", "view: AP", "triplet"):
        assert word in text
    assert "CANARY" not in text


def test_the_gallery_has_the_worst_of_both_kinds_and_says_what_they_are(written):
    text = (written / "out" / "report.html").read_text("utf-8")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    with (written / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    alarms = sum(row["called"] == "True" and row["truth"] == "0" for row in rows)
    assert sum(caption.startswith("miss") for caption in captions) == 2
    assert sum(caption.startswith("false alarm") for caption in captions) == min(alarms, 2)


def test_the_pdf_is_one_and_the_json_is_the_report(written):
    assert (written / "out" / "report.pdf").read_bytes().startswith(b"%PDF-")
    report = json.loads((written / "out" / "report.json").read_text())
    assert report["data"]["pictures"] == 12
    assert set(report["subgroups"]) >= {"size", "view", "age"}
    assert len(report["reliability"]) <= 15
    assert report["roc"][0] == [0, 0]
    assert report["abstention"]["wrong_call"]["at"]["1"] == pytest.approx(
        1
        - np.mean(
            [
                (row["called"] == "True") == (row["truth"] != "0")
                for row in csv.DictReader((written / "rows.csv").open())
            ]
        )
    )


def row(name: str, hits: int, predicted: int, truth: int, probability: float) -> dict:
    return {
        "id": name,
        "hits": hits,
        "predicted": predicted,
        "truth": truth,
        "probability": probability,
        "called": predicted > 0,
    }


def test_names_from_files_are_text_and_not_markup():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    shown = report_pages.figure(gallery.GalleryPicture("miss", "<script>x</script>", image))
    assert "<script>" not in shown


def test_without_matplotlib_the_report_is_refused_before_anything_is_measured(monkeypatch):
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name="matplotlib")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(BadInput, match=r"pip install \.\[report\]"):
        evaluate.pages()
