"""How fast audit log and notifier take in what waits for them; one JSON line for each.

All services are stopped, the facts of many tickets are put on the bus, signed by their owners, and one
service is started by itself: `facts_per_s` are those that it acts on, from the first to the last.
The notifier's mail server is away, so that mails are prepared and not sent. Real Kafka and PostgreSQL.
`python -m bench.catch_up [--tickets 5000] [--services audit notifier]`
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
from aiokafka import AIOKafkaProducer

from bench.fleet import Fleet, fleet
from local.postgres_home import remove_home
from services.notifier.domain.notice import TABLE
from shared.contracts.access import AccessGranted, AccessScheduled
from shared.contracts.approval import ReviewApproved
from shared.contracts.event import Event
from shared.contracts.ticket import TicketApproved
from shared.foundation.clock import new_id
from shared.messaging.envelope import headers_for
from shared.messaging.signing import Signer
from shared.observability import logs
from tests.support import forging
from tests.support.facts import TICKET_ID, example

LIFE: Final[tuple[type[Event], ...]] = (TicketApproved, ReviewApproved, AccessScheduled, AccessGranted)
"""Of each ticket."""
COUNTS: Final = {"audit": "SELECT count(*) FROM audit_event", "notifier": "SELECT count(*) FROM inbox"}
ACTED_ON: Final = {"audit": LIFE, "notifier": tuple(cls for cls in LIFE if cls in TABLE)}
SETTINGS: Final = {"notifier": {"JIT_TABLE_STALE_AFTER_S": "3600", "JIT_SMTP_PORT": "1"}}
"""Nobody publishes markers once the others are stopped, and nobody listens on that port."""
WITHIN_S: Final = 300.0
LOOK_EVERY_S: Final = 0.25
AT_ONCE: Final = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.catch_up", description=__doc__)
    parser.add_argument("--tickets", type=int, default=5000)
    parser.add_argument("--services", choices=COUNTS, nargs="+", default=list(COUNTS))
    given = parser.parse_args()
    logs.configure(fmt="console", level="ERROR")
    with tempfile.TemporaryDirectory(prefix="jit-catch-up-") as folder:
        try:
            asyncio.run(_run(Path(folder), given.services, tickets=given.tickets))
        finally:
            remove_home(Path(folder) / "pg")
    return 0


async def _run(folder: Path, readers: Sequence[str], *, tickets: int) -> None:
    async with fleet(folder, simulator_settings={}, service_settings=SETTINGS) as running:
        for service in running.services.values():
            service.stop()
        await _put(running, tickets)
        for reader in readers:
            rate = await _take_in(running, reader, facts=tickets * len(ACTED_ON[reader]))
            line = {"bench": "catch_up", "service": reader, "facts_per_s": round(rate)}
            print(json.dumps(line), flush=True)


async def _put(running: Fleet, tickets: int) -> None:
    signers = {name: running.signer(name) for name in running.services}
    bodies = [(cls, example(cls).model_dump_json()) for cls in LIFE]
    async with AIOKafkaProducer(bootstrap_servers=running.kafka.bootstrap, enable_idempotence=True) as bus:
        for begin in range(0, tickets, AT_ONCE):
            sending = [
                await _send(bus, signers, cls, body, ticket_id=ticket_id)
                for ticket_id in [new_id() for _ in range(min(AT_ONCE, tickets - begin))]
                for cls, body in bodies
            ]
            await asyncio.gather(*sending)


async def _send(
    bus: AIOKafkaProducer, signers: dict[str, Signer], cls: type[Event], body: str, *, ticket_id: str
) -> "asyncio.Future[object]":
    topic = forging.topic_of(example(cls))
    headers = headers_for(
        event_id=new_id(),
        type_name=cls.TYPE,
        subject=ticket_id,
        source=topic.owner,
        time=datetime.now(UTC),
    )
    value, key = body.replace(TICKET_ID, ticket_id).encode(), ticket_id.encode()
    naked = [(name, text.encode()) for name, text in headers.items()]
    signed = signers[topic.owner].signed(naked, topic=topic.name, key=key, value=value)
    sent: asyncio.Future[object] = await bus.send(topic.name, value, key=key, headers=signed)
    return sent


async def _take_in(running: Fleet, reader: str, *, facts: int) -> float:
    """Facts a second, of those that were taken in while it was looked."""
    service = running.services[reader]
    conn = await asyncpg.connect(running.dsn(reader))
    before: int = await conn.fetchval(COUNTS[reader])
    service.start()
    seen: list[tuple[float, int]] = []
    try:
        async with asyncio.timeout(WITHIN_S):
            while not seen or seen[-1][1] < facts:
                await asyncio.sleep(LOOK_EVERY_S)
                taken = await conn.fetchval(COUNTS[reader]) - before
                if taken:
                    seen.append((time.monotonic(), taken))
    finally:
        service.stop()
        await conn.close()
    (first_at, first), (last_at, last) = seen[0], seen[-1]
    return (last - first) / (last_at - first_at)


if __name__ == "__main__":
    sys.exit(main())
