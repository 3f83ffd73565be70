"""A later end for live access: asked for, decided on, carried out by the provisioner, or come to nothing."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from local.issuer import DevelopmentIssuer
from services.ticket import background
from services.ticket.commands import timers
from services.ticket.commands.extensions import request_extension
from services.ticket.commands.tickets import limits_of
from services.ticket.domain.extension_request import LaterEnd
from services.ticket.settings import TicketSettings
from shared.contracts import access
from shared.contracts.documents import PermissionSet
from shared.contracts.extension import Extension, ExtensionState
from shared.contracts.stop import TicketReturned, TicketTerminated, TicketWithdrawn
from shared.contracts.ticket import (
    Ticket,
    TicketExtensionApproved,
    TicketExtensionRejected,
    TicketExtensionRequested,
)
from shared.contracts.windows import Window
from shared.foundation.clock import ManualClock, new_id
from shared.foundation.errors import Conflict, Forbidden, Invalid, JitError, NotFound
from shared.runtime.service import Service
from tests.support import organisation as org
from tests.support.builders import access_fact, review_approved, review_rejected, vote
from tests.support.harness import NOW, publish, said
from tests.support.http import api
from tests.support.work import caller, deliver
from tests.ticket.test_consumers import now_of
from tests.ticket.test_http import approve_all, submitted
from tests.ticket.test_revisions import stored

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
END, LATER, LATEST = NOW + 20 * MINUTE, NOW + 40 * MINUTE, NOW + HOUR
"""The end as it is, the one that is asked for, and the last that a scope allows."""
REASON = "the incident takes longer"


@pytest.fixture
async def ticket(service: Service, issuer: DevelopmentIssuer) -> Ticket:
    """Of bob for ann and bob: active for twenty minutes, an hour is allowed."""
    made = await submitted(service, issuer, "bob", beneficiaries=["ann", "bob"], duration="PT20M")
    await approve_all(service, made["id"])
    approved = await stored(service, made["id"])
    for grant in approved.grants:
        until = END + HOUR
        await deliver(
            service, access_fact(access.AccessGranted, approved, grant, at=NOW, credentials_until=until)
        )
    return await stored(service, made["id"])


async def extended(
    service: Service, ticket: Ticket, who: str = "bob", *, ends_at: datetime = LATER, reason: str = REASON
) -> Ticket:
    assert isinstance(service.settings, TicketSettings)
    asked = LaterEnd(ticket.targets[0].id, ends_at, reason)
    limits = limits_of(service.settings)
    async with service.context.unit_of_work() as work:
        return await request_extension(service.context, work, caller(service, who), ticket.id, asked, limits)


async def state_of(service: Service, ticket: Ticket) -> tuple[ExtensionState, str | None]:
    (extension,) = (await now_of(service, ticket)).extensions
    return extension.state, extension.code


async def refusals(service: Service, ticket: Ticket) -> list[str]:
    """The codes of the ticket's extensions that came to nothing, as told."""
    return [
        fact.code
        for fact in await said(service, TicketExtensionRejected)
        if isinstance(fact, TicketExtensionRejected) and fact.subject == ticket.id
    ]


# asking


async def test_request_makes_an_extension_that_waits_until_the_access_ends(
    service: Service, clock: ManualClock, ticket: Ticket
) -> None:
    clock.advance(10 * MINUTE)
    asked = await extended(service, ticket)
    assert asked == await now_of(service, ticket)
    (extension,) = asked.extensions
    assert extension == Extension(
        id=extension.id,
        target_id=ticket.targets[0].id,
        revision=1,
        grants=tuple(grant.id for grant in ticket.grants),
        requested_by=ticket.requester,
        ends_at=LATER,
        reason=REASON,
        submitted_at=NOW + 10 * MINUTE,
        expires_at=END,
    )
    assert asked.grants == ticket.grants, "no end moves by asking"
    (fact,) = await said(service, TicketExtensionRequested)
    assert isinstance(fact, TicketExtensionRequested)
    assert (fact.extension, fact.ticket, fact.why) == (extension, asked, REASON)
    assert (fact.target_ids, fact.grant_ids) == ((extension.target_id,), extension.grants)
    assert (fact.actor.name, fact.cause) == ("bob", "request")


