"""Facts that somebody who can write to every topic could send under their owners' names.

Well-formed, with the hashes that are right unless a test makes them wrong: whoever can read the bus can
compute them. Signed with their owners' keys unless a test says otherwise: then it is the owner that lies.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaProducer

from shared.contracts.approval import ReviewApproved, Vote
from shared.contracts.event import Actor, Event, Revisions
from shared.contracts.extension import Extension, ExtensionState
from shared.contracts.people import Person
from shared.contracts.subject import ApprovalSubject
from shared.contracts.ticket import (
    GrantState,
    TargetState,
    Ticket,
    TicketApproved,
    TicketExtensionApproved,
)
from shared.contracts.topics import TOPICS, Topic
from shared.contracts.windows import Window
from shared.foundation.clock import new_id
from shared.messaging.envelope import headers_for
from shared.messaging.key_folder import KeyFolder
from shared.messaging.signing import Signer
from tests.support.running import Running
from tests.support.signing import INSTANCE, signer


def headers(
    running: Running, type_name: str, *, source: str, subject: str, event_id: str | None = None
) -> list[tuple[str, bytes]]:
    """Those of a record, saying it comes from `source`."""
    given = headers_for(
        event_id=event_id or new_id(),
        type_name=type_name,
        subject=subject,
        source=source,
        time=running.clock.now(),
    )
    return [(name, value.encode()) for name, value in given.items()]


def key_of(running: Running, service: str, *, instance: str = INSTANCE) -> Signer:
    """The real key of a service, as whoever took over its machine has it."""
    return signer(service, keys=KeyFolder(running.stack.options.data / "keys"), instance=instance)


async def send(
    producer: AIOKafkaProducer,
    topic: str,
    value: bytes | None,
    *,
    key: str,
    headers: Sequence[tuple[str, bytes | None]],
    by: Signer,
) -> Any:
    """A record signed as it is; answers where it stands."""
    sent = by.signed(headers, topic=topic, key=key.encode(), value=value)
    return await producer.send_and_wait(topic, value, key=key.encode(), headers=sent)


async def forge(producer: AIOKafkaProducer, running: Running, *events: Event) -> None:
    """Send these facts as their owners would: under their names and keys, keyed by the ticket."""
    for event in events:
        topic = topic_of(event)
        await send(
            producer,
            topic.name,
            event.model_dump_json().encode(),
            key=event.subject,
            headers=headers(running, event.TYPE, source=topic.owner, subject=event.subject),
            by=key_of(running, topic.owner),
        )


def topic_of(event: Event) -> Topic:
    return next(one for one in TOPICS.values() if one.cleanup == "delete" and one.takes(event.TYPE))


def approval(ticket: Ticket, window: Window) -> TicketApproved:
    """What the ticket service would say if its one target were approved for this window."""
    (target,) = ticket.targets
    approved = target.model_copy(
        update={"state": TargetState.APPROVED, "window": window, "decided_at": window.starts_at}
    )
    scheduled = {"state": GrantState.SCHEDULED, "ends_at": window.ends_at}
    grants = tuple(one.model_copy(update=scheduled) for one in ticket.grants)
    told = ticket.model_copy(update={"targets": (approved,), "grants": grants, "version": ticket.version + 1})
    return TicketApproved(
        subject=ticket.id,
        version=told.version,
        actor=Actor.service("ticket"),
        at=window.starts_at,
        ticket=told,
        target_ids=(target.id,),
        content_hash=ticket.subject_of(target).content_hash(window),
    )


def extension_approval(ticket: Ticket, extension: Extension, window: Window) -> TicketExtensionApproved:
    """What the ticket service would say if this extension were approved for this window."""
    approved = extension.model_copy(
        update={"state": ExtensionState.APPROVED, "window": window, "decided_at": ticket.submitted_at}
    )
    others = tuple(one for one in ticket.extensions if one.id != extension.id)
    told = ticket.model_copy(update={"extensions": (*others, approved), "version": ticket.version + 1})
    return TicketExtensionApproved(
        subject=ticket.id,
        version=told.version,
        actor=Actor.service("ticket"),
        at=ticket.submitted_at,
        ticket=told,
        target_ids=(extension.target_id,),
        grant_ids=extension.grants,
        extension_id=extension.id,
        content_hash=extension_subject(ticket, extension).content_hash(window),
    )


def extension_subject(ticket: Ticket, extension: Extension) -> ApprovalSubject:
    """What it is about, also where an honest service would say it is about nothing."""
    target = ticket.target(extension.target_id)
    assert target is not None
    start = target.window.starts_at if target.window else target.asked.starts_at
    assert start is not None, "a start that nobody knows yet cannot be forged"
    window = Window(starts_at=start, ends_at=extension.ends_at)
    as_if = target.model_copy(update={"window": window, "revision": extension.revision})
    subject = ticket.model_copy(update={"targets": (as_if,)}).extension_subject(extension)
    assert subject is not None
    return subject


def witness(
    ticket: Ticket, subject: ApprovalSubject, window: Window, *, at: datetime, votes: Sequence[Vote] = ()
) -> ReviewApproved:
    """What the approval service would say of this subject."""
    return ReviewApproved(
        subject=ticket.id,
        version=9,
        actor=Actor.service("approval"),
        at=at,
        review_id=new_id(),
        ticket_id=ticket.id,
        target_id=subject.target_id,
        revision=subject.revision,
        subject_id=subject.id,
        subject_kind=subject.kind,
        ticket_version=ticket.version,
        window=window,
        content_hash=subject.content_hash(window),
        votes=tuple(votes),
        revisions=Revisions(),
    )


def vote(running: Running, name: str, *, stage: int = 1) -> Vote:
    """An approval by this person, which they never gave."""
    return Vote(
        id=new_id(),
        stage=stage,
        verdict="approve",
        voter=Person(user_id=running.user_id(name), user_name=name),
        revisions=Revisions(),
        at=running.clock.now(),
    )
