"""`python -m ml train --bundle FILE --minutes N`: a run from one file, ended by the clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ml.__main__ import main  # noqa: E402
from ml.bundle import bundled_run, contents  # noqa: E402
from ml.network import model  # noqa: E402
from ml.training import checkpoint  # noqa: E402
from tests.support.ml.tiny_training import discs, log  # noqa: E402

pytestmark = pytest.mark.torch


def test_a_run_reports_ends_by_the_clock_and_writes_what_to_take_home(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, began = tmp_path / "run", time.monotonic()
    words = ["--bundle", str(bundle), "--minutes", "0.1", "--out", str(out), "--report", "1"]
    assert main(["train", *words, "--save", "2"]) == 0
    assert time.monotonic() - began < 6 + 10  # a busy machine's last step and files
    printed = capsys.readouterr().out
    assert "48 pictures to train on, 24 held out" in printed
    assert printed.count("pictures/s") >= 2
    summary = json.loads(printed[printed.index("{") :])
    assert summary["held_out_fold"] == 1
    assert summary["pictures"] == summary["steps"] * 4 > 0
    assert 0 <= summary["auc"] <= 1  # measured at the end alone
    assert not any(row["auc"] for row in log(out)[:-1])
    content, recipe = checkpoint.read_trained(out / bundled_run.TRAINED)
    assert recipe.name == "tiny"
    assert checkpoint.unseen(out / bundled_run.TRAINED) == {1}
    assert all(v.dtype != torch.float32 for v in content["average"].values())
    checkpoint.fill(model.build(recipe, weights=False), content["average"], "trained.pt")
    own = checkpoint.weights(out / "checkpoint.pt")
    for name, value in content["average"].items():
        torch.testing.assert_close(value.float(), own[name].float(), rtol=1e-3, atol=1e-4)

    # The same command goes on with the run, for as long again.
    assert main(["train", *words]) == 0
    again = json.loads((text := capsys.readouterr().out)[text.index("{") :])
    assert again["steps"] > summary["steps"]


def test_what_a_bundle_does_not_have_is_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--minutes", "0.1", "--out", str(tmp_path / "run")]
    assert main([*words, "--bundle", str(bundle), "--recipe", "large"]) == 1
    assert "has no recipe 'large': tiny" in capsys.readouterr().err
    assert main([*words, "--bundle", str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().err
    broken = tmp_path / "broken"
    broken.write_bytes(bundle.read_bytes()[:5000])
    assert main([*words, f"--bundle={broken}"]) == 1
    assert "is no bundle" in capsys.readouterr().err


def test_held_out_pictures_are_thinned_evenly_over_both_kinds() -> None:
    shown = bundled_run.thinned(discs(40), 10)
    assert [record.positive for record in shown.records].count(True) == 5
    assert len(shown.records) == 10
    assert len(bundled_run.thinned(discs(4), 10).records) == 4
    assert len(bundled_run.thinned(discs(40), 1).records) == 2


# What a Python with torch, timm and OpenCV has not; `__editable__` is this repository itself.
LACKING = ("segmentation_models_pytorch", "pydicom", "openvino", "scipy", "efficientnet_lite2",
           "__editable__", "tensorboard", "pleura")  # fmt: skip


def test_a_machine_without_the_repository_imports_all_of_it_from_the_file(
    bundle: Path, tmp_path: Path
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    for one in Path(torch.__file__).parents[1].iterdir():
        if not one.name.lower().startswith(LACKING):
            os.symlink(one, packages / one.name)
    code = (
        "from ml.bundle import contents; import sys\n"
        "with contents.opened(__import__('pathlib').Path(sys.argv[1])) as bundle:\n"
        "    bundle.use_packages()\n"
        "    import ml.training.train, segmentation_models_pytorch as smp\n"
        "    print(ml.training.train.__file__, smp.__file__)\n"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", code, str(bundle)],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{bundle}:{packages}", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    own, smp = found.stdout.split()
    assert own.startswith(str(bundle))
    assert contents.WHEELS in smp