async def test_request_by_a_beneficiary_is_for_their_own_access(service: Service, ticket: Ticket) -> None:
    asked = await extended(service, ticket, "ann")
    (extension,) = asked.extensions
    assert [ticket.grants[0].id] == [*extension.grants]
    assert extension.requested_by.user_id == org.user_id("ann")


@pytest.mark.parametrize(
    ("who", "changes", "error", "code"),
    [
        ("root", {}, Forbidden, "not_party"),
        ("eve", {}, NotFound, "ticket_unknown"),
        ("bob", {"ends_at": END}, Invalid, "end_not_later"),
        ("bob", {"ends_at": NOW - HOUR}, Invalid, "end_not_later"),
        ("bob", {"ends_at": LATEST + MINUTE}, Invalid, "not_permitted"),
        ("bob", {"ends_at": NOW + timedelta(days=400)}, Invalid, "duration_absurd"),
        ("bob", {"reason": "more"}, Invalid, "reason_too_short"),
    ],
)
async def test_request_that_may_not_be_is_refused_and_changes_nothing(
    service: Service, ticket: Ticket, who: str, changes: dict[str, Any], error: type[JitError], code: str
) -> None:
    with pytest.raises(error) as caught:
        await extended(service, ticket, who, **changes)
    assert code in {caught.value.code, *(problem.code for problem in caught.value.fields)}
    assert await now_of(service, ticket) == ticket


async def test_request_of_the_whole_length_a_scope_allows_is_accepted_from_the_first_start_on(
    service: Service, clock: ManualClock, ticket: Ticket
) -> None:
    """What is left of it does not count: the hour began with the access."""
    clock.advance(10 * MINUTE)
    with pytest.raises(Invalid):
        await extended(service, ticket, ends_at=LATEST + timedelta(microseconds=1))
    assert (await extended(service, ticket, ends_at=LATEST)).extensions


async def test_second_request_waits_for_what_comes_of_the_first(service: Service, ticket: Ticket) -> None:
    first = await extended(service, ticket)
    with pytest.raises(Conflict) as caught:
        await extended(service, ticket, "ann")
    assert caught.value.code == "extension_pending"
    await deliver(service, review_rejected(first, first.extensions[0], at=NOW))
    assert len((await extended(service, ticket)).extensions) == 2


async def test_request_for_access_that_has_ended_is_a_conflict(
    service: Service, clock: ManualClock, ticket: Ticket
) -> None:
    clock.advance(END - NOW)
    with pytest.raises(Conflict) as caught:
        await extended(service, ticket)
    assert caught.value.code == "nothing_to_extend"


async def test_request_after_the_set_has_changed_is_refused(service: Service, ticket: Ticket) -> None:
    """What approvers would say yes to is not what the access gives any more."""
    before = service.context.policy.known().get(PermissionSet, org.ADMIN)
    assert before is not None
    changed = before.model_copy(update={"digest": "another", "revision": before.revision + 1000})
    service.context.policy.take("provisioner", changed)
    with pytest.raises(Invalid) as caught:
        await extended(service, ticket)
    assert [problem.code for problem in caught.value.fields] == ["set_changed"]


