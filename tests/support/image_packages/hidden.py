"""Which installed modules an image does not have: by its list in requirements/."""

from __future__ import annotations

import functools
import os
import re
import tempfile
from importlib import metadata
from pathlib import Path

from tests.support.paths import ROOT

# The Dockerfile removes them from every image after the installation.
REMOVED = {"pip", "setuptools"}
# Not in the list of an image and yet there: the program itself.
OURS = {"pleura"}


def packages(image: str) -> set[str]:
    """The distributions of an image, by their names as PyPI compares them."""
    text = (ROOT / "requirements" / f"{image}.txt").read_text(encoding="utf-8")
    return {_plain(name) for name in re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==", text, re.MULTILINE)}


@functools.cache
def modules(image: str) -> frozenset[str]:
    """The top-level modules of installed distributions that the image does not have."""
    there = (packages(image) | OURS) - REMOVED
    return frozenset(
        module
        for module, names in metadata.packages_distributions().items()
        if not {_plain(name) for name in names} & there
    )


@functools.cache
def environment(image: str) -> dict[str, str]:
    """The variables by which a Python process has the packages of an image alone."""
    with tempfile.NamedTemporaryFile("w", suffix=f"-{image}.txt", delete=False) as file:
        file.write("\n".join(sorted(modules(image))))
    folders = (str(Path(__file__).parent), str(ROOT), os.environ.get("PYTHONPATH", ""))
    return {
        "PLEURA_TEST_HIDDEN": file.name,
        "PYTHONPATH": os.pathsep.join(filter(None, folders)),
        "PYTHONWARNINGS": "ignore",
    }


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
