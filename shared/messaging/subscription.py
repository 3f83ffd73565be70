"""What a service listens to, and how a record is read for it: wanted, skipped, unreadable or unproven."""

import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from aiokafka import ConsumerRecord

from shared.contracts import topics
from shared.contracts.event import Event
from shared.contracts.words import unknown_words
from shared.database.unit_of_work import UnitOfWork
from shared.messaging.envelope import (
    Envelope,
    Received,
    Undecodable,
    event_class,
    read_body,
    read_envelope,
    read_headers,
)
from shared.messaging.signing import Trust, Unproven

Handler: TypeAlias = Callable[[UnitOfWork, Received[Any]], Awaitable[None]]
"""A command for one event type, called with the unit of work and the event. The consumer has claimed the
event in that unit and commits it, so that the effect happens once or not at all."""

Lock: TypeAlias = Callable[[UnitOfWork, Sequence[str]], Awaitable[None]]
"""Locks what is about these tickets, each once and in the order given, and may read it into the unit."""

Outcome: TypeAlias = Literal["handled", "skipped", "parked", "refused"]


@dataclass(frozen=True)
class Subscription:
    """One topic and what to do with its events. Types that are not in the table are skipped."""

    topic: str
    handlers: Mapping[type[Event], Handler]
    otherwise: Handler | None = None
    """For the audit log, which takes every known type."""
    own_inbox: bool = False
    """The handler itself knows what it has had; the audit log does, and is asked every time."""
    first: bool = False
    """Its records wait for no other of a batch, and share no transaction with them: for stops."""
    linger_s: float = 0.0
    """How long its records may wait for others to share a transaction with: one that may not wait takes them
    along at once. It spares work where nobody waits for the effect."""
    lock: Lock | None = None
    """Called once for the tickets of a batch, sorted, before its first event is handled: the handlers find in
    the unit what each would have asked for. Topics that share it are locked together."""
    opens: Collection[type[Event]] = ()
    """Those of its types by which access may be opened: they are refused, with an alert, where they hold what
    this release does not understand."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An event somebody here acts on."""

    record: ConsumerRecord
    received: Received[Any]
    handler: Handler
    own_inbox: bool
    lock: Lock | None

    @property
    def type(self) -> str:
        return self.received.envelope.type


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nobody here acts on it, or this release does not know its type."""

    record: ConsumerRecord
    type: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """It can never be handled as it is."""

    record: ConsumerRecord
    error: str


@dataclass(frozen=True, slots=True)
class Forged:
    """Its topic's owner has not signed it."""

    record: ConsumerRecord
    error: str


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """It would open access, and says something that this release does not know."""

    record: ConsumerRecord
    type: str
    why: str


Reading: TypeAlias = Wanted | Skipped | Unreadable | Forged | NotUnderstood


def read(record: ConsumerRecord, subscription: Subscription, trust: Trust) -> Reading:
    """What becomes of a record, whoever wrote it and whatever is in it.

    Nothing of it is believed before its proof was checked, but that it is of a type nobody here wants.
    """
    topic = topics.TOPICS[subscription.topic]
    cls, handler = _wanted_as(record, subscription)
    if cls is not None and handler is None and topic.takes(cls.TYPE):
        return Skipped(record, cls.TYPE)
    try:
        trust.check(record, owner=topic.owner)
        envelope = read_envelope(read_headers(record.headers))
        _check_owner(envelope, topic)
        if cls is None or handler is None:
            return Skipped(record, "unknown")
        event = read_body(cls, record.value, envelope=envelope)
    except Unproven as error:
        return Forged(record, str(error))
    except Undecodable as error:
        return Unreadable(record, str(error))
    if cls in subscription.opens and (why := _doubt(event, envelope)):
        return NotUnderstood(record, envelope.type, why)
    return Wanted(record, Received(event, envelope), handler, subscription.own_inbox, subscription.lock)


def _wanted_as(
    record: ConsumerRecord, subscription: Subscription
) -> tuple[type[Event] | None, Handler | None]:
    """The class that its headers name, and who acts on such; None for what cannot be told."""
    with contextlib.suppress(Undecodable):
        if cls := event_class(read_headers(record.headers).get("ce_type", "")):
            return cls, subscription.handlers.get(cls, subscription.otherwise)
    return None, None


def _doubt(event: Event, envelope: Envelope) -> str | None:
    if fields := [name for name in envelope.must_understand if name not in type(event).model_fields]:
        return f"it must not be acted on without the fields {', '.join(fields)}"
    if words := sorted(set(unknown_words(event))):
        return f"unknown words: {', '.join(words)}"
    return None


def _check_owner(envelope: Envelope, topic: topics.Topic) -> None:
    if envelope.source != topic.owner:
        raise Undecodable(
            f"ce_source is {envelope.source!r}, but {topic.name} belongs to {topic.owner}: "
            "forged or misrouted"
        )
    if event_class(envelope.type) and not topic.takes(envelope.type):
        raise Undecodable(
            f"{envelope.type} is not {topic.owner}'s to say on {topic.name}: forged or misrouted"
        )
