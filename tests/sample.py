"""Which tests and addresses one run takes of those that are too many for every run.

`make test` runs pytest with `--sample=commit`: the commit decides, so that the next commit takes
others and the same commit the same ones. `make test DATABASES=all` takes all.

A test that takes long for each of many cases has the mark `sampled(share)`: one in `share` of its
cases runs, at least one where it has as many.
"""

import inspect
import subprocess
from collections import Counter
from zlib import crc32

import pytest

# Of the tests that run on both databases, one in so many runs on PostgreSQL.
POSTGRES_SHARE = 6
# The value of the second run in the parameters of `database_url`.
POSTGRES = "postgres"
_SEED = pytest.StashKey[str]()


def add_option(parser: pytest.Parser) -> None:
    """The option of pytest."""
    parser.addoption(
        "--sample", default="", metavar="SEED", help="not all tests: 'commit', or a run's seed"
    )


def seed(config: pytest.Config) -> str:
    """What chooses this run's sample; empty where it takes all."""
    if _SEED not in config.stash:
        given: str = config.getoption("--sample")
        config.stash[_SEED] = _commit(config) if given == "commit" else given
    return config.stash[_SEED]


def _commit(config: pytest.Config) -> str:
    asked = ["git", "-C", str(config.rootpath), "rev-parse", "--short=12", "HEAD"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "no-commit"


def is_taken(config: pytest.Config, name: str, share: int) -> bool:
    """Whether this run takes `name`: one in `share` of all names, or all where none is left out."""
    chosen_by = seed(config)
    return not chosen_by or crc32(f"{chosen_by} {name}".encode()) % share == 0


def choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the second run, on PostgreSQL, of tests that are not about PostgreSQL, and cases of
    tests that are marked as sampled.
    """
    left_out = {
        item
        for item in items
        if _runs_there_too(item)
        and not _is_about_postgresql(item)
        and not is_taken(config, item.nodeid, POSTGRES_SHARE)
    }
    left_out |= _of_sampled_tests(seed(config), items)
    if left_out:
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]


def _of_sampled_tests(chosen_by: str, items: list[pytest.Item]) -> set[pytest.Item]:
    """Those of a test's cases that this run leaves out: every share-th one stays, beginning at one
    that the seed chooses.
    """
    left_out = set[pytest.Item]()
    numbers = Counter[str]()
    for item in items:
        mark = item.get_closest_marker("sampled")
        if mark is None or not chosen_by:
            continue
        (share,) = mark.args
        test = item.nodeid.partition("[")[0]
        if (numbers[test] + crc32(f"{chosen_by} {test}".encode())) % share:
            left_out.add(item)
        numbers[test] += 1
    return left_out


def _runs_there_too(item: pytest.Item) -> bool:
    """The second of two runs; a test that runs there alone has the mark and no such value."""
    call = getattr(item, "callspec", None)
    return call is not None and any(value is POSTGRES for value in call.params.values())


def _is_about_postgresql(item: pytest.Item) -> bool:
    """Its file's name or its code names PostgreSQL or a lock that is waited for."""
    if "postgres" in item.path.name:
        return True
    code = inspect.getsource(getattr(item, "obj", item.__class__)).lower()
    return "postgres" in code or "until_it_waits" in code
