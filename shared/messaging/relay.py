"""The relay: sends a database's outbox to Kafka, in order, from exactly one active process.

The active relay is the one that holds a session advisory lock on its own connection; the others wait.
Several active relays (SKIP LOCKED) reorder, so that is not done. A crash between send and mark repeats
rows in the same order; inboxes drop them. It is woken by this process's commits and by NOTIFY, and looks
once a second anyway. What was sent is marked by the statement that reads the next.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from shared.database.pool import Conn
from shared.foundation.clock import Clock
from shared.messaging.signing import Signer
from shared.observability import metrics
from shared.observability.logs import logger

LOCK_KEY = 7302
BATCH = 200
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
STOP_WITHIN_S = 5.0
REST_S = 1.0
MARK_WITHIN_S = 0.2
"""What was sent is not left unmarked for longer, though nothing more is to be sent."""

_KEEPALIVE = {
    "application_name": "jit-relay",
    # A relay whose network went away must lose its lock in seconds, not hours.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "timezone": "UTC",
}

log = logger("relay")


class Relay:
    """One per service and process. `run` ends only by cancellation."""

    def __init__(
        self,
        *,
        signer: Signer,
        dsn: str,
        producer: Callable[[], AIOKafkaProducer],
        clock: Clock,
        linger_s: float = 0.0,
    ) -> None:
        """`linger_s`: for how long what was said may wait for more; one that is sent alone costs most."""
        self._service = signer.key.service
        self._signer = signer
        self._dsn = dsn
        self._make_producer = producer
        self._clock = clock
        self._linger_s = linger_s
        self._wake = asyncio.Event()
        self._worked = False
        self.own_backends: set[int] = set()
        """Of this process's pool: what they commit wakes us without a notification."""
        self.state: Literal["down", "standby", "active"] = "down"

    async def run(self) -> None:
        delay = FIRST_DELAY_S
        while True:
            self._worked = False
            try:
                await self._hold_and_send()
            except Exception as error:  # noqa: BLE001 (whatever went wrong: drop the lock, new producer, start again)
                log.warning("relay restarts", service=self._service, error=f"{type(error).__name__}: {error}")
            finally:
                self.state = "down"
                metrics.RELAY_ACTIVE.labels(self._service).set(0)
            delay = FIRST_DELAY_S if self._worked else min(delay * 2, LONGEST_DELAY_S)
            await asyncio.sleep(delay)

    def wake(self) -> None:
        """Look now; called by whoever appended in this process."""
        self._wake.set()

    def _notified(self, _conn: object, backend: int, _channel: str, _payload: object) -> None:
        if backend not in self.own_backends:
            self.wake()

    async def _hold_and_send(self) -> None:
        conn = await asyncpg.connect(self._dsn, server_settings=_KEEPALIVE, timeout=10, command_timeout=60)
        lost = asyncio.Event()
        conn.add_termination_listener(lambda _conn: lost.set())
        try:
            await self._wait_for_lock(conn)
            async with _producing(self._make_producer()) as producer:
                self.state = "active"
                metrics.RELAY_ACTIVE.labels(self._service).set(1)
                await conn.add_listener("outbox", self._notified)
                sent: list[int] = []
                while True:
                    self._wake.clear()
                    rows = await self._mark_and_read(conn, sent)
                    sent = await self._send(rows, producer, lost)
                    self._worked = True
                    if len(rows) < BATCH:
                        await self._rest(MARK_WITHIN_S if sent else REST_S)
                        await asyncio.sleep(self._linger_s)
        finally:
            # Terminate rather than close: a hung server must not keep us from starting again.
            conn.terminate()

    async def _wait_for_lock(self, conn: Conn) -> None:
        while not await conn.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
            self.state = "standby"
            await asyncio.sleep(0.5)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _mark_and_read(self, conn: Conn, sent: list[int]) -> Sequence[asyncpg.Record]:
        """Exactly these are sent: a lower id may have committed since, so no range says which."""
        rows: Sequence[asyncpg.Record] = await conn.fetch(
            """
            WITH marked AS (UPDATE outbox SET sent_at = $2 WHERE id = ANY($1::bigint[]))
            SELECT id, topic, key, payload, headers FROM outbox
            WHERE sent_at IS NULL AND id <> ALL($1::bigint[]) ORDER BY id LIMIT $3
            """,
            sent,
            self._clock.now(),
            BATCH,
        )
        metrics.OUTBOX_SENT.labels(self._service).inc(len(sent))
        return rows

    async def _send(
        self, rows: Sequence[asyncpg.Record], producer: AIOKafkaProducer, lost: asyncio.Event
    ) -> list[int]:
        """The ids of what the broker has acknowledged: of all these rows, or there is an error."""
        # One batch is in flight per partition, so the order of these sends is the order in Kafka.
        sent = [await self._begin_to_send(row, producer) for row in rows]
        if sent:
            await _all_of(sent, unless=lost)
        return [row["id"] for row in rows]

    async def _begin_to_send(
        self, row: asyncpg.Record, producer: AIOKafkaProducer
    ) -> "asyncio.Future[RecordMetadata]":
        sending: asyncio.Future[RecordMetadata] = await producer.send(
            row["topic"], value=row["payload"], key=row["key"].encode(), headers=self._headers(row)
        )
        sending.add_done_callback(_hear_out)
        return sending

    def _headers(self, row: asyncpg.Record) -> list[tuple[str, bytes | None]]:
        """Signed now, not when it was appended: what is sent again carries the key of today."""
        written = [(name, value.encode()) for name, value in json.loads(row["headers"]).items()]
        return self._signer.signed(written, topic=row["topic"], key=row["key"].encode(), value=row["payload"])


