"""Paths: the repository, and real X-rays if the machine has some."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
XRAYS = ROOT.parent / "shared" / "data"
