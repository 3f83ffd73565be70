"""One event that fails for ever: its partition waits behind it, in order, and the others go on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.contracts import topics
from shared.contracts.configuration import facts_of
from shared.contracts.documents import RegisteredAccount
from shared.foundation.clock import new_id
from shared.messaging import kafka
from shared.messaging.envelope import Received, headers_for
from shared.runtime.service import Service
from tests.messaging.bus import PATIENCE_S, Corridor
from tests.support.corridor import fact, kafka_settings
from tests.support.harness import NOW
from tests.support.signing import as_bytes, signed_headers
from tests.support.waiting import until

ACCOUNT_FACTS = facts_of(RegisteredAccount)

pytestmark = pytest.mark.messaging

EVENTS = 100
BEHIND = 3
Send = Callable[[str, int, int], Awaitable[None]]


@dataclass
class Bug:
    """A handler's: it fails for one key until it is mended."""

    key: str
    mended: bool = False
    tries: int = 0
    moments: dict[int, float] = field(default_factory=dict)
    """When each event of another key came to the handler."""

    async def __call__(self, received: Received[Any]) -> None:
        event = received.event
        if event.subject != self.key:
            self.moments[event.revision] = asyncio.get_running_loop().time()
        elif not self.mended:
            self.tries += 1
            raise RuntimeError("a bug that only this event meets")


@asynccontextmanager
async def sending(road: Corridor) -> AsyncIterator[Send]:
    """Puts facts of the ticket service on a partition of one's choice."""
    async with kafka.producer(kafka_settings(road.bus.broker), client_id="failing") as producer:

        async def send(key: str, number: int, partition: int) -> None:
            headers = headers_for(
                event_id=new_id(),
                type_name=ACCOUNT_FACTS.changed.TYPE,
                subject=key,
                source="ticket",
                time=NOW,
            )
            value = fact(key, number).model_dump_json().encode()
            sent = signed_headers(
                as_bytes(headers.items()), topic=topics.TICKET, key=key.encode(), value=value
            )
            await producer.send_and_wait(
                topics.TICKET, value, key=key.encode(), partition=partition, headers=sent
            )

        yield send


async def _fails_and_waits(bug: Bug, service: Service) -> None:
    """Until its next try is seconds away."""
    tries = bug.tries
    await until(lambda: bug.tries >= tries + 5, PATIENCE_S)
    behind = {topics.TICKET: 1 + BEHIND}
    await until(lambda: service.consumer.lag() == behind, PATIENCE_S, what="the failing event counts as lag")


async def test_a_failing_event_holds_its_own_partition_only(road: Corridor) -> None:
    bug = Bug(f"{road.prefix}-bad")
    flowing = f"{road.prefix}-flowing"
    service = await road.start("approval", before=bug)
    async with sending(road) as send:
        for number in range(1 + BEHIND):
            await send(bug.key, number, 0)
        await _fails_and_waits(bug, service)
        late: list[float] = []
        for number in range(EVENTS):
            sent = asyncio.get_running_loop().time()
            await send(flowing, number, 5)
            await until(lambda: number in bug.moments, PATIENCE_S)  # noqa: B023 (awaited here)
            late.append(bug.moments[number] - sent)
        assert max(late) < 1.0
        assert [alert.key for alert in service.context.alerts.active] == [f"handler/{topics.TICKET}/0"]
        await service.stop()
        service = await road.start("approval", before=bug)
        await _fails_and_waits(bug, service)
        assert await road.handled("approval") == {flowing: list(range(EVENTS))}
        bug.mended = True
        await until(lambda: _all_of(road, bug.key), PATIENCE_S)
    assert await road.handled("approval") == {
        bug.key: list(range(1 + BEHIND)),
        flowing: list(range(EVENTS)),
    }
    standing = {alert.key for alert in service.context.alerts.active}
    assert f"handler/{topics.TICKET}/0" not in standing
    await until(service.consumer.caught_up, PATIENCE_S)


async def _all_of(road: Corridor, key: str) -> bool:
    return len((await road.handled("approval")).get(key, [])) == 1 + BEHIND
