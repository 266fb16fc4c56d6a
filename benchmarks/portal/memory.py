"""Memory of a running Pleura: proportional and resident set size of each of its processes.

    python benchmarks/portal/memory.py [--pid PID of `python -m portal up`]

Reads /proc (Linux). A process belongs to Pleura when it descends from the supervisor. PSS counts
a page that n processes share as 1/n, so the sum over the tree is what the machine really gives.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

PROC = Path("/proc")


def command(pid: int) -> str:
    return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


def parents() -> dict[int, int]:
    """Parent of each running process."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def tree(root: int) -> list[int]:
    """`root` and all that descend from it."""
    parent_of = parents()
    members = {root}
    while True:
        more = {pid for pid, parent in parent_of.items() if parent in members} - members
        if not more:
            return sorted(members)
        members |= more


def megabytes(pid: int, name: str) -> float:
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pid", type=int, help="of the supervisor; found by its command if absent")
    options = parser.parse_args()
    root = options.pid
    if root is None:
        roots = [p for p in parents() if "portal up" in command(p) or "portal demo" in command(p)]
        if not roots:
            print("Pleura is not running here", file=sys.stderr)
            return 1
        root = min(roots)
    rows = [
        {
            "pid": pid,
            "pss_mb": round(megabytes(pid, "Pss"), 1),
            "rss_mb": round(megabytes(pid, "Rss"), 1),
            "command": command(pid)[-100:],
        }
        for pid in tree(root)
    ]
    for row in rows:
        print(json.dumps(row))
    print(json.dumps({"total_pss_mb": round(sum(float(str(r["pss_mb"])) for r in rows), 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
