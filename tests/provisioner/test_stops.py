"""Stops as records: they overtake what they stop, they stop nothing else, and their ids are enough."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from services.provisioner.commands.stops import CAUSES, revoke
from services.provisioner.store import claims
from services.provisioner.store.retention import rules
from shared.contracts import access, topics
from shared.contracts.event import Actor, Event
from shared.contracts.stop import AFTERWARDS, StopFact, TicketReturned, TicketTerminated, TicketWithdrawn
from shared.contracts.ticket import Ticket, TicketApproved
from shared.contracts.windows import LONGEST_LEAD, LONGEST_WINDOW
from shared.database.retention import purge
from shared.foundation.clock import new_id
from shared.http.access import Caller
from shared.identity.bindings import Principal
from shared.messaging.batch import Failure
from tests.provisioner.test_commands import STOPPED
from tests.support.provisioner_lab import Lab
from tests.support.signing import signed
from tests.support.stops import GARBLED, NO_IDS, body_of, stop_of
from tests.support.work import record_of

S, DAY = timedelta(seconds=1), timedelta(days=1)


def record(event: Event, body: Mapping[str, Any] | None = None, *, offset: int = 0) -> ConsumerRecord:
    """As it comes from the broker; `body` is its value where that is not what today's release writes."""
    topic = topics.topic_of("approval" if event.TYPE.startswith("review.") else "ticket", event.TYPE)
    made = replace(record_of(topic, event), offset=offset)
    return made if body is None else signed(replace(made, value=json.dumps(body).encode()))


def garbled(of: Ticket, kind: str) -> ConsumerRecord:
    stop = stop_of(TicketTerminated, of)
    return record(stop, GARBLED[kind](body_of(stop)))


async def take(lab: Lab, *records: ConsumerRecord) -> list[Failure]:
    return await lab.service.consumer.batches.handle(records)


def two_targets(lab: Lab) -> Ticket:
    """Ann asks for two accounts in one ticket."""
    one, two = lab.ticket(seconds=600), lab.ticket(account="orders-dev", seconds=600)
    both = {"targets": (*one.targets, *two.targets), "grants": (*one.grants, *two.grants)}
    return one.model_copy(update=both)


def alone(of: Ticket, place: int) -> Ticket:
    """The ticket as far as one of its targets goes, for the facts about it."""
    return of.model_copy(update={"targets": (of.targets[place],), "grants": (of.grants[place],)})


def operator(lab: Lab) -> Caller:
    user = lab.context.policy.known().user(lab.user("carl"))
    assert user is not None
    return Caller(
        Principal(user, Actor(kind="person", name="carl", user_id=user.id)), key=None, cause="request"
    )


async def forget(lab: Lab) -> None:
    stops = [rule for rule in rules(keep=400 * DAY) if rule.table == "stop"]
    await purge(lab.context.pool, stops, now=lab.now)


async def stopped(lab: Lab) -> set[str]:
    return {row["id"] for row in await lab.context.pool.fetch("SELECT id FROM stop")}


# order


@pytest.mark.parametrize("cls", STOPPED)
async def test_stop_of_one_target_overtakes_the_approval_of_another_which_is_granted(
    lab: Lab, cls: type[StopFact]
) -> None:
    """Its version is higher than that of the approval it overtakes, and makes nothing stale."""
    of = two_targets(lab)
    stop = stop_of(cls, of, targets=(of.targets[0].id,), version=99, at=lab.now)
    await take(lab, record(stop))
    await lab.approve(alone(of, 1))
    await lab.approve(alone(of, 0))
    await lab.run(30)
    assert lab.holds(account="orders-dev")
    assert not lab.holds(account="orders-prod")
    assert lab.calls("CreateAccountAssignment") == 1


async def test_stop_in_one_batch_with_what_it_stops_comes_first(lab: Lab) -> None:
    of = lab.ticket(seconds=600)
    approval, witness = record(lab.approval(of).event), record(lab.witness(of).event)
    assert await take(lab, approval, witness, record(stop_of(TicketTerminated, of, at=lab.now))) == []
    assert await lab.story() == ["revoke_due(terminated)", "failed(terminated)"]
    await lab.run(30)
    assert not lab.aws.records.calls