async def test_request_only_the_requester_of_the_access_could_decide_is_unapprovable(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    """Bob asked for ann; of development he is the only approver there is."""
    wanted = {"targets": [{"account": org.D, "set": org.READ}], "duration": "PT4H"}
    made = await submitted(service, issuer, "bob", beneficiaries=["ann"], **wanted)
    await approve_all(service, made["id"])
    live = await stored(service, made["id"])
    with pytest.raises(Invalid) as caught:
        await extended(service, live, "ann", ends_at=NOW + 5 * HOUR)
    assert [problem.code for problem in caught.value.fields] == ["unapprovable"]


# deciding


async def test_approval_is_passed_on_with_its_hash_and_moves_no_end_yet(
    service: Service, clock: ManualClock, ticket: Ticket
) -> None:
    asked = await extended(service, ticket)
    clock.advance(10 * MINUTE)
    review, event_id = review_approved(asked, asked.extensions[0], at=NOW + 10 * MINUTE), new_id()
    for _ in range(2):
        await deliver(service, review, event_id=event_id)
    (fact,) = await said(service, TicketExtensionApproved)
    assert isinstance(fact, TicketExtensionApproved)
    assert fact.extension is not None
    assert fact.extension.window == review.window == Window(starts_at=NOW, ends_at=LATER)
    assert fact.content_hash == review.content_hash
    assert fact.extension.state is ExtensionState.APPROVED
    assert (await now_of(service, ticket)).grants == ticket.grants


FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "another hash": ({"content_hash": "0" * 64}, "approval_mismatch"),
    "a longer window": ({"window": Window(starts_at=NOW, ends_at=LATER + HOUR)}, "approval_mismatch"),
    "after the new end": ({"at": LATER}, "approval_mismatch"),
    "no votes": ({"votes": ()}, "approval_invalid"),
    "a rule for elsewhere": ({"votes": (), "auto_approved_by": "dev-read"}, "approval_invalid"),
}


@pytest.mark.parametrize(("changes", "alert"), FORGED.values(), ids=FORGED)
async def test_approval_that_does_not_hold_is_not_honoured(
    service: Service, ticket: Ticket, changes: dict[str, Any], alert: str
) -> None:
    asked = await extended(service, ticket)
    event = review_approved(asked, asked.extensions[0], at=NOW).model_copy(update=changes)
    await deliver(service, event)
    assert [one.key for one in service.context.alerts.active] == [f"{alert}/{event.review_id}"]
    assert await now_of(service, ticket) == asked


@pytest.mark.parametrize("changes", [{"revision": 2}, {"subject_kind": "target"}, {"subject_id": "other"}])
async def test_approval_of_something_else_is_ignored(
    service: Service, ticket: Ticket, changes: dict[str, Any]
) -> None:
    asked = await extended(service, ticket)
    await deliver(service, review_approved(asked, asked.extensions[0], at=NOW, **changes))
    assert service.context.alerts.active == []
    assert await now_of(service, ticket) == asked


async def test_vote_of_the_requester_of_the_access_does_not_count(
    service: Service, issuer: DevelopmentIssuer
) -> None:
    """Bob asked for ann, and development is his to approve: not for what he asked for."""
    made = await submitted(
        service,
        issuer,
        "bob",
        beneficiaries=["ann"],
        targets=[{"account": org.D, "set": org.READ}],
        duration="PT3H",
    )
    await approve_all(service, made["id"])
    asked = await extended(service, await stored(service, made["id"]), "ann", ends_at=NOW + 4 * HOUR)
    (by_itself,) = [rule for rule in org.rules() if rule.key.endswith("/dev-read")]
    publish(service.context.policy, by_itself.model_copy(update={"auto_approve_up_to": 3 * HOUR}))
    event = review_approved(
        asked, asked.extensions[0], at=NOW, auto_approved_by=None, votes=(vote(org.user_id("bob"), at=NOW),)
    )
    await deliver(service, event)
    assert [one.key for one in service.context.alerts.active] == [f"approval_invalid/{event.review_id}"]
    assert await now_of(service, asked) == asked


@pytest.mark.parametrize("code", ["rejected", "no_rule", "unapprovable"])
async def test_rejection_is_told_with_its_code(service: Service, ticket: Ticket, code: str) -> None:
    asked = await extended(service, ticket)
    for _ in range(2):
        await deliver(service, review_rejected(asked, asked.extensions[0], at=NOW, code=code))
    assert await refusals(service, ticket) == [code]
    assert await state_of(service, ticket) == (ExtensionState.REJECTED, code)


