"""Which fact is mailed to whom, and what becomes of an attempt."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.notifier.domain.delivery import (
    Accepted,
    Again,
    Deferred,
    Delivery,
    GivenUp,
    Patience,
    Refused,
    Sent,
    Settled,
    State,
    check_retry,
    message_id,
    settle,
    thread_id,
)
from services.notifier.domain.facts import alerts_of, facts_of
from services.notifier.domain.notice import (
    TABLE,
    Recipient,
    Template,
    mailing_of,
    more_may_follow,
    ticket_id_of,
)
from shared.contracts import access, approval, stop, ticket
from shared.contracts.change import Origin
from shared.contracts.event import Actor, Event
from shared.contracts.identity import IdentityFact, IdentityRebound
from shared.contracts.notification import NotificationFailed, NotificationSent
from shared.contracts.registry import EVENTS
from shared.foundation.errors import Conflict
from tests.notifier.facts import (
    GRANT,
    HOUR,
    OF_TICKETS,
    TICKET,
    TWO,
    a_ticket,
    access_fact,
    fact_of_table,
    grant,
    notice,
    person,
    second_target,
    stage_opened,
    target,
    ticket_fact,
)
from tests.support.facts import example
from tests.support.harness import NOW
from tests.support.organisation import user_id

PATIENCE = Patience(timedelta(seconds=10), timedelta(minutes=15))
DELIVERY = Delivery(
    id="delivery-1",
    ticket_id=TICKET,
    template=Template.SUBMITTED,
    recipient=Recipient(user_id("ann")),
    message_id="<x@jit>",
    attempt=1,
    give_up_at=NOW,
    retried_by=None,
    notices=tuple(notice(ticket_fact(), a_ticket(), n) for n in (1, 2)),
)


ORIGIN = Origin(Actor.service("notifier"), NOW + timedelta(hours=1))


def mailed(event: Event, known: ticket.Ticket | None = None) -> set[str]:
    mailing = mailing_of(event, known)
    return {one.user_id.removeprefix("user-") for one in mailing.recipients} if mailing else set()


# who is mailed


def test_table_every_fact_of_the_three_topics_is_mailed_or_known_not_to_be() -> None:
    families = (ticket.TicketFact, access.AccessFact, approval.ReviewFact, IdentityFact)
    silent = {kind.TYPE for kind in EVENTS.values() if issubclass(kind, families) and kind not in TABLE}
    assert silent == {
        "access.granting.v1",
        "ticket.extension_approved.v1",
        "access.revoke_due.v1",
        "identity.bound.v1",
        "identity.conflict_found.v1",
        "review.opened.v1",
        "review.decided.v1",
        "review.approved.v1",
        "review.rejected.v1",
        "review.voided.v1",
    }, "a new fact: put it into the table of domain/notice.py, or here if nobody needs a mail about it"


@pytest.mark.parametrize("event", [kind for kind in TABLE if issubclass(kind, ticket.TicketFact)])
def test_mailing_of_ticket_fact_goes_to_requester_and_beneficiaries(event: type[ticket.TicketFact]) -> None:
    assert mailed(fact_of_table(event)) == {"ann", "bob"}


@pytest.mark.parametrize("event", [kind for kind in TABLE if issubclass(kind, access.AccessFact)])
def test_mailing_of_access_fact_goes_to_holder_and_requester(event: type[access.AccessFact]) -> None:
    whole = a_ticket(beneficiaries=(person("ann"), person("eve")))
    assert mailed(fact_of_table(event), whole) == {"ann", "bob"}
    assert mailed(fact_of_table(event), None) == {"ann"}


def test_mailing_of_opened_stage_goes_to_its_approvers_only() -> None:
    assert mailed(stage_opened(), a_ticket()) == {"carl", "cora"}


def test_mailing_for_requester_who_is_beneficiary_is_one() -> None:
    whole = a_ticket(requester=person("ann"))
    mailing = mailing_of(ticket_fact(whole=whole), whole)
    assert mailing is not None
    assert [one.user_id for one in mailing.recipients] == [user_id("ann")]


def test_mailing_of_one_target_leaves_out_who_has_no_grant_on_it() -> None:
    whole = a_ticket(
        beneficiaries=(person("ann"), person("eve")),
        targets=(target(), second_target()),
        grants=(grant(), grant(id="grant-2", target_id="target-2", beneficiary=user_id("eve"))),
    )
    assert mailed(ticket_fact(ticket.TicketApproved, whole, target_ids=("target-2",))) == {"bob", "eve"}
    assert mailed(ticket_fact(stop.TicketReturned, whole, grant_ids=(GRANT,))) == {"bob", "ann"}
    assert mailed(ticket_fact(ticket.TicketSubmitted, whole)) == {"bob", "ann", "eve"}


def test_scheduled_access_that_starts_at_once_is_not_mailed() -> None:
    assert mailed(access_fact(access.AccessScheduled, starts_at=NOW), a_ticket()) == set()
    assert mailed(access_fact(access.AccessScheduled, starts_at=NOW + timedelta(seconds=1)), a_ticket())


def test_mailing_of_a_stop_of_pending_and_live_access_reaches_the_holders_of_both() -> None:
    """Ann's grant on one target was live, eve's target still waited."""
    whole = a_ticket(
        beneficiaries=(person("ann"), person("eve")),
        targets=(target(), second_target()),
        grants=(grant(), grant(id="grant-2", target_id="target-2", beneficiary=user_id("eve"))),
    )
    stopped = ticket_fact(stop.TicketTerminated, whole, grant_ids=(GRANT,), target_ids=("target-2",))
    assert mailed(stopped) == {"bob", "ann", "eve"}


@pytest.mark.parametrize(
    ("event", "known", "who", "expected"),
    [
        (ticket_fact(whole=TWO), TWO, "bob", False),
        (ticket_fact(ticket.TicketApproved, TWO), TWO, "bob", True),
        (ticket_fact(ticket.TicketApproved), a_ticket(), "bob", False),
        (ticket_fact(stop.TicketReturned, TWO, grant_ids=(GRANT,)), TWO, "ann", True),
        (access_fact(), TWO, "ann", True),
        (access_fact(user_id=user_id("eve"), grant_id="grant-3"), TWO, "eve", False),
        (access_fact(user_id=user_id("eve"), grant_id="grant-3"), TWO, "bob", True),
        (access_fact(), a_ticket(), "bob", False),
        (access_fact(), None, "ann", True),
        (stage_opened(), TWO, "carl", True),
        (stage_opened(), a_ticket(), "carl", False),
        (stage_opened(), None, "carl", True),
    ],
)
def test_more_may_follow_only_where_the_ticket_has_more_for_this_person(
    event: Event, known: ticket.Ticket | None, who: str, expected: bool
) -> None:
    assert more_may_follow(event, known, user_id(who)) is expected


def test_closed_ticket_that_never_gave_access_is_not_mailed() -> None:
    assert mailed(ticket_fact(ticket.TicketClosed, a_ticket())) == set()


def test_ticket_id_of_every_fact_of_the_table_is_the_tickets() -> None:
    assert {ticket_id_of(fact_of_table(event)) for event in OF_TICKETS} == {TICKET}


def test_rebinding_is_mailed_at_once_to_whose_sign_in_it_is_and_was() -> None:
    fact = example(IdentityRebound)
    assert mailed(fact) == {"ann", "ann-before"}
    assert not more_may_follow(fact, None, "user-ann")
    new_subject = fact.model_copy(update={"bound_user_id": None})
    assert mailed(new_subject) == {"ann"}


def test_mail_about_a_person_is_a_fact_of_no_ticket_in_a_thread_of_its_own() -> None:
    delivery = replace(DELIVERY, ticket_id=None)
    assert (delivery.thread, DELIVERY.thread) == (delivery.id, TICKET)
    other = replace(delivery, recipient=Recipient(user_id("bob")))
    settled = [Settled(one, Sent(), "a@x.io", NOW) for one in (delivery, other)]
    facts = facts_of(settled, ORIGIN)
    assert [(one.ticket_id, one.subject, one.about.ticket_id, len(one.mails)) for one in facts] == [
        (None, user_id("ann"), None, 1),
        (None, user_id("bob"), None, 1),
    ]


# what becomes of an attempt


@pytest.mark.parametrize(
    ("outcome", "late", "expected"),
    [
        (Accepted(), timedelta(0), Sent()),
        (Refused("550 no", 550), timedelta(0), GivenUp("550 no", 550)),
        (Deferred("451 x", 451), -timedelta(seconds=1), Again(NOW + timedelta(seconds=9), "451 x", 451)),
        (Deferred("451 x", 451), timedelta(0), GivenUp("given up after 1 attempts; the last: 451 x", 451)),
        (Accepted(), HOUR, Sent()),
    ],
)  # fmt: skip
def test_settle_after_an_attempt(outcome: object, late: timedelta, expected: object) -> None:
    settled = settle(
        DELIVERY,
        outcome,  # type: ignore[arg-type]
        patience=PATIENCE,
        address="ann@example.com",
        now=NOW + late,
    )
    assert settled == Settled(DELIVERY, expected, "ann@example.com", NOW + late)  # type: ignore[arg-type]
    facts = {Sent: [NotificationSent], Again: [], GivenUp: [NotificationFailed]}
    assert [type(event) for event in facts_of([settled], ORIGIN)] == facts[type(expected)]
    assert len(alerts_of([settled])) == isinstance(expected, GivenUp)


def test_patience_doubles_up_to_its_limit() -> None:
    pauses = [PATIENCE.after(attempt).total_seconds() for attempt in (1, 2, 3, 7, 8, 1000)]
    assert pauses == [10, 20, 40, 640, 900, 900]


def test_check_retry_of_a_sent_mail_is_refused() -> None:
    check_retry(State.PENDING)
    check_retry(State.FAILED)
    with pytest.raises(Conflict, match="has been sent"):
        check_retry(State.SENT)


def test_message_id_is_stable_and_its_own_per_event_and_recipient() -> None:
    ids = {
        message_id(event, template, who, domain="jit.example.com")
        for event in ("e1", "e2")
        for template in (Template.GRANTED, Template.REVOKED)
        for who in ("u1", "u2")
    }
    assert len(ids) == 8
    assert message_id("e1", Template.GRANTED, "u1", domain="jit.example.com") in ids
    assert thread_id("hostile\r\nBcc: x", domain="jit").count("\n") == 0
