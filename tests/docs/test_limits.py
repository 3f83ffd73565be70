"""docs/limits.md says for everything JIT stands on what happens without it, and names who shows that."""

import re
from typing import Final

import pytest

from tests.support.pages import ROOT, read

PAGE: Final = ROOT / "docs" / "limits.md"
HEAD: Final = (
    "Away", "Still works", "Access ends", "What does not", "For how long", "A person does", "Shown by",
)  # fmt: skip
ASKED_FOR: Final = (
    "the broker", "database", "mail", "the identity provider", "primary Region", "Organizations",
    "every provisioner", "all of JIT",
)  # fmt: skip
TEST: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[list[str]]:
    lines = [line for line in read(PAGE).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_table_has_its_columns_in_every_row() -> None:
    head, *body = rows()
    assert tuple(head) == HEAD
    assert {len(row) for row in body} == {len(HEAD)}


@pytest.mark.parametrize("away", ASKED_FOR)
def test_everything_jit_stands_on_has_a_row(away: str) -> None:
    assert any(away in row[0] for row in rows()[1:])


@pytest.mark.parametrize("row", rows()[1:], ids=lambda row: str(row[0]))
def test_row_names_tests_that_are_there(row: list[str]) -> None:
    named = TEST.findall(row[-1])
    assert named, f"{row[0]}: a row without a test is a claim"
    for file, name in named:
        assert f"def {name}(" in read(ROOT / file), f"{row[0]} relies on {file}::{name}, which is not there"


def test_promise_of_security_points_at_the_table_and_claims_no_more() -> None:
    [promise] = re.findall(r"^2\. .*?(?=^3\. )", read(ROOT / "SECURITY.md"), re.MULTILINE | re.DOTALL)
    assert "docs/limits.md" in promise
    assert not re.search(r"\balways\b|\bno (?:\w+ )*outage\b|\bany outage\b", promise)


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md", "docs/runbook.md", "SECURITY.md"])
def test_table_is_found_from(page: str) -> None:
    assert re.search(r"\]\((?:docs/)?limits\.md\)", read(ROOT / page))