async def test_extension_nobody_decided_times_out_when_the_access_ends(
    service: Service, clock: ManualClock, ticket: Ticket
) -> None:
    asked = await extended(service, ticket)
    clock.advance(END - NOW - timedelta(microseconds=1))
    await background.run_once(service.context, timers.time_out_due)
    assert await refusals(service, ticket) == []
    clock.advance(timedelta(microseconds=1))
    while await background.run_once(service.context, timers.time_out_due):
        pass
    assert await refusals(service, ticket) == ["timed_out"]
    assert await state_of(service, ticket) == (ExtensionState.TIMED_OUT, "timed_out")
    await deliver(service, review_approved(asked, asked.extensions[0], at=END))
    assert await said(service, TicketExtensionApproved) == []


# what the provisioner reports


@pytest.fixture
async def approved(service: Service, ticket: Ticket) -> Ticket:
    asked = await extended(service, ticket)
    await deliver(service, review_approved(asked, asked.extensions[0], at=NOW))
    return await now_of(service, ticket)


def moved(ticket: Ticket, place: int = 0, **more: Any) -> access.AccessExtended:
    fields = {
        "subject_id": ticket.extensions[0].id,
        "ends_at": LATER,
        "ended_before": END,
        "credentials_until": LATER + HOUR,
    }
    return access_fact(access.AccessExtended, ticket, ticket.grants[place], at=NOW, **(fields | more))


def not_moved(ticket: Ticket, place: int = 0) -> access.AccessExtensionFailed:
    return access_fact(
        access.AccessExtensionFailed, ticket, ticket.grants[place], at=NOW,
        subject_id=ticket.extensions[0].id, code="too_late",
    )  # fmt: skip


async def test_end_has_moved_when_the_provisioner_says_so(service: Service, approved: Ticket) -> None:
    for _ in range(2):
        await deliver(service, moved(approved))
    after = await now_of(service, approved)
    first, second = after.grants
    assert (first.ends_at, first.credentials_until, first.state) == (LATER, LATER + HOUR, "active")
    assert second == approved.grants[1]
    assert (after.credentials_until, after.version) == (LATER + HOUR, approved.version + 1)
    assert await state_of(service, approved) == (ExtensionState.EXTENDED, None)
    assert len((await extended(service, approved, ends_at=LATEST)).extensions) == 2


async def test_end_never_moves_back(service: Service, approved: Ticket) -> None:
    await deliver(service, moved(approved))
    after = await now_of(service, approved)
    await deliver(service, moved(approved, ends_at=END, credentials_until=END))
    assert await now_of(service, approved) == after


@pytest.mark.parametrize("failed_first", [True, False])
async def test_one_of_two_grants_extended_is_an_extension_carried_out(
    service: Service, approved: Ticket, failed_first: bool
) -> None:
    facts = [not_moved(approved, 0), moved(approved, 1)]
    for fact in facts if failed_first else reversed(facts):
        await deliver(service, fact)
    after = await now_of(service, approved)
    assert [grant.ends_at for grant in after.grants] == [END, LATER]
    assert await state_of(service, approved) == (ExtensionState.EXTENDED, None)


async def test_extension_that_moves_no_end_has_failed(service: Service, approved: Ticket) -> None:
    await deliver(service, not_moved(approved))
    assert await state_of(service, approved) == (ExtensionState.FAILED, "too_late")
    assert (await now_of(service, approved)).grants == approved.grants
    assert await refusals(service, approved) == []


# stops

Stop = Callable[[Service, DevelopmentIssuer, Ticket], Awaitable[None]]


def call(who: str, verb: str) -> Stop:
    async def stop(service: Service, issuer: DevelopmentIssuer, ticket: Ticket) -> None:
        async with api(service, issuer, who) as client:
            answer = await client.post(f"/v1/tickets/{ticket.id}/{verb}")
        assert answer.is_success, answer.text

    return stop


