"""Does a change narrow? Each kind of document has an order, built from the few steps here. Pure.

A change narrows when nobody can get more by it, for longer, or with fewer or other votes, whatever all
other documents are. Everything that is not known to narrow counts as widening.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from shared.policy.row import ANY


class Direction(StrEnum):
    """What a change does to what people may get."""

    NEITHER = "neither"
    NARROWS = "narrows"
    WIDENS = "widens"


NEITHER, NARROWS, WIDENS = Direction


T = TypeVar("T")
OrderedT = TypeVar("OrderedT", int, timedelta, datetime)


def all_of(*directions: Direction) -> Direction:
    """One change in several steps: it narrows only if no step of it may widen."""
    if WIDENS in directions:
        return WIDENS
    return NARROWS if NARROWS in directions else NEITHER


def reverse(direction: Direction) -> Direction:
    """For what takes away instead of giving: a deny."""
    return {NEITHER: NEITHER, NARROWS: WIDENS, WIDENS: NARROWS}[direction]


def same(before: object, after: object) -> Direction:
    """Any difference may widen."""
    return NEITHER if before == after else WIDENS


def presence(before: object | None, after: object | None) -> Direction | None:
    """What is taken out narrows, what comes in widens; None where it is there before and after."""
    if before is None or after is None:
        return NEITHER if before is after else NARROWS if after is None else WIDENS
    return None


def fewer(before: Collection[T], after: Collection[T]) -> Direction:
    """The less is named, the less is given."""
    if set(before) == set(after):
        return NEITHER
    return NARROWS if set(after) < set(before) else WIDENS


def smaller(before: OrderedT, after: OrderedT) -> Direction:
    """The smaller, the less is given."""
    if before == after:
        return NEITHER
    return NARROWS if after < before else WIDENS


def larger(before: OrderedT, after: OrderedT) -> Direction:
    """The larger, the less is given."""
    return smaller(after, before)


def within(before: str, after: str) -> Direction:
    """Selectors: only `*` holds another one, whatever the organisation looks like."""
    if before == after:
        return NEITHER
    return NARROWS if before == ANY else WIDENS
