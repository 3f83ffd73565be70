"""Stops as records: they overtake what they stop, they stop nothing else, and their ids are enough."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from services.approval import views
from services.approval.domain.review import ReviewState
from services.approval.store import reviews
from services.approval.store.retention import rules
from shared.contracts import topics
from shared.contracts.approval import ReviewVoided
from shared.contracts.event import Event
from shared.contracts.stop import AFTERWARDS, StopFact, TicketReturned, TicketTerminated, TicketWithdrawn
from shared.contracts.ticket import TargetState, Ticket, TicketRevised, TicketSubmitted, TicketTimedOut
from shared.contracts.windows import LONGEST_LEAD, LONGEST_WINDOW
from shared.database.retention import purge
from shared.foundation.clock import ManualClock
from shared.messaging.batch import Failure
from shared.runtime.service import Service
from tests.approval.builders import HOUR, revised, target, ticket, with_state
from tests.approval.test_commands import fact_of
from tests.support import organisation as org
from tests.support.harness import NOW, said
from tests.support.signing import signed
from tests.support.stops import GARBLED, NO_IDS, body_of, stop_of
from tests.support.work import record_of

S, DAY = timedelta(seconds=1), timedelta(days=1)
ALL = pytest.mark.parametrize(
    "cls", [TicketTerminated, TicketReturned, TicketWithdrawn], ids=lambda cls: cls.TYPE
)


def record(event: Event, body: Mapping[str, Any] | None = None) -> ConsumerRecord:
    """As it comes from the broker; `body` is its value where that is not what today's release writes."""
    made = record_of(topics.topic_of("ticket", event.TYPE), event)
    return made if body is None else signed(replace(made, value=json.dumps(body).encode()))


def submitted(of: Ticket) -> ConsumerRecord:
    return record(fact_of(TicketSubmitted, of))


def garbled(of: Ticket, kind: str) -> ConsumerRecord:
    stop = stop_of(TicketTerminated, of)
    return record(stop, GARBLED[kind](body_of(stop)))


async def take(service: Service, *records: ConsumerRecord) -> list[Failure]:
    return await service.consumer.batches.handle(records)


async def states(service: Service, of: Ticket) -> dict[str, ReviewState]:
    """Of the reviews there are, by target."""
    async with service.context.pool.acquire() as conn:
        found = await views.reviews_of_ticket(conn, of.id)
    return {review.subject.target_id: review.state for review in found}


async def version(service: Service, of: Ticket) -> int:
    found: int = await service.context.pool.fetchval("SELECT version FROM ticket WHERE id = $1", of.id)
    return found


# order


@ALL
async def test_stop_of_one_target_overtakes_the_request_of_another_which_is_reviewed(
    service: Service, cls: type[StopFact]
) -> None:
    """Its version is higher than that of the request it overtakes, and makes nothing stale."""
    of = ticket(target(org.P), target(org.D))
    first, second = of.targets
    await take(service, record(stop_of(cls, of, targets=(first.id,), version=99)))
    assert await version(service, of) == 0
    await take(service, submitted(of))
    assert await version(service, of) == of.version
    assert await states(service, of) == {second.id: ReviewState.OPEN}
    await take(service, record(stop_of(cls, of, targets=(first.id,), version=99)))
    assert await version(service, of) == of.version


async def test_stop_in_one_batch_with_what_it_stops_comes_first(service: Service) -> None:
    of = ticket()
    assert await take(service, submitted(of), record(stop_of(TicketWithdrawn, of))) == []
    assert await said(service) == [], "no review was opened and voided, and no approver was mailed"


