"""Outputs that cannot be written are found before a command's work."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml import __main__, output_places
from ml.errors import BadInput


def test_a_place_is_made_and_what_is_there_stays(tmp_path: Path) -> None:
    output_places.check_folder(tmp_path / "a" / "b")
    output_places.check_file(tmp_path / "c" / "out.json")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "c"]
    there = tmp_path / "there.json"
    there.write_text("{}")
    output_places.check_file(there)
    assert there.read_text() == "{}"


def test_a_file_in_a_folder_s_place_and_the_other_way_round_are_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    for folder in (file, file / "below" / "it"):
        with pytest.raises(BadInput, match=f"{file} is a file, and a folder is needed there"):
            output_places.check_folder(folder)
    with pytest.raises(BadInput, match=f"{tmp_path} is a folder"):
        output_places.check_file(tmp_path)
    with pytest.raises(BadInput, match="/proc/x cannot be written into"):
        output_places.check_file(Path("/proc/x/out.json"))
    assert file.read_text() == "kept"


# Each of these inputs would fail, too, if it were read first.
COMMANDS = {
    "evaluate": ("--rle none.csv --dicom none --json", "folder"),
    "evaluate --rle none.csv --dicom none": ("--rows", "folder"),
    "evaluate --rle none.csv": ("--dicom none --report", "file"),
    "predict none.dcm": ("--weights none --out", "file"),
    "refit": ("--checkpoint none.pt --cache none --out", "folder"),
    "ensemble --member a.pt --member b.pt": ("--out", "folder"),
    "onnx --weights none": ("--out", "folder"),
    "export --checkpoint none.pt": ("--out", "file"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_the_first_thing_that_a_command_finds(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    options, kind = COMMANDS[command]
    place = tmp_path / "place"
    place.mkdir() if kind == "folder" else place.write_text("kept")
    assert __main__.main([*command.split(), *options.split(), str(place)]) == 1
    told = capsys.readouterr().err
    assert f"{place} is a {kind}" in told
    assert len(told.splitlines()) == 1
