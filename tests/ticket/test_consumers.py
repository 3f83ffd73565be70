from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from local.issuer import DevelopmentIssuer
from services.ticket import background, views
from services.ticket.commands import timers
from services.ticket.consumers import subscriptions
from shared.contracts import access, topics
from shared.contracts.approval import Vote
from shared.contracts.event import Revisions
from shared.contracts.ticket import Ticket, TicketApproved, TicketRejected, TicketSubmitted
from shared.contracts.windows import Window
from shared.documents.tables import Tables
from shared.foundation.clock import ManualClock, new_id
from shared.foundation.errors import NotReady
from shared.policy.policy import Policy
from shared.policy.snapshot import PATIENCE
from shared.runtime.service import Service
from tests.support.builders import access_fact, review_approved, review_rejected, vote
from tests.support.harness import NOW, said
from tests.support.signing import TRUST
from tests.support.work import deliver
from tests.ticket.test_http import submitted

HOUR = timedelta(hours=1)


@pytest.fixture
async def ticket(service: Service, issuer: DevelopmentIssuer) -> Ticket:
    made = await submitted(service, issuer)
    (fact,) = [one for one in await said(service, TicketSubmitted) if one.subject == made["id"]]
    assert isinstance(fact, TicketSubmitted)
    return fact.ticket


async def now_of(service: Service, ticket: Ticket) -> Ticket:
    async with service.context.pool.acquire() as conn:
        found = await views.ticket(conn, ticket.id)
    assert found is not None
    return found


async def test_approved_twice_approves_once_with_the_same_content(service: Service, ticket: Ticket) -> None:
    event, event_id = review_approved(ticket, ticket.targets[0], at=NOW), new_id()
    for _ in range(2):
        await deliver(service, event, event_id=event_id)
    (fact,) = await said(service, TicketApproved)
    assert isinstance(fact, TicketApproved)
    assert fact.content_hash == event.content_hash
    assert fact.ticket.targets[0].window == Window(starts_at=NOW, ends_at=NOW + HOUR)
    assert (await now_of(service, ticket)).version == 2


@pytest.mark.parametrize(
    "forge",
    [
        lambda _: {"content_hash": "0" * 64},
        lambda _: {"window": Window(starts_at=NOW, ends_at=NOW + 2 * HOUR)},
        lambda _: {"window": Window(starts_at=NOW - HOUR, ends_at=NOW)},
        lambda _: {"at": NOW + HOUR},
    ],
)
async def test_approval_that_does_not_fit_the_ticket_is_not_honoured(
    service: Service, ticket: Ticket, forge: Callable[[Ticket], dict[str, Any]]
) -> None:
    changes = forge(ticket)
    event = review_approved(ticket, ticket.targets[0], at=NOW).model_copy(update=changes)
    await deliver(service, event)
    assert await said(service, TicketApproved) == []
    assert [alert.key for alert in service.context.alerts.active] == [f"approval_mismatch/{event.review_id}"]


FORGED_VOTES: dict[str, Callable[[Ticket], dict[str, Any]]] = {
    "none": lambda _: {"votes": ()},
    "by nobody in the directory": lambda _: {"votes": votes_of("user-mallory", "user-moriarty")},
    "by somebody who may not": lambda _: {"votes": votes_of("user-bob", "user-eve")},
    "by the requester": lambda of: {"votes": votes_of(of.requester.user_id, "user-dora")},
    "in one stage of two": lambda _: {"votes": votes_of("user-carl")},
    "one person in both": lambda _: {"votes": votes_of("user-carl", "user-carl")},
    "by a rule that asks for votes": lambda _: {"votes": (), "auto_approved_by": "prod"},
    "by a rule for elsewhere": lambda _: {"votes": (), "auto_approved_by": "dev-read"},
}


def votes_of(*user_ids: str) -> tuple[Vote, ...]:
    return tuple(vote(user_id, stage=number, at=NOW) for number, user_id in enumerate(user_ids, start=1))


@pytest.mark.parametrize("forge", FORGED_VOTES.values(), ids=FORGED_VOTES)
async def test_approval_without_the_votes_it_needs_is_not_honoured(
    service: Service, clock: ManualClock, ticket: Ticket, forge: Callable[[Ticket], dict[str, Any]]
) -> None:
    """Window and content hash are right: only the votes are not what the policy here asks for."""
    event = review_approved(ticket, ticket.targets[0], at=NOW, **forge(ticket))
    await deliver(service, event)
    assert await said(service, TicketApproved) == []
    assert [alert.key for alert in service.context.alerts.active] == [f"approval_invalid/{event.review_id}"]
    assert (await now_of(service, ticket)).state == "pending"
    clock.advance(25 * HOUR)
    await background.run_once(service.context, timers.time_out_due)
    assert (await now_of(service, ticket)).state == "timed_out"


