"""Stops as the ticket service makes them, of a whole ticket or of what is named of it; and garbled ones."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from shared.contracts.event import Actor
from shared.contracts.stop import StopFact, StoppedTarget
from shared.contracts.ticket import Ticket
from tests.support.harness import NOW

Json: TypeAlias = dict[str, Any]
StopT = TypeVar("StopT", bound=StopFact)


def stop_of(
    cls: type[StopT],
    of: Ticket,
    *,
    targets: Collection[str] = (),
    grants: Collection[str] = (),
    **fields: Any,
) -> StopT:
    """Of all grants of the ticket where none is named; every one that is meant is listed."""
    named = targets or grants
    part = of.part(targets if named else [target.id for target in of.targets], grants)
    stopped = [grant.id for grant in part.grants]
    whole = [one for one in part.targets if {grant.id for grant in of.grants_of(one.id)} <= set(stopped)]
    given: dict[str, Any] = {
        "subject": of.id,
        "version": of.version + 1,
        "actor": Actor.service("ticket"),
        "at": NOW,
        "ticket_id": of.id,
        "grant_ids": stopped,
        "targets": [StoppedTarget(id=one.id, revision=one.revision) for one in whole],
        "ends_by": of.last_end,
        "ticket": of.as_told(targets, grants),
    }
    return cls(**(given | fields))


def _least(whole: Json) -> Json:
    return {name: whole[name] for name in ("ticket_id", "grant_ids", "why")}


def _unknown_words(whole: Json) -> Json:
    ticket = whole["ticket"]
    targets = [{**one, "state": "frozen"} for one in ticket["targets"]]
    actor = {"kind": "robot", "name": "r"}
    return whole | {"ticket": {**ticket, "state": "frozen", "targets": targets}, "actor": actor}


def _what_no_column_takes(whole: Json) -> Json:
    actor, targets = {"kind": "person", "name": "\0"}, [{"id": "a\0", "revision": 10**12}]
    ends_by = "9999-12-31T23:59:59Z"
    return whole | {
        "version": 10**30, "why": "a\0b", "actor": actor, "ends_by": ends_by, "targets": targets,
    }  # fmt: skip


GARBLED: Final[Mapping[str, Callable[[Json], Json]]] = {
    "the least": _least,
    "unknown words": _unknown_words,
    "no ticket": lambda whole: whole | {"ticket": None},
    "garbage for a ticket": lambda whole: whole | {"ticket": {"id": 7, "grants": "all"}},
    "garbage all over": lambda whole: {name: [{"no": "sense"}] for name in whole} | _least(whole),
    "what no column takes": _what_no_column_takes,
    "more": lambda whole: whole | {"reach": {"sessions": True}},
}
"""A stop's body as several releases and accidents might write it: its ids can be read."""

NO_IDS: Final[tuple[Json, ...]] = (
    {"grant_ids": []}, {"grant_ids": "all"}, {"grant_ids": None}, {"ticket_id": 7},
)  # fmt: skip
"""What must not be read as anything."""


def body_of(stop: StopFact) -> Json:
    return stop.model_dump(mode="json")
