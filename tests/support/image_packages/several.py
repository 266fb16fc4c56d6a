"""Runs several commands one after the other in one process, as each would run in its own.

Standard input: a JSON list of [module, words, environment] with the module's `main`. The last line
of standard output: a JSON list of [exit status, standard output, standard error]; a command that
raises has the exception's name as its status.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import traceback


def run(module: str, words: list[str]) -> list[object]:
    """What one command does."""
    written, problems = io.StringIO(), io.StringIO()
    status: object
    with contextlib.redirect_stdout(written), contextlib.redirect_stderr(problems):
        try:
            status = importlib.import_module(module).main(words)
        except SystemExit as ended:
            status = ended.code
            if isinstance(status, str):  # Python prints it and ends with 1
                print(status, file=sys.stderr)
                status = 1
        except Exception as error:
            status = type(error).__name__
            traceback.print_exc()
    return [status or 0, written.getvalue(), problems.getvalue()]


if __name__ == "__main__":
    done = []
    own = dict(os.environ)
    for module, words, environment in json.load(sys.stdin):
        os.environ.update(environment)
        done.append(run(module, words))
        os.environ.clear()
        os.environ.update(own)
    print("\n" + json.dumps(done))