async def test_stop_does_not_wait_for_a_record_that_fails_for_ever(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = ticket()
    await take(service, submitted(of))

    async def broken(*_: Any) -> None:
        raise RuntimeError("not this time")

    monkeypatch.setattr(reviews, "is_reviewed", broken)
    again = record(fact_of(TicketRevised, revised(of)))
    [failure] = await take(service, again, record(stop_of(TicketTerminated, of)))
    assert failure.record == again
    assert await states(service, of) == {of.targets[0].id: ReviewState.VOIDED}


@ALL
async def test_stop_twice_voids_once(service: Service, cls: type[StopFact]) -> None:
    of = ticket()
    once = record(stop_of(cls, of))
    await take(service, submitted(of), record(fact_of(TicketSubmitted, of)))
    await take(service, once, once)
    await take(service, once, record(stop_of(TicketTerminated, of)))
    assert len(await said(service, ReviewVoided)) == 1


# what it means


@pytest.mark.parametrize("order", ["stop first", "request first"])
async def test_stop_of_one_grant_of_a_target_leaves_the_review_to_the_others(
    service: Service, order: str
) -> None:
    of = ticket(beneficiaries=("ann", "bob"))
    ann, bob = of.grants
    records = [record(stop_of(TicketReturned, of, grants=(ann.id,))), submitted(of)]
    for one in records if order == "stop first" else reversed(records):
        await take(service, one)
    assert await states(service, of) == {of.targets[0].id: ReviewState.OPEN}
    await take(service, record(stop_of(TicketReturned, of, grants=(bob.id,))))
    assert await states(service, of) == {of.targets[0].id: ReviewState.VOIDED}, "nobody is left to get it"


async def test_stop_of_a_revision_does_not_stop_the_next(service: Service) -> None:
    of = ticket()
    again = revised(of)
    await take(service, record(stop_of(TicketWithdrawn, of)))
    await take(service, record(fact_of(TicketRevised, again)), submitted(of))
    assert await states(service, of) == {of.targets[0].id: ReviewState.OPEN}
    await take(service, record(stop_of(TicketWithdrawn, again)))
    assert await states(service, of) == {of.targets[0].id: ReviewState.VOIDED}


async def test_stop_of_a_revision_stops_those_before_it_that_come_later(service: Service) -> None:
    of = ticket()
    await take(service, record(stop_of(TicketWithdrawn, revised(of))))
    await take(service, submitted(of))
    assert await states(service, of) == {}


async def test_stop_takes_live_grants_out_of_what_approvers_are_told(service: Service) -> None:
    of = ticket(target(org.D, org.READ), beneficiaries=("ann", "bob"))
    await take(service, submitted(of))
    await take(service, record(stop_of(TicketReturned, of, grants=(of.grants[0].id,))))
    left = await service.context.pool.fetch("SELECT grant_id FROM live_grant")
    assert [row["grant_id"] for row in left] == [of.grants[1].id]


# what can be read of it


@pytest.mark.parametrize("order", ["stop first", "request first"])
@pytest.mark.parametrize("kind", GARBLED)
async def test_stop_of_which_only_the_ids_can_be_read_is_one(service: Service, kind: str, order: str) -> None:
    of = ticket(target(org.P), target(org.D))
    stop = garbled(of, kind)
    newer = signed(replace(stop, headers=(*stop.headers, ("ce_mustunderstand", b"reach"))))
    for one in (newer, submitted(of)) if order == "stop first" else (submitted(of), newer):
        assert await take(service, one) == []
    assert ReviewState.OPEN not in (await states(service, of)).values()
    assert service.context.alerts.active == []


@pytest.mark.parametrize("ids", NO_IDS, ids=str)
async def test_stop_without_readable_ids_is_parked_with_an_alert_and_voids_nothing(
    service: Service, ids: dict[str, Any]
) -> None:
    """No ids never means all."""
    of = ticket()
    await take(service, submitted(of))
    stop = stop_of(TicketTerminated, of)
    assert await take(service, record(stop, body_of(stop) | ids)) == []
    [alert] = service.context.alerts.active
    assert alert.key.startswith(f"dead_letter/{topics.STOP}/")
    assert await states(service, of) == {of.targets[0].id: ReviewState.OPEN}


# how long it is remembered


async def remembered(service: Service) -> bool:
    stops = [rule for rule in rules(keep=400 * DAY) if rule.table == "stop"]
    await purge(service.context.pool, stops, now=service.context.clock.now())
    found: bool = await service.context.pool.fetchval("SELECT EXISTS (SELECT FROM stop)")
    return found


@pytest.mark.parametrize("cls", [TicketTerminated, TicketTimedOut])
async def test_stop_is_remembered_until_its_last_window_is_long_over(
    service: Service, clock: ManualClock, cls: type[Any]
) -> None:
    of = ticket()
    assert of.last_end == NOW + DAY + HOUR, "it could have been approved for so long"
    end = (
        stop_of(cls, of) if issubclass(cls, StopFact) else fact_of(cls, with_state(of, TargetState.TIMED_OUT))
    )
    await take(service, record(end))
    clock.advance(DAY + HOUR + AFTERWARDS - S)
    assert await remembered(service)
    clock.advance(S)
    assert not await remembered(service)


async def test_stop_whose_end_cannot_be_read_is_remembered_as_long_as_any_can_be_needed(
    service: Service, clock: ManualClock
) -> None:
    of = ticket()
    await take(service, garbled(of, "the least"))
    clock.advance(LONGEST_LEAD + LONGEST_WINDOW + AFTERWARDS - S)
    assert await remembered(service)
    clock.advance(S)
    assert not await remembered(service)
