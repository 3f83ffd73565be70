"""What the documents point at is there: pages, headings, files of the project, tests."""

import re
from pathlib import Path

import pytest

from tests.support.pages import ROOT, pages, read, without_code

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FOLDERS = "services|shared|simulator|local|cli|deploy|bench|tests|docs"
_PATH = re.compile(rf"(?:{_FOLDERS})/[\w./{{}},-]+")
_TEST = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")

every_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


def headings(page: Path) -> set[str]:
    """The anchors of a page, as forges make them of headings."""
    found = re.findall(r"^#+ (.+)$", without_code(read(page)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


@every_page
def test_links_of_page_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(without_code(read(page))):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        to = (page.parent / file).resolve() if file else page
        assert to.exists(), f"{page.name} links to {target}, which is not there"
        assert not anchor or anchor in headings(to), f"{page.name} links to {target}: no such heading"


@every_page
def test_files_named_on_page_exist(page: Path) -> None:
    for code in _CODE.findall(without_code(read(page))):
        path = code.partition("::")[0]
        if _PATH.fullmatch(path) and "{" not in path and "..." not in path:
            assert (ROOT / path).exists(), f"{page.name} names {path}, which is not there"


@every_page
def test_tests_named_on_page_exist(page: Path) -> None:
    for file, name in _TEST.findall(read(page)):
        source = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {name}(" in source, f"{page.name} relies on {file}::{name}, which is not there"
