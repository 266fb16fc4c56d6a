"""Headers as objects inherit them: repaired where that is certain, else left out, with a note."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import config

from tests.support.encode.wrapped import DX, wrapped
from worker.contract.error_codes import ErrorCode
from worker.encode import source
from worker.errors import Permanent

# Element: what the file has, what is inherited (None: nothing), and the note.
TABLE: list[tuple[str, Any, Any, str]] = [
    ("PatientAge", "056Y", "056Y", ""),
    ("PatientAge", "56", "056Y", "repaired:PatientAge"),
    ("PatientAge", "56Y", "056Y", "repaired:PatientAge"),
    ("PatientAge", "8M", "008M", "repaired:PatientAge"),
    ("PatientAge", "1.5Y", None, "left_out:PatientAge"),
    ("PatientAge", "old", None, "left_out:PatientAge"),
    ("PatientAge", "999Y", None, "left_out:PatientAge"),
    ("PatientBirthDate", "1963.05.01", "19630501", "repaired:PatientBirthDate"),
    ("PatientBirthDate", "1963", "", "left_out:PatientBirthDate"),
    ("PatientSex", "F", "F", ""),
    ("PatientSex", "W", "", "left_out:PatientSex"),
    ("StudyTime", "08:45:10", "084510", "repaired:StudyTime"),
    ("StudyTime", "8 o'clock", "", "left_out:StudyTime"),
    ("StudyDate", "2026-03-04", "20260304", "repaired:StudyDate"),
    ("AccessionNumber", "A" * 17, "", "left_out:AccessionNumber"),
    ("AccessionNumber", ["A", "B"], "", "left_out:AccessionNumber"),
    ("PatientID", "P" * 65, "", "left_out:PatientID"),
    ("PatientID", "P\x1b1", "", "left_out:PatientID"),
    ("PatientName", "A" * 65, "", "left_out:PatientName"),
    ("PatientName", "A=B=C=D", "", "left_out:PatientName"),
    ("PatientName", "Smith^Ann^^^^^", "", "left_out:PatientName"),
    ("PatientOrientation", ["L", "F"], ["L", "F"], ""),
    ("PatientOrientation", ["LR", "F"], None, "left_out:PatientOrientation"),
    ("PatientOrientation", ["X", "Y"], None, "left_out:PatientOrientation"),
    ("PatientOrientation", None, None, ""),
    ("PixelSpacing", ["0.1388888888888889", "0.1388888888888889"], 0.13888888888889, "repaired"),
    ("PixelSpacing", ["0", "0.2"], None, "left_out:PixelSpacing"),
    ("PixelSpacing", ["0.2"], None, "left_out:PixelSpacing"),
    ("PixelSpacing", ["a", "b"], None, ""),
]


@pytest.fixture(autouse=True)
def broken_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests write what real files have."""
    monkeypatch.setattr(config.settings, "writing_validation_mode", config.IGNORE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("keyword", "stated", "inherited", "note"),
    TABLE,
    ids=[f"{keyword} {number}" for number, (keyword, *_) in enumerate(TABLE)],
)
def test_values_are_inherited_repaired_or_left_out(
    keyword: str, stated: Any, inherited: Any, note: str
) -> None:
    if keyword == "PixelSpacing" and stated == ["a", "b"]:
        file = wrapped(PixelSpacing=["0.222", "0.222"]).replace(b"0.222\\0.222", b"a.bcd\\e.fgh")
    else:
        file = wrapped(**{keyword: stated})
    read = source.read(file)
    found = read.dataset.get(keyword)
    if keyword == "PixelSpacing" and inherited is not None:
        assert [float(one) for one in found] == [inherited] * 2
        assert all(len(str(one)) <= 16 for one in found)
        assert f"{note}:PixelSpacing" in read.notes
        return
    assert (list(found) if isinstance(inherited, list) else found) == inherited
    assert [one for one in read.notes if keyword in one] == ([note] if note else [])


@pytest.mark.parametrize(
    "file",
    [
        wrapped(StudyInstanceUID=None),
        wrapped(SeriesInstanceUID=None),
        wrapped().replace(b"2.25.101", b"2x25.101"),
        wrapped(Rows=None),
    ],
    ids=["no study", "no series", "no instance", "no size"],
)
def test_what_nothing_can_refer_to_is_refused(file: bytes) -> None:
    with pytest.raises(Permanent) as refused:
        source.read(file)
    assert refused.value.code is ErrorCode.OBJECTS_REFUSED


@pytest.mark.parametrize("data", [b"", b"x" * 300, wrapped()[:200]], ids=["", "text", "cut"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(Permanent) as refused:
        source.read(data)
    assert refused.value.code is ErrorCode.OBJECTS_REFUSED


def test_nothing_else_is_inherited() -> None:
    read = source.read(wrapped(DX, PatientAddress="1 Street", PatientComments="x"))
    assert "PatientAddress" not in read.dataset
    assert "PatientComments" not in read.dataset
    assert "WindowCenter" not in read.dataset
