"""Texts that people write into the API: what of them cannot be stored or shown is refused here."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

from shared.text.refusals import refused

_LINE_BREAKS = frozenset("\n\r\t")


def _printable(text: str, *, allowed: frozenset[str]) -> str:
    """Refuse control characters, direction overrides and lone surrogates; `Cf` would hide or turn text."""
    for character in text:
        if character not in allowed and unicodedata.category(character) in {"Cc", "Cs", "Cf", "Co", "Cn"}:
            raise refused(
                "character_refused", f"the character U+{ord(character):04X} is not allowed in a text"
            )
    return text.strip()


def _line(text: str) -> str:
    stripped = _printable(text, allowed=frozenset())
    if not stripped:
        raise refused("empty", "this is empty; write something")
    return stripped


def printable_paragraph(text: str) -> str:
    """A text of several lines, for fields whose length is somebody else's to check."""
    return _printable(text, allowed=_LINE_BREAKS | _JOINERS)


_JOINERS = frozenset("\u200c\u200d")
"""Part of how some scripts and emoji are written."""

Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]
Paragraph = Annotated[str, Field(max_length=2000), AfterValidator(printable_paragraph)]
