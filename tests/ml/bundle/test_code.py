"""The code of a bundle: this package, and an installed package as a wheel that can be imported."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ml.bundle import code
from ml.errors import BadInput


def test_every_module_of_the_package_travels() -> None:
    names = {name for name, _ in code.own_modules()}
    assert {"ml/__init__.py", "ml/__main__.py", "ml/training/train.py"} <= names
    assert all(name.endswith(".py") for name in names)


def test_an_installed_package_becomes_the_same_wheel_each_time(tmp_path: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch", reason="not installed")
    name, data = code.wheel("segmentation-models-pytorch")
    assert (name, data) == code.wheel("segmentation-models-pytorch")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        assert "segmentation_models_pytorch/__init__.py" in names
        assert any(one.endswith("licenses/LICENSE") for one in names)
        record = next(one for one in names if one.endswith("RECORD"))
        listed = archive.read(record).decode().splitlines()
    assert sorted(line.split(",")[0] for line in listed) == sorted(names)
    (tmp_path / name).write_bytes(data)
    found = subprocess.run(
        [sys.executable, "-S", "-c", "import importlib.util as u; "
         "print(u.find_spec('segmentation_models_pytorch').origin)"],
        env={"PYTHONPATH": str(tmp_path / name)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout  # fmt: skip
    assert found.startswith(str(tmp_path / name))


def test_a_package_with_compiled_parts_or_none_at_all_is_refused() -> None:
    with pytest.raises(BadInput, match="not of Python alone"):
        code.wheel("numpy")
    with pytest.raises(BadInput, match="install it"):
        code.wheel("no-such-package-of-anybody")
