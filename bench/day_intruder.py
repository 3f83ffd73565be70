"""Somebody who can write to every topic, at work all day beside the people; see bench/day_people.py.

What they write would do, were it signed by its owner: approvals of tickets on which nobody decides, stops
of access that should go on. And before the stop of a live ticket stands what no service can read. The judge
knows nothing of them: what comes of it is access without a ticket, access taken away early, or access that
stays.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from bench.fleet import Fleet
from shared.contracts import topics
from shared.contracts.approval import Vote
from shared.contracts.event import Event, Revisions
from shared.contracts.people import Person
from shared.contracts.stop import TicketTerminated
from shared.contracts.ticket import Ticket
from shared.contracts.windows import Window
from shared.foundation.clock import new_id
from shared.messaging.envelope import headers_for
from tests.support import forging
from tests.support.stops import stop_of

_FORGED: Final = ("nobody", "notifier")
"""Who signs what the notifier may not say."""
_POISON: Final[tuple[bytes | None, ...]] = (
    b"{poison",
    None,
    b'{"ticket_id": "\\u0000", "grant_ids": ["\\u0000"]}',
)


@dataclass(frozen=True)
class Intruder:
    """Has the notifier's key. What is unreadable is signed by its owner, too: as of a service with a bug."""

    fleet: Fleet
    producer: AIOKafkaProducer

    async def approve(self, body: Mapping[str, Any], voters: Sequence[str], *, until: datetime) -> None:
        """Say that the one target of a ticket was approved from now on, by one person of each stage."""
        ticket, now = Ticket.model_validate(body), datetime.now(UTC)
        window = Window(starts_at=now, ends_at=until)
        votes = [self._vote(name, stage, now) for stage, name in enumerate(voters, start=1)]
        (target,) = ticket.targets
        subject = ticket.subject_of(target)
        await self._forge(forging.witness(ticket, subject, window, at=now, votes=votes))
        await self._forge(forging.approval(ticket, window))

    async def stop(self, body: Mapping[str, Any]) -> None:
        """Say that a ticket was terminated."""
        now = datetime.now(UTC)
        await self._forge(stop_of(TicketTerminated, Ticket.model_validate(body), at=now, why="drill"))

    async def poison(self, ticket_id: str) -> None:
        """What nobody can read, where the ticket's next facts and stops will stand."""
        for topic in (topics.TICKET, topics.STOP):
            for value in _POISON:
                for by in ("nobody", "ticket"):
                    await self._send(topic, TicketTerminated.TYPE, ticket_id, value, by=by)

    def _vote(self, name: str, stage: int, now: datetime) -> Vote:
        voter = Person(user_id=self.fleet.organisation.find_user(name).id, user_name=name)
        return Vote(id=new_id(), stage=stage, verdict="approve", voter=voter, revisions=Revisions(), at=now)

    async def _forge(self, event: Event) -> None:
        value = event.model_dump_json().encode()
        for by in _FORGED:
            await self._send(forging.topic_of(event).name, event.TYPE, event.subject, value, by=by)

    async def _send(self, topic: str, type_name: str, key: str, value: bytes | None, *, by: str) -> None:
        owner = topics.TOPICS[topic].owner
        made = headers_for(
            event_id=new_id(), type_name=type_name, subject=key, source=owner, time=datetime.now(UTC)
        )
        headers: list[tuple[str, bytes | None]] = [(name, text.encode()) for name, text in made.items()]
        if by != "nobody":
            headers = self.fleet.signer(by).signed(headers, topic=topic, key=key.encode(), value=value)
        await self.producer.send_and_wait(topic, value, key=key.encode(), headers=headers)


@asynccontextmanager
async def intruder(fleet: Fleet) -> AsyncIterator[Intruder]:
    producer = AIOKafkaProducer(bootstrap_servers=fleet.kafka.bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        yield Intruder(fleet, producer)
    finally:
        await producer.stop()
