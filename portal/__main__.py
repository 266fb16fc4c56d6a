"""The command line: `python -m portal <command>`; each has `--help`."""

import argparse
import os
import sys

try:
    from portal.cli.commands import COMMANDS
    from portal.operations.context import Failed
    from portal.settings import SettingsError
    from portal.settings.process_environment import leave_environment
    from worker.isolation import kernel
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"portal: it needs {missing.name}: install it with `pip install .[portal]`"
    ) from None

# Commands that run beside processes that read untrusted files.
_BESIDE_READERS = (
    *("up", "demo", "sweep", "upgrade", "cohort"),
    *("dicom-listener", "dicom-sender", "hl7-listener", "report-sender"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 1 with a sentence when it could not."""
    parser = argparse.ArgumentParser(
        prog="python -m portal",
        description="Pleura's portal. Its settings come from the environment: see `settings`.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.help, description=command.help)
        command.add_arguments(own)
        own.set_defaults(run=command.run)
    chosen = parser.parse_args(arguments)
    os.umask(0o077)  # whatever a command makes is for its owner alone
    try:
        code: int = chosen.run(chosen)
    except SettingsError as error:
        print("Settings:", file=sys.stderr)
        for problem in error.problems:
            print(f"- {problem}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): no traceback for that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Failed as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    if any(argument in _BESIDE_READERS for argument in sys.argv[1:2]):
        leave_environment()
        kernel.make_undumpable()
    sys.exit(main())
