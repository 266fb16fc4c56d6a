"""The structure of the repository: folders that fit on a screen, and a test for every module."""

from pathlib import Path

import pytest

from tests import module_tests
from tests.support.paths import ROOT

MOST_MODULES = 14
FOLDERS = sorted(
    {
        path.parent.relative_to(ROOT)
        for package in (*module_tests.PACKAGES, "benchmarks", "deploy", "tests")
        for path in (ROOT / package).rglob("*.py")
    }
)


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_no_folder_has_more_than_14_modules(folder: Path) -> None:
    modules = [path.name for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES, f"{folder}: {modules}"


def test_every_module_has_a_test_of_its_name_or_a_row_in_the_architecture() -> None:
    missing = set(module_tests.without_own_test()) - set(module_tests.listed())
    assert missing == set(), "run `python -m tests.module_tests --write`"


def test_the_architecture_lists_no_other_module() -> None:
    surplus = set(module_tests.listed()) - set(module_tests.without_own_test())
    assert surplus == set(), "run `python -m tests.module_tests --write`"


def test_every_test_file_in_that_list_exists() -> None:
    named = {test for tests in module_tests.listed().values() for test in tests}
    assert {test for test in named if not (ROOT / "tests" / test).is_file()} == set()
