"""Documents that follow from the code, and the form that pages of one kind share."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from services.approval.domain.review import ReviewState
from services.provisioner.domain.claims import ClaimState
from shared.contracts import reference
from shared.contracts.ticket import GrantState, TargetState, TicketState
from tests.support.pages import ROOT, pages, read

DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
SECTIONS = ["Context", "Decision", "Consequences", "Reopen when", "Held by"]
LONGEST_DECISION = 70


def test_events_page_is_what_the_contracts_say() -> None:
    assert read(ROOT / "docs" / "events.md") == reference.events_page(), "run `make generate`"


@pytest.mark.parametrize("states", [TargetState, GrantState, TicketState, ClaimState, ReviewState])
def test_glossary_has_every_state(states: type[StrEnum]) -> None:
    glossary = read(ROOT / "docs" / "glossary.md")
    missing = [state.value for state in states if f"`{state.value}`" not in glossary]
    assert not missing, f"docs/glossary.md does not say what {missing} of {states.__name__} means"


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    numbers = [int(page.name[:4]) for page in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))
    listed = re.findall(r"\]\(([^)]+)\)", read(ROOT / "docs" / "decisions" / "README.md"))
    assert listed == [page.name for page in DECISIONS]


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_decision_is_one_page_with_its_sections(page: Path) -> None:
    text = read(page)
    assert text.startswith(f"# {page.name[:4]} ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert len(text.splitlines()) <= LONGEST_DECISION, "a decision is one page; the rest is architecture"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_page_begins_with_its_title(page: Path) -> None:
    first, _, _ = read(page).partition("\n")
    assert first.startswith("# "), f"{page.name} begins with {first!r}"
