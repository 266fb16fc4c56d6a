"""Where things lie: the repository, and the real X-rays of a machine that has some."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
XRAYS = ROOT.parent / "shared" / "data"
