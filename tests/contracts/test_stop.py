"""A stop is read from its ids alone, whatever else its record holds; without them it is parked."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.contracts.event import About, Actor
from shared.contracts.extension import Extension
from shared.contracts.stop import (
    AFTERWARDS,
    StopFact,
    StoppedTarget,
    TicketReturned,
    TicketTerminated,
    TicketWithdrawn,
)
from shared.contracts.ticket import Ticket
from shared.contracts.topics import STOPS
from shared.contracts.windows import LONGEST_LEAD, LONGEST_WINDOW, Window, WindowAsked
from shared.messaging.envelope import Envelope, Undecodable, read_body
from tests.support.fact_parts import EXTENDED, WINDOW, ticket
from tests.support.facts import GRANT_ID, TARGET_ID, TICKET_ID, contract_events, example, person
from tests.support.harness import NOW
from tests.support.organisation import P, user_id

ALL = pytest.mark.parametrize(
    "cls", [TicketTerminated, TicketReturned, TicketWithdrawn], ids=lambda cls: cls.TYPE
)
SENT_AT = NOW + timedelta(minutes=7)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEAST = {"ticket_id": TICKET_ID, "grant_ids": [GRANT_ID], "why": "incident"}
NO_PERSON = Actor.service("ticket")


def read(body: Any, cls: type[StopFact] = TicketTerminated) -> StopFact:
    envelope = Envelope("id", cls.TYPE, TICKET_ID, "ticket", SENT_AT, {})
    return read_body(cls, json.dumps(body).encode(), envelope=envelope)


def whole(**changes: Any) -> dict[str, Any]:
    return {**example(TicketTerminated).model_dump(mode="json"), **changes}


def test_stops_are_what_the_table_of_topics_says() -> None:
    found = {cls.TYPE.rpartition(".")[0] for cls in contract_events() if issubclass(cls, StopFact)}
    assert found == set(STOPS)


@ALL
def test_read_of_ids_and_reason_is_enough(cls: type[StopFact]) -> None:
    stop = read(LEAST, cls)
    assert (stop.ticket_id, stop.grant_ids, stop.why) == (TICKET_ID, (GRANT_ID,), "incident")
    assert (stop.actor, stop.ticket, stop.targets, stop.ends_by) == (NO_PERSON, None, (), None)
    assert (stop.subject, stop.at) == (TICKET_ID, SENT_AT), "its envelope says these"


UNREADABLE: dict[str, Any] = {
    "subject": 7,
    "version": "many",
    "actor": {"kind": 1},
    "why": ["because"],
    "cause": {"a": 1},
    "at": "2026-03-02T09:00:00",
    "targets": [{"id": TARGET_ID, "revision": 10**12}],
    "ends_by": "soon",
    "ticket": {"id": TICKET_ID},
}
INSTEAD: dict[str, Any] = {
    "subject": TICKET_ID,
    "version": 0,
    "actor": NO_PERSON,
    "why": "",
    "cause": None,
    "at": SENT_AT,
    "targets": (),
    "ends_by": None,
    "ticket": None,
}


@pytest.mark.parametrize("field", sorted({*StopFact.model_fields} - {"ticket_id", "grant_ids"}))
def test_read_of_one_unreadable_field_leaves_out_this_one_alone(field: str) -> None:
    stop = read(whole(**{field: UNREADABLE[field]}))
    assert stop == example(TicketTerminated).model_copy(update={field: INSTEAD[field]})


def test_read_of_garbage_around_the_ids_stops_the_same_grants() -> None:
    stop = read(whole(**UNREADABLE, of_tomorrow={"a": [1]}))
    assert (stop.ticket_id, stop.grant_ids) == (TICKET_ID, (GRANT_ID,))


@pytest.mark.parametrize(
    "ids",
    [
        {"grant_ids": None},
        {"grant_ids": []},
        {"grant_ids": GRANT_ID},
        {"grant_ids": [GRANT_ID, 7]},
        {"grant_ids": [GRANT_ID, ""]},
        {"grant_ids": [GRANT_ID, "a\0b"]},
        {"ticket_id": None},
        {"ticket_id": 7},
    ],
    ids=str,
)
def test_read_without_every_id_fails_also_amid_garbage(ids: dict[str, Any]) -> None:
    """What cannot be read may be what matters; and no ids never means all."""
    for body in (whole(**ids), whole(**UNREADABLE) | ids, LEAST | ids):
        with pytest.raises(Undecodable, match=next(iter(ids))):
            read(body)


@pytest.mark.parametrize("value", [b"[]", b"7", b"{", b"null", b'"ticket"'])
def test_read_of_what_is_no_object_fails(value: bytes) -> None:
    with pytest.raises(Undecodable):
        read_body(TicketTerminated, value)


def test_read_replaces_what_no_database_takes_in_what_readers_store() -> None:
    actor = {"kind": "person", "name": "a\0b", "user_id": "\0"}
    stop = read(whole(why="no\0more", actor=actor))
    assert (stop.why, stop.actor.name, stop.actor.user_id) == ("no\ufffdmore", "a\ufffdb", "\ufffd")


def test_about_is_found_by_the_ticket_and_where_it_can_be_read_by_account_and_party() -> None:
    assert example(TicketTerminated).about == About(TICKET_ID, (P,), (user_id("ann"),))
    assert read(LEAST).about == About(TICKET_ID)


def test_part_is_of_the_grants_it_names_and_of_no_other() -> None:
    stop = example(TicketTerminated)
    assert stop.ticket is not None
    assert [grant.id for grant in stop.part_of(stop.ticket).grants] == [GRANT_ID]
    elsewhere = stop.model_copy(update={"grant_ids": ("elsewhere",)})
    assert stop.part_of(stop.ticket).targets
    assert elsewhere.part_of(stop.ticket) == ((), (), ())


# how long it is remembered

FURTHEST = LONGEST_LEAD + LONGEST_WINDOW


@pytest.mark.parametrize(
    ("ends_by", "until"),
    [
        (NOW + HOUR, NOW + HOUR),
        (NOW - HOUR, NOW),
        (datetime(1970, 1, 1, tzinfo=UTC), NOW),
        (NOW + FURTHEST, NOW + FURTHEST),
        (NOW + FURTHEST + HOUR, NOW + FURTHEST),
        (datetime.max.replace(tzinfo=UTC), NOW + FURTHEST),
        (None, NOW + FURTHEST),
    ],
)
def test_stop_is_remembered_until_its_last_window_has_ended_and_a_while(
    ends_by: datetime | None, until: datetime
) -> None:
    stop = example(TicketTerminated).model_copy(update={"ends_by": ends_by})
    assert stop.remembered_until(NOW) == until + AFTERWARDS


def asked(**window: Any) -> Ticket:
    """Ann's pending ticket, decided by tomorrow or never."""
    of = ticket()
    target = of.targets[0].model_copy(update={"asked": WindowAsked(**window), "expires_at": NOW + DAY})
    return of.model_copy(update={"targets": (target,)})


