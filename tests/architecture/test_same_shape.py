"""Rooms that look alike: the same file names in every service, and no others but those the docs name."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = frozenset(
    {
        "__init__", "__main__", "settings", "http", "consumers", "background", "commands", "domain", "store",
        "views", "migrations",
    }
)  # fmt: skip
NEEDED = frozenset({"__init__", "__main__", "settings", "consumers", "commands", "migrations"})
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/__main__.py"))
REFUSED = frozenset({"utils", "util", "common", "helpers", "helper", "misc", "manager", "managers", "base"})
LONGEST = 400
"""Lines of one file; about 300 is where it should have become a package."""
MEDIAN = 8
NINE_OF_TEN = 22
"""Lines of half the functions, and of nine of ten. A rule that leaks out of the domain makes them grow."""
PRODUCT = ("services", "shared", "simulator", "local", "cli", "bench", "model")


def special_files() -> dict[str, set[str]]:
    """The table of docs/architecture.md: service to the names it has besides the common ones."""
    rows = re.findall(r"^\| (\w+) \| ((?:`\w+`(?:, )?)*) ?\|$", _architecture(), flags=re.MULTILINE)
    return {service: set(re.findall(r"`(\w+)`", names)) for service, names in rows if service in SERVICES}


def _architecture() -> str:
    return (ROOT / "docs" / "architecture.md").read_text()


def python_files() -> list[Path]:
    return [path for top in PRODUCT for path in sorted((ROOT / top).rglob("*.py"))]


def test_the_architecture_page_has_a_row_for_every_service() -> None:
    assert sorted(special_files()) == SERVICES, (
        "docs/architecture.md, table of special files: a row per service"
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_the_common_names_and_its_special_ones(service: str) -> None:
    folder = ROOT / "services" / service
    found = {path.stem for path in folder.iterdir() if path.name != "__pycache__"}
    allowed = NAMES | special_files()[service]
    assert found <= allowed, (
        f"services/{service} has {sorted(found - allowed)}: put it into one of {sorted(NAMES)}, "
        "or name it as special in docs/architecture.md"
    )
    assert found >= NEEDED, f"services/{service} lacks {sorted(NEEDED - found)}"
    missing = special_files()[service] - found
    assert not missing, (
        f"docs/architecture.md names {sorted(missing)} in services/{service}, which is not there"
    )


@pytest.mark.parametrize("service", SERVICES)
def test_a_package_stands_where_a_file_would_and_not_beside_it(service: str) -> None:
    folder = ROOT / "services" / service
    twice = {path.stem for path in folder.glob("*.py")} & {
        path.name for path in folder.iterdir() if path.is_dir()
    }
    assert not twice, f"services/{service} has {sorted(twice)} both as a file and as a package"


def test_no_file_is_named_after_nothing() -> None:
    for path in python_files():
        names = {part.removesuffix(".py").strip("_") for part in path.relative_to(ROOT).parts}
        assert not names & REFUSED, f"{path}: name the file after what it is about"


def test_no_file_is_too_long() -> None:
    for path in python_files():
        lines = len(path.read_text().splitlines())
        assert lines <= LONGEST, f"{path} has {lines} lines: make it a package, one file per noun"


def test_functions_are_short_as_a_rule() -> None:
    lengths = sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[len(lengths) // 2] <= MEDIAN
    assert lengths[len(lengths) * 9 // 10] <= NINE_OF_TEN


def test_every_module_says_what_it_is_for() -> None:
    for path in python_files():
        text = path.read_text()
        assert not text.strip() or text.startswith(('"""', "#", 'r"""')), f"{path}: begin with what it is for"
