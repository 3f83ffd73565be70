"""The documents as tests read them: which there are, their code blocks, the walk-through of the README."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
README: Final = ROOT / "README.md"
BEGIN: Final = "<!-- walk-through: begin -->"
END: Final = "<!-- walk-through: end -->"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every document of the project, by path."""
    top = [path for path in ROOT.glob("*.md") if path.is_file()]
    return sorted([*top, *(ROOT / "docs").rglob("*.md")])


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_code(text: str) -> str:
    """The text with fenced blocks left out: what is in them is not a statement about files."""
    return _FENCE.sub("", text)


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return [body for found, body in _FENCE.findall(text) if found == language]


def walk_through() -> list[str]:
    """The commands of the README's walk-through, block by block."""
    _, begun, rest = read(README).partition(BEGIN)
    inside, ended, _ = rest.partition(END)
    if not begun or not ended:
        raise AssertionError(f"README.md lost the lines {BEGIN} and {END}; put them around the walk-through")
    return blocks(inside, "bash")
