"""Asking again for what was rejected or timed out: what is new, what stays, what no longer counts."""

from datetime import timedelta

import pytest

from local.issuer import DevelopmentIssuer
from services.ticket import background, views
from services.ticket.commands import timers
from services.ticket.commands.revisions import revise
from services.ticket.commands.tickets import limits_of
from services.ticket.domain.revision import AskedAgain, revisable
from services.ticket.settings import TicketSettings
from shared.contracts.ticket import (
    Target,
    TargetState,
    Ticket,
    TicketApproved,
    TicketRejected,
    TicketRevised,
    TicketState,
)
from shared.contracts.windows import WindowAsked
from shared.foundation.clock import ManualClock, new_id
from shared.foundation.errors import Conflict, Forbidden, Invalid, JitError, NotFound
from shared.runtime.service import Service
from tests.support import organisation as org
from tests.support.builders import review_approved, review_rejected
from tests.support.harness import NOW, said
from tests.support.http import api
from tests.support.work import caller, deliver
from tests.ticket.test_consumers import now_of
from tests.ticket.test_http import BODY, submitted

HALF = timedelta(minutes=30)
AGAIN = AskedAgain(WindowAsked(duration=HALF), "restart only the second worker")
TWO = [{"account": org.P, "set": org.ADMIN}, {"account": org.D, "set": org.ADMIN}]


async def stored(service: Service, ticket_id: str) -> Ticket:
    async with service.context.pool.acquire() as conn:
        found = await views.ticket(conn, ticket_id)
    assert found is not None
    return found


async def asked_again(
    service: Service, ticket: Ticket, again: AskedAgain = AGAIN, who: str = "ann"
) -> Ticket:
    assert isinstance(service.settings, TicketSettings)
    limits = limits_of(service.settings)
    async with service.context.unit_of_work() as work:
        return await revise(service.context, work, caller(service, who), ticket.id, again, limits)


@pytest.fixture
async def ticket(service: Service, issuer: DevelopmentIssuer) -> Ticket:
    """Two targets of ann: the first rejected, the second approved."""
    made = await submitted(service, issuer, targets=TWO)
    pending = await stored(service, made["id"])
    first, second = pending.targets
    await deliver(service, review_rejected(pending, first, at=NOW))
    await deliver(service, review_approved(pending, second, at=NOW))
    return await stored(service, pending.id)


async def test_revise_asks_anew_for_what_was_rejected_and_leaves_the_rest_as_it_is(
    service: Service, clock: ManualClock, ticket: Ticket
) -> None:
    clock.advance(HALF)
    after = await asked_again(service, ticket)
    assert after == await now_of(service, ticket)
    was, now = ticket.targets[0], after.targets[0]
    assert (now.revision, now.state, now.reason) == (2, TargetState.PENDING, AGAIN.reason)
    assert (now.asked.duration, now.submitted_at) == (HALF, NOW + HALF)
    assert (now.id, now.account_id, now.set_id) == (was.id, was.account_id, was.set_id)
    assert now.subject_id != was.subject_id
    assert after.targets[1] == ticket.targets[1]
    (old,), (new,) = ticket.grants_of(was.id), after.grants_of(now.id)
    assert (new.id != old.id, new.revision, new.beneficiary) == (True, 2, old.beneficiary)
    assert after.grants_of(after.targets[1].id) == ticket.grants_of(after.targets[1].id)
    assert (after.reason, after.version) == (AGAIN.reason, ticket.version + 1)
    (fact,) = await said(service, TicketRevised)
    assert isinstance(fact, TicketRevised)
    assert (fact.target_ids, fact.ticket, fact.why) == ((now.id,), after.excerpt([now.id]), AGAIN.reason)
    assert (fact.actor.name, fact.cause) == ("ann", "request")


async def test_earlier_revisions_stay_as_they_ended(service: Service, ticket: Ticket) -> None:
    second = await asked_again(service, ticket)
    await deliver(service, review_rejected(second, second.targets[0], at=NOW))
    third = await asked_again(service, ticket, AskedAgain(WindowAsked(duration=HALF), "a third attempt"))
    async with service.context.pool.acquire() as conn:
        kept = await views.earlier_revisions(conn, ticket.id)
    assert [(one.revision, one.state, one.reason) for one in kept] == [
        (2, "rejected", AGAIN.reason),
        (1, "rejected", BODY["reason"]),
    ]
    assert kept[1] == ticket.targets[0]
    assert third.targets[0].revision == 3
    grants = await service.context.pool.fetch(
        "SELECT id, revision FROM ticket_grant WHERE target_id = $1 ORDER BY revision", kept[0].id
    )
    assert [row["revision"] for row in grants] == [1, 2, 3]
    assert [str(row["id"]) for row in grants][::2] == [ticket.grants[0].id, third.grants[0].id]


