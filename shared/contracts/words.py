"""Enums that outlive a release: a word this one does not know keeps its text and equals no known one.

Facts of a newer release are read by older ones. What opens access asks whether all words are known; stops and
records need none.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel


class Word(StrEnum):
    """One of several words in a fact."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown

    @property
    def is_known(self) -> bool:
        return self.value in type(self)._value2member_map_

    @property
    def is_decided_on(self) -> bool:
        """False where it is for people's eyes only."""
        return True


def unknown_words(value: Any) -> Iterator[str]:
    """The words in a contract, however deep, that are decided on and that this release does not know."""
    if isinstance(value, Word):
        if value.is_decided_on and not value.is_known:
            yield value.value
    elif isinstance(value, BaseModel):
        for _, item in value:
            yield from unknown_words(item)
    elif isinstance(value, tuple | list | frozenset):
        for item in value:
            yield from unknown_words(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from unknown_words(item)