async def revoke(service: Service, _: DevelopmentIssuer, ticket: Ticket) -> None:
    cause = access.EndCause.REVOKED_BY_OPERATOR
    await deliver(
        service, access_fact(access.AccessRevokeDue, ticket, ticket.grants[0], at=NOW, cause_of_end=cause)
    )


async def expire(service: Service, _: DevelopmentIssuer, ticket: Ticket) -> None:
    for grant in ticket.grants:
        cause = access.EndCause.EXPIRED
        await deliver(service, access_fact(access.AccessRevokeDue, ticket, grant, at=END, cause_of_end=cause))


STOPS: dict[str, tuple[Stop, str, ExtensionState]] = {
    "terminated": (call("root", "terminate"), "stopped", ExtensionState.WITHDRAWN),
    "returned": (call("ann", "return"), "stopped", ExtensionState.WITHDRAWN),
    "withdrawn": (call("bob", "withdraw"), "withdrawn", ExtensionState.WITHDRAWN),
    "revoked by an operator": (revoke, "stopped", ExtensionState.WITHDRAWN),
    "expired": (expire, "timed_out", ExtensionState.TIMED_OUT),
}


@pytest.mark.parametrize(("stop", "code", "state"), STOPS.values(), ids=STOPS)
async def test_stop_of_the_access_ends_what_was_asked_for(
    service: Service, issuer: DevelopmentIssuer, ticket: Ticket, stop: Stop, code: str, state: ExtensionState
) -> None:
    asked = await extended(service, ticket)
    await stop(service, issuer, asked)
    assert await refusals(service, ticket) == [code]
    assert await state_of(service, ticket) == (state, code)
    await deliver(service, review_approved(asked, asked.extensions[0], at=NOW))
    assert await said(service, TicketExtensionApproved) == []


async def test_withdrawing_a_later_end_alone_leaves_the_access_alone(
    service: Service, issuer: DevelopmentIssuer, ticket: Ticket
) -> None:
    """A fact that names neither targets nor grants would be about all of them."""
    asked = await extended(service, ticket)
    await call("bob", "withdraw")(service, issuer, asked)
    assert await said(service, TicketWithdrawn) == []
    assert (await now_of(service, ticket)).grants == ticket.grants


async def test_stop_and_end_of_the_extension_are_told_together_in_order(
    service: Service, issuer: DevelopmentIssuer, ticket: Ticket
) -> None:
    asked = await extended(service, ticket)
    await call("ann", "return")(service, issuer, asked)
    facts = await said(service, TicketReturned, TicketExtensionRejected)
    assert [(type(fact), fact.version - asked.version) for fact in facts] == [
        (TicketReturned, 1),
        (TicketExtensionRejected, 2),
    ]


async def test_stop_of_another_grant_leaves_the_extension_open(
    service: Service, issuer: DevelopmentIssuer, ticket: Ticket
) -> None:
    asked = await extended(service, ticket, "ann")
    await call("bob", "return")(service, issuer, asked)
    assert await refusals(service, ticket) == []
    assert await state_of(service, ticket) == (ExtensionState.PENDING, None)


async def test_one_grant_of_two_that_is_over_by_itself_leaves_the_extension_open(
    service: Service, ticket: Ticket
) -> None:
    asked = await extended(service, ticket)
    for place, codes in ((0, []), (1, ["stopped"])):
        failed = access_fact(access.AccessFailed, asked, asked.grants[place], at=NOW, code="aws")
        await deliver(service, failed)
        assert await refusals(service, ticket) == codes


async def test_approved_extension_is_left_to_the_provisioner_by_a_stop(
    service: Service, issuer: DevelopmentIssuer, approved: Ticket
) -> None:
    await call("root", "terminate")(service, issuer, approved)
    assert approved.id in {fact.subject for fact in await said(service, TicketTerminated)}
    assert await refusals(service, approved) == []
    assert await state_of(service, approved) == (ExtensionState.APPROVED, None)
