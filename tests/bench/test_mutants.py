"""Mutants that cannot be made are refused, loudly: one that is skipped would pass for killed."""

from pathlib import Path

import pytest

from bench.mutants import Unusable, check
from bench.mutations.mutant import Mutant


def mutant(old: str, new: str, breaks: str = "something") -> Mutant:
    return Mutant("domain", breaks, old, new)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain" / "claims.py").write_text("if a < b:\n    c = 1\nd = e\n")
    (tmp_path / "domain" / "decisions.py").write_text("g = 1\nh = e\n")
    return tmp_path


def test_mutant_whose_text_stands_once_can_be_made(code: Path) -> None:
    check([mutant("a < b", "a <= b")], code=code)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (mutant("a > b", "a >= b"), "0 times"),
        (mutant("= 1", "= 2"), "2 times"),
        (mutant("a < b:", "a < b"), "no Python"),
        (mutant("e", "f"), "2 times"),
    ],
)
def test_mutant_that_cannot_be_made_stops_the_run_and_says_why(code: Path, wrong: Mutant, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        check([mutant("a < b", "a <= b", "another"), wrong], code=code)


def test_mutants_of_one_name_stop_the_run(code: Path) -> None:
    with pytest.raises(Unusable, match="named 2 times"):
        check([mutant("a < b", "a <= b"), mutant("a < b", "a > b")], code=code)
