import asyncio
import json
from typing import Any

import asyncpg
import pytest

from services.audit.domain import mapping
from services.audit.domain.mapping import REGISTRY
from shared.contracts.access import AccessGranted
from shared.contracts.configuration import AuthzDenied
from shared.contracts.event import Event
from shared.contracts.ticket import TicketApproved, TicketSubmitted
from shared.contracts.topics import AUDIT_OCSF
from shared.foundation.clock import ManualClock, new_id
from shared.runtime.service import Service
from tests.support import ocsf
from tests.support.audit_log import keep, records, sequences
from tests.support.facts import TICKET_ID, contract_events, example
from tests.support.harness import NOW

WRITERS = 6
EVENTS_EACH = 150


async def published(service: Service) -> list[asyncpg.Record]:
    return await service.context.pool.fetch("SELECT * FROM outbox ORDER BY id")


async def test_keep_every_event_type_stores_valid_records_in_order(service: Service) -> None:
    classes = contract_events()
    for cls in classes:
        await keep(service, example(cls))
    kept = await records(service)
    assert [f"{record['metadata']['event_code']}.v1" for record in kept] == [cls.TYPE for cls in classes]
    assert [record["metadata"]["sequence"] for record in kept] == list(range(1, len(classes) + 1))
    assert [problem for record in kept for problem in ocsf.problems(record)] == []


async def test_keep_every_event_type_twice_stores_it_once(service: Service) -> None:
    ids = {cls: new_id() for cls in contract_events()}
    for _delivery in range(2):
        for cls, event_id in ids.items():
            await keep(service, example(cls), event_id=event_id)
    assert await sequences(service) == list(range(1, len(ids) + 1))
    assert len(await published(service)) == len(ids)


async def test_keep_fact_whose_id_another_source_used_keeps_both_once(service: Service) -> None:
    event_id = new_id()
    for source in ("notifier", "provisioner", "notifier", "provisioner"):
        await keep(service, example(TicketApproved), event_id=event_id, source=source)
    assert [record["metadata"]["product"]["feature"]["name"] for record in await records(service)] == [
        "notifier",
        "provisioner",
    ]
    ids = [row["headers"]["ce_id"] for row in await published(service)]
    assert ids[0] == event_id
    assert len(set(ids)) == 2


async def test_keep_publishes_the_stored_bytes_under_the_ticket(service: Service, clock: ManualClock) -> None:
    event_id = new_id()
    await keep(service, example(TicketApproved), event_id=event_id)
    (row,) = await published(service)
    stored = await service.context.pool.fetchval("SELECT ocsf FROM audit_event")
    assert row["payload"] == stored
    assert (row["topic"], row["key"], row["type"]) == (AUDIT_OCSF, TICKET_ID, "audit.ticket.approved.v1")
    assert row["headers"]["ce_id"] == event_id
    assert row["headers"]["ce_source"] == "audit"
    assert row["created_at"] == clock.now()


async def test_keep_that_cannot_publish_keeps_nothing_and_succeeds_later(service: Service) -> None:
    event_id = new_id()
    pool = service.context.pool
    await pool.execute(
        "INSERT INTO outbox (event_id, topic, key, type, payload, headers, created_at) "
        "VALUES ($1, 'x', 'x', 'x', '', '{}'::jsonb, $2)",
        event_id,
        NOW,
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await keep(service, example(TicketSubmitted), event_id=event_id)
    assert await sequences(service) == []
    await pool.execute("DELETE FROM outbox")
    await keep(service, example(TicketSubmitted), event_id=event_id)
    assert await sequences(service) == [1]


async def test_keep_from_many_writers_leaves_no_gap_for_a_polling_reader(service: Service) -> None:
    total = WRITERS * EVENTS_EACH

    async def write() -> None:
        for _ in range(EVENTS_EACH):
            await keep(service, example(AccessGranted))

    async def poll() -> list[int]:
        seen: list[int] = []
        while len(seen) < total:
            rows = await service.context.pool.fetch(
                "SELECT sequence FROM audit_event WHERE sequence > $1 ORDER BY sequence",
                seen[-1] if seen else 0,
            )
            seen += [row["sequence"] for row in rows]
        return seen

    async with asyncio.timeout(60):
        seen, *_ = await asyncio.gather(poll(), *(write() for _ in range(WRITERS)))
    assert seen == list(range(1, total + 1))
    sent = [json.loads(row["payload"])["metadata"]["sequence"] for row in await published(service)]
    assert sent == seen, "the topic's order within a ticket is the log's"


async def test_keep_same_event_from_many_writers_at_once_stores_it_once(service: Service) -> None:
    event_id = new_id()
    await asyncio.gather(*(keep(service, example(AccessGranted), event_id=event_id) for _ in range(4)))
    assert await sequences(service) == [1]


async def test_keep_event_that_cannot_be_mapped_is_kept_as_translation_error(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "REGISTRY", _without(TicketSubmitted))
    event_id = new_id()
    await keep(service, example(TicketSubmitted), event_id=event_id)
    await keep(service, example(TicketApproved))
    error, after = await records(service)
    assert (error["class_uid"], error["metadata"]["uid"]) == (6008, event_id)
    assert error["metadata"]["correlation_uid"] == TICKET_ID
    assert ocsf.problems(error) == []
    assert after["metadata"]["event_code"] == "ticket.approved"
    (alert,) = service.context.alerts.active
    assert alert.key == "audit/untranslated/ticket.submitted.v1"
    assert event_id in alert.detail


def _without(cls: type[Event]) -> dict[type[Event], Any]:
    return {known: entry for known, entry in REGISTRY.items() if known is not cls}


async def test_record_own_fact_is_part_of_the_callers_transaction(service: Service) -> None:
    with pytest.raises(ZeroDivisionError):
        await _record_and_fail(service)
    assert await sequences(service) == []
    async with service.context.unit_of_work() as work:
        service.context.record(work, example(AuthzDenied))
        service.context.record(work, example(AuthzDenied))
    assert await sequences(service) == [1, 2]
    assert [row["type"] for row in await published(service)] == ["audit.authz.denied.v1"] * 2


async def _record_and_fail(service: Service) -> None:
    async with service.context.unit_of_work() as work:
        service.context.record(work, example(AuthzDenied))
        raise ZeroDivisionError