def approved(*, ends_at: datetime) -> Ticket:
    of = asked(duration=HOUR)
    target = of.targets[0].model_copy(update={"window": Window(starts_at=NOW, ends_at=ends_at)})
    return of.model_copy(update={"targets": (target,)})


def moved(of: Ticket, to: datetime) -> Ticket:
    return of.model_copy(update={"grants": (of.grants[0].model_copy(update={"ends_at": to}),)})


def extended(of: Ticket, to: datetime) -> Ticket:
    extension = Extension(
        id="e", target_id=TARGET_ID, revision=1, grants=(GRANT_ID,), requested_by=person("ann"), ends_at=to,
        reason="it goes on", submitted_at=NOW, expires_at=NOW,
    )  # fmt: skip
    return of.model_copy(update={"extensions": (extension,)})


@pytest.mark.parametrize(
    ("of", "last"),
    [
        (asked(duration=HOUR), NOW + DAY + HOUR),
        (asked(ends_at=NOW + HOUR), NOW + DAY),
        (asked(ends_at=NOW + 3 * DAY), NOW + 3 * DAY),
        (asked(starts_at=NOW + 2 * DAY, duration=HOUR), NOW + 2 * DAY + HOUR),
        (approved(ends_at=NOW + 3 * DAY), NOW + 3 * DAY),
        (moved(approved(ends_at=NOW + 3 * DAY), NOW + 4 * DAY), NOW + 4 * DAY),
        (extended(approved(ends_at=NOW + 3 * DAY), NOW + 5 * DAY), NOW + 5 * DAY),
    ],
    ids=["open start", "decided later than its end", "end", "start and length", "approved", "moved", "asked"],
)
def test_last_end_is_that_of_the_last_window_there_can_be(of: Ticket, last: datetime) -> None:
    assert of.last_end == last


def test_stop_in_the_examples_ends_by_its_tickets_last_end() -> None:
    stop = example(TicketTerminated)
    assert stop.targets == (StoppedTarget(id=TARGET_ID, revision=1),)
    assert stop.ends_by == WINDOW.ends_at < EXTENDED.ends_at
