"""The demo's drawn X-rays: the shipped model finds what they show."""

import json
from pathlib import Path

from ml.images import reader
from ml.inference import predict, serving
from portal.standalone import demo


def test_the_shipped_model_finds_the_drawn_pneumothoraces_and_nothing_where_there_is_none(
    tmp_path: Path,
) -> None:
    lines: list[str] = []
    files = demo.draw(tmp_path, lines.append)
    truth = json.loads((tmp_path / "truth.json").read_text())
    opened = serving.open(device="cpu")
    found = {file.stem: predict.predict(reader.read(file.read_bytes()), opened) for file in files}
    assert lines == []
    sides = [truth[name]["side"] for name in found]
    assert (len(sides), sides.count(None)) == (demo.PHANTOMS, 4)
    for name, prediction in found.items():
        side = truth[name]["side"]
        assert (prediction.band != "none_found") == (side is not None)
        if side:
            assert prediction.measurements is not None
            assert prediction.measurements["side"] == side