async def test_stop_does_not_wait_for_a_record_that_fails_for_ever(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus may be stuck at the very ticket that is to end."""
    of = lab.ticket(seconds=600)
    await lab.approve(of)
    await lab.run_until(access.AccessGranted)

    async def broken(*_: Any) -> None:
        raise RuntimeError("not this time")

    monkeypatch.setattr(claims, "keys", broken)
    again = record(lab.approval(of).event)
    [failure] = await take(lab, again, record(stop_of(TicketTerminated, of, at=lab.now)))
    assert failure.record == again
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()


async def test_stop_twice_has_one_effect_and_the_first_is_kept(lab: Lab) -> None:
    of = await lab.approve(lab.ticket(seconds=600))
    await lab.run_until(access.AccessGranted)
    first, second = stop_of(TicketTerminated, of, at=lab.now), stop_of(TicketReturned, of, at=lab.now)
    once = record(first)
    await take(lab, once, once)
    await take(lab, once, record(second))
    await lab.run_until(access.AccessRevoked)
    assert [one.cause_of_end for one in await lab.said(access.AccessRevokeDue)] == ["terminated"]
    assert await lab.context.pool.fetchval("SELECT cause FROM stop") == "terminated"


# what it means


async def test_stop_of_one_grant_before_the_approval_leaves_the_targets_others(lab: Lab) -> None:
    of = lab.ticket("ann", "bob", seconds=600)
    mine = next(grant.id for grant in of.grants if grant.beneficiary == lab.user("ann"))
    await take(lab, record(stop_of(TicketReturned, of, grants=(mine,), at=lab.now)))
    assert await stopped(lab) == {mine}
    await lab.approve(of)
    await lab.run(30)
    assert lab.holds("bob")
    assert not lab.holds("ann")


@pytest.mark.parametrize("order", ["stop first", "approval first"])
async def test_stop_of_several_grants_is_of_each_of_them(lab: Lab, order: str) -> None:
    of = lab.ticket("ann", "bob", "eve", seconds=600)
    ann, *others = of.grants
    stop = record(stop_of(TicketTerminated, of, grants=[grant.id for grant in others], at=lab.now))
    if order == "stop first":
        await take(lab, stop)
    await lab.approve(of)
    if order == "approval first":
        await take(lab, stop)
    assert await stopped(lab) == {grant.id for grant in others}
    await lab.run(30)
    assert [lab.holds(name) for name in ("ann", "bob", "eve")] == [True, False, False]
    assert ann.id not in await stopped(lab)


async def test_stop_of_a_revision_does_not_stop_the_next(lab: Lab) -> None:
    """It is asked for anew, with grants and a subject of its own."""
    first = lab.ticket(seconds=600)
    await take(lab, record(stop_of(TicketWithdrawn, first, at=lab.now)))
    target = first.targets[0].model_copy(update={"revision": 2, "subject_id": new_id()})
    grant = first.grants[0].model_copy(update={"revision": 2, "id": new_id()})
    await lab.approve(first.model_copy(update={"targets": (target,), "grants": (grant,)}))
    await lab.approve(first)
    await lab.run(30)
    assert lab.holds()
    states = {row["id"]: row["state"] for row in await lab.context.pool.fetch("SELECT id, state FROM claim")}
    assert states == {grant.id: "active", first.grants[0].id: "failed"}


# what can be read of it


@pytest.mark.parametrize("kind", GARBLED)
async def test_stop_of_which_only_the_ids_can_be_read_ends_live_access(lab: Lab, kind: str) -> None:
    of = await lab.approve(lab.ticket(seconds=600))
    await lab.run_until(access.AccessGranted)
    stop = garbled(of, kind)
    newer = signed(replace(stop, headers=(*stop.headers, ("ce_mustunderstand", b"reach"))))
    assert await take(lab, newer) == []
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()
    assert lab.alerts() == set()


@pytest.mark.parametrize("kind", GARBLED)
async def test_stop_of_which_only_the_ids_can_be_read_stops_what_comes_later(lab: Lab, kind: str) -> None:
    of = lab.ticket(seconds=600)
    assert await take(lab, garbled(of, kind)) == []
    await lab.approve(of)
    await lab.run(30)
    assert not lab.aws.records.calls


@pytest.mark.parametrize("ids", NO_IDS, ids=str)
async def test_stop_without_readable_ids_is_parked_with_an_alert_and_ends_nothing(
    lab: Lab, ids: dict[str, Any]
) -> None:
    """No ids never means all."""
    of = await lab.approve(lab.ticket(seconds=600))
    await lab.run_until(access.AccessGranted)
    stop = stop_of(TicketTerminated, of, at=lab.now)
    assert await take(lab, record(stop, body_of(stop) | ids)) == []
    assert await lab.context.pool.fetchval("SELECT count(*) FROM dead_letter") == 1
    assert lab.alerts() == {"dead_letter"}
    await lab.run(30)
    assert lab.holds()


async def test_stop_on_the_topic_of_other_facts_is_parked(lab: Lab) -> None:
    of = lab.ticket(seconds=600)
    misplaced = signed(replace(record(stop_of(TicketTerminated, of)), topic=topics.TICKET))
    intruding = signed(replace(record(lab.approval(of).event), topic=topics.STOP))
    assert await take(lab, misplaced, intruding) == []
    assert lab.alerts() == {"dead_letter"}
    assert await stopped(lab) == set()
    assert await lab.context.pool.fetchval("SELECT count(*) FROM claim") == 0


def test_stops_of_every_type_have_a_cause() -> None:
    assert set(CAUSES) == {TicketTerminated, TicketReturned, TicketWithdrawn}
    assert not issubclass(TicketApproved, StopFact)


# how long it is remembered


async def test_stop_is_remembered_until_its_last_window_is_long_over(lab: Lab) -> None:
    of = lab.ticket(seconds=600)
    await take(lab, record(stop_of(TicketTerminated, of, at=lab.now)))
    lab.clock.advance(600 * S + AFTERWARDS - S)
    await forget(lab)
    assert await stopped(lab) == {of.grants[0].id}
    lab.clock.advance(S)
    await forget(lab)
    assert await stopped(lab) == set()


async def test_stop_of_a_whole_ticket_by_an_operator_is_remembered_as_long(lab: Lab) -> None:
    """What of the ticket is still on its way is not known."""
    of = lab.ticket(seconds=600)
    async with lab.context.unit_of_work() as work:
        await revoke(lab.context, work, operator(lab), reason="incident", ticket_id=of.id)
    lab.clock.advance(LONGEST_LEAD + LONGEST_WINDOW)
    await forget(lab)
    assert await stopped(lab) == {of.id}


async def test_stop_whose_end_cannot_be_read_is_remembered_as_long_as_any_can_be_needed(lab: Lab) -> None:
    of = lab.ticket(seconds=600)
    await take(lab, garbled(of, "the least"))
    lab.clock.advance(LONGEST_LEAD + LONGEST_WINDOW + AFTERWARDS - S)
    await forget(lab)
    assert await stopped(lab) == {of.grants[0].id}
    lab.clock.advance(S)
    await forget(lab)
    assert await stopped(lab) == set()
