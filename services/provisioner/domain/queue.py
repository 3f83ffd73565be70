"""What waits for AWS's limit: how much is before it, and when it may be expected to start.

Pure. An estimate for people; whose turn it really is, is decided in reconcile/turns.py.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.provisioner.domain.assignments import CallKind


@dataclass(frozen=True, slots=True)
class Pace:
    """How many operations AWS works on for us at once, and how long it takes for one, in seconds."""

    slots: int = 10
    grant_slots: int = 7
    create_s: float = 4.0
    delete_s: float = 4.0


def in_line(waiting: Sequence[Mapping[str, Any]], pace: Pace) -> list[dict[str, Any]]:
    """Each with how many are `before` it, `starts_in_s` and the sentence that says so.

    `waiting` are the rows in their order, deletions first, each with the `kind` of its call.
    """
    deletions = sum(one["kind"] == "delete" for one in waiting)
    shown = []
    for before, one in enumerate(waiting):
        seconds = _starts_in_s(one["kind"], before, deletions, pace)
        shown.append(
            {**one, "before": before, "starts_in_s": seconds, "expected": _sentence(before, seconds)}
        )
    return shown


def expected_of(line: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str, str | None], str]:
    """The sentences of a line, by user, account, set and call."""
    return {(one["user_id"], one["account_id"], one["set_id"], one["kind"]): one["expected"] for one in line}


def _starts_in_s(kind: CallKind, before: int, deletions: int, pace: Pace) -> int:
    """Deletions may take all slots; a creation waits for them, then for the creations before it."""
    if kind == "delete":
        return round((before + 1) / pace.slots * pace.delete_s)
    created_before = before - deletions
    return round(
        deletions / pace.slots * pace.delete_s + (created_before + 1) / pace.grant_slots * pace.create_s
    )


def _sentence(before: int, seconds: int) -> str:
    about = f"{seconds} s" if seconds < 120 else f"{math.ceil(seconds / 60)} min"
    return f"starts in about {about}: {before} before it at AWS's limit"
