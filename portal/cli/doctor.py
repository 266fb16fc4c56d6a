"""The command `doctor`: what is wrong with this installation, and the way back."""

import argparse
import json
from dataclasses import asdict

from portal.operations import doctor
from portal.operations.context import now, print_line
from portal.settings import Settings


def doctor_options(parser: argparse.ArgumentParser) -> None:
    """Describe `doctor`."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def examine(chosen: argparse.Namespace) -> int:
    """Print each check; 1 if one has failed. Warnings alone are 0."""
    found = []
    for check in doctor.examine(Settings.from_env, now()):
        found.append(check)
        if not chosen.json:
            print_line(f"{check.state:<8} {check.name}: {check.text}")
            if check.advice:
                print_line(f"         → {check.advice}")
    if chosen.json:
        print_line(json.dumps([asdict(check) for check in found], indent=2))
    return int(any(check.state == "failed" for check in found))
