"""Which way imports may go: the contracts of `.importlinter`."""

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_import_contracts_are_kept() -> None:
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, f"move what is imported, not the contract:\n{answer.stdout}{answer.stderr}"


def test_every_service_is_in_the_contracts() -> None:
    contracts = (ROOT / ".importlinter").read_text()
    for folder in (ROOT / "services").iterdir():
        if (folder / "__main__.py").exists():
            assert contracts.count(f"services.{folder.name}\n") >= 2, (
                f"add services.{folder.name} to the contracts of .importlinter"
            )


def test_everything_can_be_imported() -> None:
    for package in ("services", "shared"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.stem in {"__main__", "__init__"}:
                continue
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            assert importlib.util.find_spec(name) is not None, f"{path} cannot be found as {name}"
