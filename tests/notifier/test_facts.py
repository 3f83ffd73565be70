"""What is said of mails that were settled together: everything, once, and only of those it is true of."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.delivery import Again, Delivery, GivenUp, Sent, Settled, Settlement
from services.notifier.domain.facts import alerts_of, facts_of
from services.notifier.domain.notice import Notice, Recipient, Template
from shared.contracts.change import Origin
from shared.contracts.event import Actor
from shared.contracts.notification import NotificationFact, NotificationFailed, NotificationSent
from tests.notifier.facts import TICKET, a_ticket, ticket_fact
from tests.support.harness import NOW
from tests.support.organisation import user_id

ORIGIN = Origin(Actor.service("notifier"), NOW + timedelta(seconds=2))
FULL = GivenUp("552 mailbox full", 552)
UNKNOWN = GivenUp("550 no such user", 550)
NO_ADDRESS = GivenUp("no address", None)
LATER = Again(NOW + timedelta(minutes=1), "451 later", 451)


def about(*event_ids: str) -> tuple[Notice, ...]:
    return tuple(Notice(f"notice of {one}", one, ticket_fact(), a_ticket()) for one in event_ids)


def settled(name: str = "ann", settlement: Settlement | None = None, **fields: object) -> Settled:
    delivery = Delivery(
        id=f"delivery to {name}",
        ticket_id=TICKET,
        template=Template.SUBMITTED,
        recipient=Recipient(user_id(name)),
        message_id=f"<{name}@jit>",
        attempt=1,
        give_up_at=NOW,
        retried_by=None,
        notices=about("event-1"),
    )
    delivery = replace(delivery, **fields)  # type: ignore[arg-type]
    return Settled(delivery, settlement or Sent(), f"{name}@example.com", NOW)


def told(*many: Settled) -> list[list[str]]:
    """Whose mails each fact lists."""
    return [[mail.recipient for mail in fact.mails] for fact in facts_of(many, ORIGIN)]


def test_facts_of_mails_about_one_event_is_one_by_recipient() -> None:
    mails = (settled("eve"), settled("ann"), settled("bob"))
    (fact,) = facts_of(mails, ORIGIN)
    assert isinstance(fact, NotificationSent)
    assert [mail.recipient for mail in fact.mails] == [user_id(name) for name in ("ann", "bob", "eve")]
    first = fact.mails[0]
    assert (first.address, first.message_id, first.at) == ("ann@example.com", "<ann@jit>", NOW)
    assert (fact.subject, fact.ticket_id, fact.template, fact.attempts) == (TICKET, TICKET, "submitted", 1)
    assert (fact.event_ids, fact.cause, fact.at) == (("event-1",), "event-1", ORIGIN.at)
    assert fact.why == "the mail server took the 3 mails"
    assert facts_of(mails[::-1], ORIGIN) == (fact,)


@pytest.mark.parametrize(
    "other",
    [
        {"ticket_id": "another"},
        {"template": Template.APPROVED},
        {"attempt": 2},
        {"notices": about("event-2")},
        {"notices": about("event-1", "event-2")},
        {"retried_by": "root"},
        {"settlement": UNKNOWN},
    ],
)
def test_facts_of_mails_that_differ_are_two(other: dict[str, object]) -> None:
    assert told(settled("ann"), settled("bob", **other)) == [[user_id("ann")], [user_id("bob")]]  # type: ignore[arg-type]


def test_facts_of_losses_are_one_for_each_answer_and_alert_each() -> None:
    mails = (
        settled("ann", FULL),
        settled("bob", UNKNOWN),
        settled("carl"),
        settled("cora", UNKNOWN),
        settled("eve", LATER),
        settled("root", NO_ADDRESS),
    )
    facts = facts_of(mails, ORIGIN)
    assert [(type(one), [mail.recipient for mail in one.mails]) for one in facts] == [
        (NotificationFailed, [user_id("ann")]),
        (NotificationFailed, [user_id("bob"), user_id("cora")]),
        (NotificationSent, [user_id("carl")]),
        (NotificationFailed, [user_id("root")]),
    ]
    losses = [(one.smtp_code, one.detail) for one in facts if isinstance(one, NotificationFailed)]
    assert losses == [(552, "552 mailbox full"), (550, "550 no such user"), (None, "no address")]
    keys = [alert.key.removeprefix("undeliverable_mail/delivery to ") for alert in alerts_of(mails)]
    assert keys == ["ann", "bob", "cora", "root"]


def test_facts_of_a_mail_that_was_tried_again_by_hand_say_by_whom() -> None:
    (fact,) = facts_of([settled("ann", UNKNOWN, retried_by="root")], ORIGIN)
    assert fact.why == "the mail could not be delivered, tried again by root"


every_settled = st.builds(
    settled,
    st.sampled_from(["ann", "bob", "carl", "cora", "eve"]),
    st.sampled_from([Sent(), FULL, UNKNOWN, NO_ADDRESS, LATER]),
    ticket_id=st.sampled_from([TICKET, "another", None]),
    template=st.sampled_from([Template.SUBMITTED, Template.APPROVED]),
    attempt=st.integers(1, 2),
    notices=st.sampled_from([about("event-1"), about("event-2"), about("event-1", "event-2")]),
    retried_by=st.sampled_from([None, "root"]),
)


def in_full(fact: NotificationFact) -> list[tuple[object, ...]]:
    """All that the fact says, mail by mail."""
    failed = isinstance(fact, NotificationFailed)
    end = GivenUp(fact.detail, fact.smtp_code) if isinstance(fact, NotificationFailed) else Sent()
    by = "root" if fact.why.endswith("tried again by root") else None
    of_all = (fact.ticket_id, fact.event_ids, fact.template, fact.attempts, by, end, failed)
    return [(mail.recipient, mail.address, mail.message_id, *of_all) for mail in fact.mails]


def known_of(one: Settled) -> tuple[object, ...]:
    of = one.delivery
    return (
        of.recipient.user_id, one.address, of.message_id, of.ticket_id, of.event_ids, of.template.value,
        of.attempt, of.retried_by, one.settlement, isinstance(one.settlement, GivenUp),
    )  # fmt: skip


@given(st.lists(every_settled, max_size=12))
def test_facts_of_any_mails_say_all_of_each_once_and_nothing_else(mails: list[Settled]) -> None:
    facts = facts_of(mails, ORIGIN)
    said = Counter(line for fact in facts for line in in_full(fact))
    assert said == Counter(known_of(one) for one in mails if not isinstance(one.settlement, Again))
    in_common = [
        (fact.subject, fact.event_ids, fact.template, fact.attempts, fact.why.partition(", tried")[2])
        + ((fact.smtp_code, fact.detail) if isinstance(fact, NotificationFailed) else ("sent",))
        for fact in facts
    ]
    assert len(in_common) == len(set(in_common)), "as few facts as can be"
    assert all(fact.subject == (fact.ticket_id or fact.mails[0].recipient) for fact in facts)