def _hear_out(sending: "asyncio.Future[RecordMetadata]") -> None:
    """Else asyncio tells of each that was abandoned with its producer, whenever it is collected."""
    if not sending.cancelled():
        sending.exception()


@contextlib.asynccontextmanager
async def _producing(producer: AIOKafkaProducer) -> AsyncIterator[AIOKafkaProducer]:
    try:
        await producer.start()
        yield producer
    finally:
        await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Bounded, since an idempotent producer waits for its broker for ever; then it is torn down.

    Raises nothing: an error here would take the place of the cancellation that led here. What the
    producer still held is unsent in the outbox.
    """
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await producer.stop()
    except Exception as error:  # noqa: BLE001 (see above)
        log.warning("producer abandoned", error=f"{type(error).__name__}: {error}")
        await _tear_down(producer)


async def _tear_down(producer: AIOKafkaProducer) -> None:
    """What `stop` does, without what is still to be sent. aiokafka offers no such thing."""
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await producer._sender.close()  # noqa: SLF001 (see above)
            producer._message_accumulator.fail_all(KafkaError("abandoned"))  # noqa: SLF001 (see above)
    except Exception as error:  # noqa: BLE001 (as in `_stop`)
        log.warning("producer not torn down", error=f"{type(error).__name__}: {error}")
    finally:
        with contextlib.suppress(Exception):
            await producer.client.close()


async def _all_of(sent: Sequence[asyncio.Future[Any]], *, unless: asyncio.Event) -> None:
    """Wait for every acknowledgement, however long the broker is away; but not after the lock was lost."""
    sending = asyncio.gather(*sent)
    losing = asyncio.ensure_future(unless.wait())
    waits: set[asyncio.Future[Any]] = {sending, losing}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            raise ConnectionError("the connection that holds the relay's lock was lost")
        await sending
    finally:
        losing.cancel()
        sending.cancel()


async def backlog(conn: Conn, *, now: datetime) -> tuple[int, timedelta]:
    """How many rows wait, and how long the oldest has waited."""
    row = await conn.fetchrow(
        "SELECT count(*) AS waiting, min(created_at) AS oldest FROM outbox WHERE sent_at IS NULL"
    )
    if row is None or row["oldest"] is None:
        return 0, timedelta(0)
    return row["waiting"], max(now - row["oldest"], timedelta(0))


async def head(conn: Conn) -> int | None:
    """The id of the row the relay is at; None when nothing waits."""
    found: int | None = await conn.fetchval("SELECT min(id) FROM outbox WHERE sent_at IS NULL")
    return found
