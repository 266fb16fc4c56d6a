"""Tables and folders of cases."""

from __future__ import annotations

import pytest

from ml.datasets import cases


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no column"),
        ("ImageId,Mask\na,-1\n", "no column EncodedPixels"),
        ("ImageId,EncodedPixels\n", "lists no picture"),
        ("ImageId,EncodedPixels\n,-1\n", "line 2: no ImageId"),
    ],
)
def test_a_table_of_another_kind_is_refused(tmp_path, content, reason):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(cases.BadTable, match=reason):
        cases.read_table(tmp_path / "t.csv")


def test_of_two_files_with_one_name_the_dicom_is_taken(tmp_path):
    for name in ("a.dcm", "a.png", "sub/a.dcm", ".hidden.dcm", "notes.txt", "b.jpeg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    found, repeated = cases.pictures(tmp_path)
    assert {name: str(path.relative_to(tmp_path)) for name, path in found.items()} == {
        "a": "a.dcm",
        "b": "b.jpeg",
    }
    assert repeated == 2
    with pytest.raises(cases.BadTable, match="not a folder"):
        cases.pictures(tmp_path / "none")
