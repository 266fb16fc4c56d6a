"""`python -m tests.campaigns NAME`: attacks and faults in large numbers, which `make test` samples.

It prints the campaign's table and writes it to docs/measured.md, with commit and seed. An
interrupted run goes on where it stopped if it is started again with the same options.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType

from tests.campaigns import campaign

_NO_CAMPAIGN = {"__init__", "__main__", "campaign"}


def campaigns() -> dict[str, ModuleType]:
    """The campaigns of this folder by name; `slow_clients.py` is `slow-clients`."""
    names = {path.stem for path in Path(__file__).parent.glob("*.py")}
    return {
        name.replace("_", "-"): import_module(f"tests.campaigns.{name}")
        for name in sorted(names - _NO_CAMPAIGN)
        if not name.startswith("test_")
    }


def summary(module: ModuleType) -> str:
    """The first sentence of a campaign's docstring."""
    return (module.__doc__ or "").strip().splitlines()[0]


def main(words: Sequence[str]) -> int:
    """Run one campaign; 1 when a row did not pass."""
    parser = argparse.ArgumentParser(prog="make campaign", description=(__doc__ or "").strip())
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    known = campaigns()
    for name, module in known.items():
        own = names.add_parser(name, help=summary(module), description=summary(module))
        own.add_argument("--seed", type=int, default=1)
        own.add_argument("--rounds", type=int, default=getattr(module, "ROUNDS", 1))
        own.add_argument("--print", action="store_true", help="leave docs/measured.md as it is")
        if hasattr(module, "add_arguments"):
            module.add_arguments(own)
    options = parser.parse_args(words)
    module = known[options.name]
    command = shlex.join(word for word in words if word != "--print")
    state = campaign.STATE / f"{options.name}.json"
    unfinished = campaign.Unfinished(state, campaign.fingerprint(command))
    made = f"seed {options.seed}, commit {campaign.commit()}"
    if getattr(module, "KEEPS_ROWS", False):  # some of them may be of other runs
        command, made = options.name, "commits in the last column"

    def save(rows: Sequence[campaign.Row]) -> None:
        if not options.print:
            when = f"{made}, {datetime.now(UTC):%Y-%m-%d}"
            head = f"{summary(module)}\n\n`python -m tests.campaigns {command}`: {when}."
            campaign.write(options.name, f"{head}\n\n{campaign.table(module.COLUMNS, rows)}")

    earlier = campaign.rows_of(options.name)
    rows = module.run(
        campaign.Arguments(options.seed, options.rounds, options, unfinished, earlier, save)
    )
    print(campaign.table(module.COLUMNS, rows))
    save(rows)
    unfinished.remove()
    return 0 if all(row.passed for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
