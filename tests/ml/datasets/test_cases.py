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


@pytest.mark.parametrize(
    "header",
    [
        "ImageId, EncodedPixels",
        "imageid,encodedpixels",
        "Image_ID,encoded_pixels",
        "IMAGEID, X,EncodedPixels",
    ],
)
@pytest.mark.parametrize("suffix", ["", ".dcm", ".DCM", ".png"])
def test_a_table_is_read_in_any_spelling_of_its_columns_and_names(tmp_path, header, suffix):
    columns = [name.strip() for name in header.split(",")]
    rows = [["1.2.276.45", "-1"], ["b", "1 2"], ["b", "9 1"]]
    lines = [
        [name + suffix, "x", text] if len(columns) == 3 else [name + suffix, text]
        for name, text in rows
    ]
    table = tmp_path / "t.csv"
    table.write_text("\n".join([header, *(",".join(line) for line in lines)]))
    assert cases.read_table(table) == {"1.2.276.45": ["-1"], "b": ["1 2", "9 1"]}


def test_an_index_and_its_traits_are_read_in_any_spelling(tmp_path):
    index = tmp_path / "index.csv"
    index.write_text("imageid,Patient,FOLD,View\na.dcm,P,3,AP\nb,,,\n")
    assert cases.read_index(index) == ({"a": "P", "b": "b"}, {"a": "3", "b": ""})
    assert cases.read_traits(index, ("view",)) == {"a": {"view": "AP"}, "b": {"view": ""}}


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("ImageId,imageid,EncodedPixels\na,b,-1\n")
    with pytest.raises(cases.BadTable, match="the column ImageId twice"):
        cases.read_table(tmp_path / "t.csv")
