"""The next release's facts, read by this one: unknown words and fields, and what must be understood.

Each example of a contract is made as a newer service might write it, and given to every consumer.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from pydantic import BaseModel
from pydantic_core import to_json

from services.approval import consumers as approval
from services.approval.domain.stops import Stops
from services.audit import consumers as audit
from services.audit.domain.mapping import Product, translate
from services.notifier import consumers as notifier
from services.notifier.domain.composition import compose_content
from services.notifier.domain.content import Addresses
from services.notifier.domain.known import KnownTicket
from services.notifier.domain.notice import TABLE, Notice, mailing_of
from services.provisioner import consumers as provisioner
from services.ticket import consumers as ticket
from services.ticket.domain import grants
from shared.contracts import topics
from shared.contracts.access import AccessFact
from shared.contracts.change import Origin
from shared.contracts.event import Actor, Event
from shared.contracts.stop import StopFact, TicketReturned, TicketTerminated, TicketWithdrawn
from shared.contracts.ticket import (
    TicketApproved,
    TicketFact,
    TicketState,
)
from shared.contracts.words import Word, unknown_words
from shared.foundation.clock import new_id
from shared.messaging.envelope import headers_for, read_body
from shared.messaging.subscription import NotUnderstood, Subscription, Wanted, read
from tests.support.facts import contract_events, example
from tests.support.harness import NOW
from tests.support.signing import TRUST, signed

TOMORROW = "a_word_of_tomorrow"
EVENTS = contract_events()
SERVICES: dict[str, list[Subscription]] = {
    "approval": approval.subscriptions(None),  # type: ignore[arg-type] # only handed on to the commands
    "audit": audit.subscriptions(None, None),  # type: ignore[arg-type]
    "notifier": notifier.subscriptions(None, None),  # type: ignore[arg-type]
    "provisioner": provisioner.subscriptions(None),  # type: ignore[arg-type]
    "ticket": ticket.subscriptions(None),  # type: ignore[arg-type]
}


def changed(value: Any, *, words: bool) -> Any:
    """A contract as JSON, with a new field in every object and, where wanted, a new word for each word."""
    if isinstance(value, BaseModel):
        known = {name: changed(item, words=words) for name, item in value}
        return {**known, "field_of_tomorrow": {"a": [1]}}
    if isinstance(value, Word):
        return TOMORROW if words else value.value
    if isinstance(value, tuple | list | frozenset):
        return [changed(item, words=words) for item in value]
    if isinstance(value, dict):
        return {name: changed(item, words=words) for name, item in value.items()}
    return value


def of_tomorrow(cls: type[Event], *, words: bool = True) -> bytes:
    return to_json(changed(example(cls), words=words))


def record(cls: type[Event], topic: str, value: bytes, *, must_understand: tuple[str, ...] = ()) -> Any:
    headers = headers_for(
        event_id=new_id(),
        type_name=cls.TYPE,
        subject="k",
        source=topics.TOPICS[topic].owner,
        time=NOW,
        must_understand=must_understand,
    )
    sent = ConsumerRecord(
        topic=topic, partition=0, offset=0, timestamp=0, timestamp_type=0, key=b"k", value=value,
        checksum=None, serialized_key_size=1, serialized_value_size=len(value),
        headers=tuple((name, text.encode()) for name, text in headers.items()),
    )  # fmt: skip
    return signed(sent)


def consumed() -> Iterator[Any]:
    """Every event type at every consumer that acts on it."""
    for service, subscriptions in SERVICES.items():
        for subscription in subscriptions:
            for cls in EVENTS:
                wanted = cls in subscription.handlers or subscription.otherwise is not None
                if wanted and topics.TOPICS[subscription.topic].takes(cls.TYPE):
                    yield pytest.param(cls, subscription, id=f"{service}-{cls.TYPE}")


CONSUMED = list(consumed())


@pytest.mark.parametrize("cls", EVENTS, ids=lambda cls: cls.TYPE)
def test_fact_of_tomorrow_is_read_and_its_words_keep_their_text(cls: type[Event]) -> None:
    event = read_body(cls, of_tomorrow(cls))
    found = set(unknown_words(event))
    assert found <= {TOMORROW}
    assert event.actor.kind == TOMORROW
    assert event.model_dump(mode="json")["actor"]["kind"] == TOMORROW
    same = read_body(cls, of_tomorrow(cls, words=False))
    assert same == example(cls), "fields that nobody knows are left out"
    assert set(unknown_words(same)) == set()


@pytest.mark.parametrize(("cls", "subscription"), CONSUMED)
def test_consumer_takes_a_fact_of_tomorrow_unless_it_would_open_access(
    cls: type[Event], subscription: Subscription
) -> None:
    reading = read(record(cls, subscription.topic, of_tomorrow(cls)), subscription, TRUST)
    if cls in subscription.opens:
        assert isinstance(reading, NotUnderstood)
        assert reading.why == f"unknown words: {TOMORROW}"
    else:
        assert isinstance(reading, Wanted)
    same = read(record(cls, subscription.topic, of_tomorrow(cls, words=False)), subscription, TRUST)
    assert isinstance(same, Wanted), "new fields alone are no reason to refuse"


@pytest.mark.parametrize(("cls", "subscription"), CONSUMED)
def test_consumer_refuses_what_it_must_understand_where_it_would_open_access(
    cls: type[Event], subscription: Subscription
) -> None:
    value = example(cls).model_dump_json().encode()
    known = record(cls, subscription.topic, value, must_understand=("actor",))
    assert isinstance(read(known, subscription, TRUST), Wanted)
    reading = read(
        record(cls, subscription.topic, value, must_understand=("actor", "conditions")), subscription, TRUST
    )
    if cls in subscription.opens:
        assert isinstance(reading, NotUnderstood)
        assert reading.why == "it must not be acted on without the fields conditions"
    else:
        assert isinstance(reading, Wanted)


def test_every_service_that_opens_something_says_by_which_facts() -> None:
    opens = {
        service: {cls.TYPE for one in subscriptions for cls in one.opens}
        for service, subscriptions in SERVICES.items()
    }
    assert opens == {
        "approval": {
            "ticket.submitted.v1", "ticket.revised.v1", "ticket.extension_requested.v1",
        },
        "audit": set(),
        "notifier": set(),
        "provisioner": {"ticket.approved.v1", "ticket.extension_approved.v1", "review.approved.v1"},
        "ticket": {"review.approved.v1"},
    }  # fmt: skip


@pytest.mark.parametrize("cls", [TicketTerminated, TicketReturned, TicketWithdrawn], ids=lambda cls: cls.TYPE)
def test_stop_of_tomorrow_means_the_same_grants_and_targets(cls: type[StopFact]) -> None:
    today, tomorrow = example(cls), read_body(cls, of_tomorrow(cls))
    assert tomorrow.grant_ids == today.grant_ids
    assert Stops.by(tomorrow) == Stops.by(today)


@pytest.mark.parametrize("cls", EVENTS, ids=lambda cls: cls.TYPE)
def test_fact_of_tomorrow_is_kept_in_the_log(cls: type[Event]) -> None:
    event = read_body(cls, of_tomorrow(cls))
    kept = translate(event, event_id=new_id(), source="ticket", product=Product("default", "1"))
    assert kept.code == cls.TYPE.removesuffix(".v1")


@pytest.mark.parametrize("cls", TABLE, ids=lambda cls: cls.TYPE)
def test_fact_of_tomorrow_is_mailed(cls: type[Event]) -> None:
    event = read_body(cls, of_tomorrow(cls))
    ticket_then = (
        event.ticket
        if isinstance(event, TicketFact | StopFact)
        else read_body(TicketApproved, of_tomorrow(TicketApproved)).ticket
    )
    assert ticket_then is not None
    notice = Notice("1", "1", event, KnownTicket.by(ticket_then))
    mailing = mailing_of(event, notice.ticket)
    if mailing is not None:
        compose_content([notice], mailing.template, Nothing(), Addresses("https://jit"))


class Nothing:
    """No document is known."""

    def get(self, _kind: type[Any], _document_id: str, /) -> None:
        return None


@pytest.mark.parametrize(
    "cls", [cls for cls in EVENTS if issubclass(cls, AccessFact)], ids=lambda cls: cls.TYPE
)
def test_access_fact_of_tomorrow_moves_a_ticket(cls: type[AccessFact]) -> None:
    fact = read_body(cls, of_tomorrow(cls))
    ticket_now = example(TicketApproved).ticket
    grants.note_access(ticket_now, fact, Origin(Actor.service("provisioner"), NOW))


def test_word_for_peoples_eyes_only_keeps_nobody_from_access() -> None:
    body = example(TicketApproved).model_dump(mode="json")
    body["ticket"]["state"] = TOMORROW
    event = TicketApproved.model_validate(body)
    assert event.ticket.state == TOMORROW
    assert event.ticket.state not in set(TicketState)
    assert list(unknown_words(event)) == []


def test_words_are_one_or_the_other_and_never_both() -> None:
    one, other = TicketState(TOMORROW), TicketState(TOMORROW)
    assert one == other == TOMORROW
    assert not one.is_known
    assert one not in {TicketState.ENDED, TicketState.PENDING}
    assert TicketState("ended") is TicketState.ENDED
    assert TOMORROW not in {state.value for state in TicketState}, "asking teaches it nothing"
    with pytest.raises(ValueError, match="17"):
        TicketState(17)  # type: ignore[arg-type]
