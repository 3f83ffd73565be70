import re
from pathlib import Path

HERE = Path(__file__)


def test_every_row_of_the_table_has_its_test() -> None:
    table = (HERE.parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")
    files = [path for path in HERE.parent.glob("test_*.py") if path != HERE]
    tests = "".join(path.read_text(encoding="utf-8") for path in files)
    named = set(re.findall(r"`(test_\w+)`", table))
    here = set(re.findall(r"def (test_\w+)\(", tests))
    assert named == here, "docs/simulator.md's table and this folder must name the same tests"