async def test_outcome_of_the_first_revision_does_nothing_to_the_second(
    service: Service, ticket: Ticket
) -> None:
    first = ticket.targets[0]
    after = await asked_again(service, ticket)
    before = len(await said(service, TicketApproved, TicketRejected))
    await deliver(service, review_approved(ticket, first, at=NOW))
    await deliver(service, review_rejected(ticket, first, at=NOW))
    # Nor one that names the second revision and was about the first one's content.
    await deliver(service, review_approved(ticket, first, at=NOW, revision=2))
    assert len(await said(service, TicketApproved, TicketRejected)) == before
    assert await now_of(service, ticket) == after


async def test_second_revision_is_approved_for_its_own_window(service: Service, ticket: Ticket) -> None:
    after = await asked_again(service, ticket)
    review = review_approved(after, after.targets[0], at=NOW)
    await deliver(service, review)
    done = await now_of(service, ticket)
    window = done.targets[0].window
    assert window is not None
    assert (done.targets[0].state, window.length) == (TargetState.APPROVED, HALF)
    assert {grant.ends_at for grant in done.grants_of(done.targets[0].id)} == {window.ends_at}
    fact = (await said(service, TicketApproved))[-1]
    assert isinstance(fact, TicketApproved)
    assert fact.content_hash == review.content_hash


async def test_timed_out_target_is_asked_for_again_and_times_out_again(
    service: Service, issuer: DevelopmentIssuer, clock: ManualClock
) -> None:
    ticket = await stored(service, (await submitted(service, issuer))["id"])
    for revision in (1, 2):
        clock.advance(ticket.targets[0].expires_at - clock.now())
        while await background.run_once(service.context, timers.time_out_due):
            pass
        ticket = await now_of(service, ticket)
        assert (ticket.state, ticket.targets[0].revision) == (TicketState.TIMED_OUT, revision)
        ticket = await asked_again(service, ticket)
    assert (ticket.state, ticket.targets[0].revision) == (TicketState.PENDING, 3)


def named(ticket: Ticket, *targets: Target) -> AskedAgain:
    return AskedAgain(AGAIN.asked, AGAIN.reason, tuple(target.id for target in targets))


async def test_revise_of_what_is_approved_or_pending_is_a_conflict_and_changes_nothing(
    service: Service, ticket: Ticket
) -> None:
    first, second = ticket.targets
    for targets in ((second,), (first, second)):
        with pytest.raises(Conflict) as caught:
            await asked_again(service, ticket, named(ticket, *targets))
        assert caught.value.code == "nothing_to_revise"
    after = await asked_again(service, ticket, named(ticket, first))
    with pytest.raises(Conflict):
        await asked_again(service, ticket)
    assert await now_of(service, ticket) == after


async def test_revise_of_a_closed_ticket_is_a_conflict(ticket: Ticket) -> None:
    closed = ticket.model_copy(update={"closed_at": NOW})
    with pytest.raises(Conflict) as caught:
        revisable(closed, AGAIN, org.user_id("ann"))
    assert caught.value.code == "ticket_closed"


@pytest.mark.parametrize(
    ("who", "again", "error", "code"),
    [
        ("carl", AGAIN, Forbidden, "not_requester"),
        ("eve", AGAIN, NotFound, "ticket_unknown"),
        ("ann", AskedAgain(AGAIN.asked, AGAIN.reason, ("unknown",)), Invalid, "target_unknown"),
        ("ann", AskedAgain(WindowAsked(duration=4 * HALF), AGAIN.reason), Invalid, "ticket_invalid"),
        ("ann", AskedAgain(AGAIN.asked, "because"), Invalid, "ticket_invalid"),
    ],
    ids=["an approver", "a stranger", "an unknown target", "longer than a scope allows", "a short reason"],
)
async def test_revise_that_may_not_be_is_refused(
    service: Service, ticket: Ticket, who: str, again: AskedAgain, error: type[JitError], code: str
) -> None:
    with pytest.raises(error) as caught:
        await asked_again(service, ticket, again, who)
    assert caught.value.code == code
    assert await said(service, TicketRevised) == []
    assert await now_of(service, ticket) == ticket


async def test_earlier_revisions_over_http_are_pages_for_who_may_see_the_ticket(
    service: Service, issuer: DevelopmentIssuer, ticket: Ticket
) -> None:
    path = f"/v1/tickets/{ticket.id}/revisions"
    async with api(service, issuer, "ann") as client:
        assert (await client.get(path)).json() == {"items": [], "next_cursor": None}
        for _ in range(2):
            again = await asked_again(service, await stored(service, ticket.id))
            await deliver(service, review_rejected(again, again.targets[0], at=NOW))
        first = (await client.get(f"{path}?limit=1")).json()
        (newest,) = first["items"]
        assert (newest["revision"], newest["state"], newest["reason"]) == (2, "rejected", AGAIN.reason)
        rest = (await client.get(f"{path}?cursor={first['next_cursor']}")).json()
        assert ([one["revision"] for one in rest["items"]], rest["next_cursor"]) == ([1], None)
        unknown = await client.get(f"/v1/tickets/{new_id()}/revisions")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "ticket_unknown")
    for who, status in (("carl", 200), ("aud", 200), ("eve", 404)):
        async with api(service, issuer, who) as client:
            answer = await client.get(path)
        assert answer.status_code == status, who
    assert answer.json()["code"] == "ticket_unknown"
