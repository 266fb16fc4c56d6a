"""Which modules have a test file of their own name, and where the others are tested.

The others are listed in a table of docs/architecture.md, checked by tests/test_structure.py:

    python -m tests.module_tests --write

drops the rows that are no longer needed and adds the missing ones, with the test files that import
the module most; where none does, the row ends with "?" and has to be completed by hand.
"""

import argparse
import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT

PACKAGES = ("portal", "worker", "ml", "xray_files")
DOCUMENT = ROOT / "docs" / "architecture.md"
HEAD = "| folder | modules | tested in |\n|---|---|---|\n"
_ROW = re.compile(r"\| `([\w/]+)` \| (.+?) \| (.+?) \|\n")
_MOST_FILES = 2


def modules() -> Iterator[Path]:
    """The modules with code, relative to the repository; not those that only hold names or text."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            body = ast.parse(path.read_text("utf-8")).body
            if path.name != "__init__.py" or any(_is_code(node) for node in body):
                yield path.relative_to(ROOT)


def own_tests(module: Path) -> list[Path]:
    """Where a test file of the module's own name could be."""
    folder = Path("tests", module.parent)
    if module.name == "__init__.py":
        name = f"test_{module.parent.name}.py"
        return [folder / name, folder.parent / name]
    return [folder / f"test_{module.stem.strip('_')}.py"]


def without_own_test() -> list[Path]:
    """The modules that have no test file of their own name."""
    return [
        module
        for module in modules()
        if not any((ROOT / test).exists() for test in own_tests(module))
    ]


def listed() -> dict[Path, list[str]]:
    """The document's table: for each module the test files that it names, below tests/."""
    text = DOCUMENT.read_text("utf-8").partition(HEAD)[2].partition("\n\n")[0] + "\n"
    return {
        Path(folder, f"{name.strip('` ')}.py"): [test.strip("` ") for test in tests.split(",")]
        for folder, names, tests in _ROW.findall(text)
        for name in names.split(",")
    }


def table() -> str:
    """The table as it should be: known rows stay, missing ones get the importing test files."""
    known, suggested = listed(), _importing_tests()
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for module in without_own_test():
        tests = known.get(module) or suggested.get(_dotted(module), [])
        there = [test for test in tests if (ROOT / "tests" / test).exists()]
        text = ", ".join(f"`{test}`" for test in there) or "?"
        rows[module.parent.as_posix(), text].append(f"`{module.stem}`")
    lines = [
        f"| `{folder}` | {', '.join(names)} | {text} |\n" for (folder, text), names in rows.items()
    ]
    return HEAD + "".join(lines)


def _is_code(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)


def _dotted(module: Path) -> str:
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


def _importing_tests() -> dict[str, list[str]]:
    """For each imported module the test files that use it most, below tests/."""
    uses: dict[str, Counter[str]] = defaultdict(Counter)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            for alias in node.names:
                count = len(re.findall(rf"\b{alias.asname or alias.name}\b", text))
                for name in (node.module, f"{node.module}.{alias.name}"):
                    uses[name][path.relative_to(ROOT / "tests").as_posix()] += count
    return {
        name: [test for test, _ in found.most_common(_MOST_FILES)] for name, found in uses.items()
    }


def main() -> None:
    """Print the table, or write it into the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/architecture.md")
    text = table()
    if not parser.parse_args().write:
        print(text)
        return
    before, _, after = DOCUMENT.read_text("utf-8").partition(HEAD)
    rest = after.partition("\n\n")[2] if "\n\n" in after else ""
    DOCUMENT.write_text(before + text + (f"\n{rest}" if rest else ""), "utf-8")
    print(f"{len(without_own_test())} modules are tested in files of another name")


if __name__ == "__main__":
    main()
