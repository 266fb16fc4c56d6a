"""The images: bases from Debian's packages, ours from the repository's Dockerfile.

Where the public images of Python, PostgreSQL and Redis can be had they are used as they are
(`--public-images`); elsewhere Debian's packages stand in for them.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.trial.shell import measured, run

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = "localhost/pleura-trial-python"
SERVERS = ("postgres:17-bookworm", "redis:7.2-bookworm")
_BASE = "localhost/pleura-trial-python-base"
_PACKAGES = "python3,python3-venv,ca-certificates"
# An imported file system has none.
_PATH = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OURS = {
    "portal": "pleura-portal",
    "worker-cpu": "pleura-worker-cpu",
    "worker-gpu": "pleura-worker-gpu",
}


def make_stand_ins(sources: Path, suite: str) -> None:
    """Make what stands in for the public images, unless it is there."""
    if not _is_there(PYTHON):
        with measured(f"{PYTHON}, from Debian's packages"), tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "base.tar"
            words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}"]
            with sources.open("rb") as listed:
                subprocess.run([*words, suite, str(archive), "-"], stdin=listed, check=True)
            run("podman", "import", "--quiet", "--change", _PATH, str(archive), _BASE)
            _build_here("python", PYTHON)
    if not all(_is_there(image) for image in SERVERS):
        with measured(f"{' and '.join(SERVERS)}, from Debian's packages"):
            _build_here("servers", *SERVERS)


def _build_here(name: str, *images: str) -> None:
    tags = [word for image in images for word in ("-t", image)]
    file = HERE / f"{name}.Dockerfile"
    run("podman", "build", "--network=host", "-q", *tags, "-f", str(file), str(HERE))


def build(targets: Sequence[str], base: str, mounts: Sequence[str]) -> None:
    """Build the images of these targets; `mounts` are given to `podman build` as volumes."""
    for target in targets:
        # Without intermediate images: half of the time and of the disk (30 GB for the GPU's).
        words = ["podman", "build", "--layers=false", "--network=host", "--format", "docker"]
        words += ["--target", target]
        words += ["--build-arg", f"PYTHON_IMAGE={base}"] if base else []
        words += [f"--volume={mount}" for mount in mounts]
        with measured(f"image {target}"):
            run(*words, "-q", "-t", f"{OURS[target]}:0.1.0", str(ROOT))
    for target in targets:
        size = run("podman", "image", "inspect", "--format", "{{.Size}}", f"{OURS[target]}:0.1.0")
        print(f"    {target}: {int(size) / 1e6:,.0f} MB", flush=True)


def _is_there(image: str) -> bool:
    return subprocess.run(["podman", "image", "exists", image], check=False).returncode == 0