async def test_approval_while_the_policy_is_not_read_is_tried_again(
    service: Service, clock: ManualClock, ticket: Ticket
) -> None:
    event = review_approved(ticket, ticket.targets[0], at=NOW)
    whole = service.context.tables
    service.context.tables = Tables(
        policy=Policy(clock=clock, stale_after=HOUR), settings=service.settings.kafka, trust=TRUST
    )
    with pytest.raises(NotReady):
        await deliver(service, event)
    service.context.tables = whole
    await deliver(service, event)
    assert len(await said(service, TicketApproved)) == 1


async def test_approval_while_the_documents_are_stale_is_tried_again(
    service: Service, clock: ManualClock, ticket: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vote must not count by rules that may have been withdrawn since."""
    monkeypatch.setattr(service.context.policy, "_stale_after", HOUR)
    event = review_approved(ticket, ticket.targets[0], at=NOW)
    clock.advance(2 * HOUR)
    assert service.context.policy.stale
    with pytest.raises(NotReady):
        await deliver(service, event)
    assert await said(service, TicketApproved) == []


async def test_approval_on_newer_documents_waits_for_them_but_not_for_ever(
    service: Service, clock: ManualClock, ticket: Ticket
) -> None:
    """A forged one may name a revision that never comes: it must not hold up those behind it."""
    far = Revisions(rules=10**9)
    event = review_approved(ticket, ticket.targets[0], at=NOW, votes=(), revisions=far)
    with pytest.raises(NotReady) as caught:
        await deliver(service, event)
    assert caught.value.code == "tables_behind"
    clock.advance(PATIENCE)
    await deliver(service, event)
    assert [alert.key.split("/")[0] for alert in service.context.alerts.active] == ["approval_invalid"]


async def test_approval_dated_in_the_future_is_not_waited_for(
    service: Service, clock: ManualClock, ticket: Ticket
) -> None:
    """Its date is its sender's word: it must not hold up those behind it until that moment has passed."""
    far = Revisions(rules=10**9)
    later = clock.now() + PATIENCE
    event = review_approved(ticket, ticket.targets[0], at=later, revisions=far)
    await deliver(service, event)
    assert [alert.key for alert in service.context.alerts.active] == [f"approval_invalid/{event.review_id}"]
    assert (await now_of(service, ticket)).state == "pending"


async def test_refused_approval_is_not_looked_at_again(service: Service, ticket: Ticket) -> None:
    event, event_id = review_approved(ticket, ticket.targets[0], at=NOW, votes=()), new_id()
    await deliver(service, event, event_id=event_id)
    await service.context.alerts.clear(f"approval_invalid/{event.review_id}")
    await deliver(service, event, event_id=event_id)
    assert service.context.alerts.active == []
    assert (await now_of(service, ticket)).version == 1


async def test_outcome_for_another_revision_is_ignored(service: Service, ticket: Ticket) -> None:
    await deliver(service, review_approved(ticket, ticket.targets[0], at=NOW, revision=2))
    await deliver(service, review_rejected(ticket, ticket.targets[0], at=NOW, revision=2))
    assert await said(service, TicketApproved, TicketRejected) == []


async def test_rejected_after_approved_changes_nothing(service: Service, ticket: Ticket) -> None:
    await deliver(service, review_approved(ticket, ticket.targets[0], at=NOW))
    await deliver(service, review_rejected(ticket, ticket.targets[0], at=NOW))
    assert await said(service, TicketRejected) == []


async def test_rejected_ends_the_target(service: Service, ticket: Ticket) -> None:
    await deliver(service, review_rejected(ticket, ticket.targets[0], at=NOW))
    assert (await now_of(service, ticket)).state == "rejected"
    (fact,) = await said(service, TicketRejected)
    assert fact.subject == ticket.id


async def test_access_facts_twice_and_late_lead_to_one_state(service: Service, ticket: Ticket) -> None:
    await deliver(service, review_approved(ticket, ticket.targets[0], at=NOW))
    grant = ticket.grants[0]
    granted = access_fact(access.AccessGranted, ticket, grant, at=NOW, credentials_until=NOW + 2 * HOUR)
    revoked = access_fact(access.AccessRevoked, ticket, grant, at=NOW + HOUR, cause_of_end="expired")
    for event in (granted, granted, revoked, granted, revoked):
        await deliver(service, event)
    assert (await now_of(service, ticket)).state == "ended"


async def test_access_fact_of_an_unknown_ticket_is_ignored(service: Service, ticket: Ticket) -> None:
    stranger = ticket.model_copy(update={"id": new_id()})
    fact = access_fact(access.AccessGranting, stranger, ticket.grants[0], at=NOW)
    await deliver(service, fact)
    assert (await now_of(service, ticket)).state == "pending"


async def test_subscriptions_read_only_topics_that_list_this_service(
    service: Service, clock: ManualClock
) -> None:
    for subscription in subscriptions(service.context):
        assert "ticket" in topics.TOPICS[subscription.topic].readers
