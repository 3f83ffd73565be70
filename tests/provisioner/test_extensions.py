"""A later end: approved, witnessed and re-checked, whatever comes first; and never for what is over.

What is true is the simulator's own record; what was said, the outbox.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.provisioner import views
from services.provisioner.commands.ends import end_claims
from services.provisioner.store import claims, witnesses
from shared.contracts import access
from shared.contracts import documents as doc
from shared.contracts import ticket as tk
from shared.contracts.access import EndCause
from shared.contracts.change import Origin
from shared.contracts.event import Actor
from shared.contracts.people import Person
from shared.contracts.subject import SubjectKind
from tests.support import organisation as org
from tests.support.builders import vote
from tests.support.provisioner_lab import Lab
from tests.support.waiting import until

S = timedelta(seconds=1)
GRANTED = ["scheduled", "granting", "granted"]
REVOKED = ["revoke_due(expired)", "revoked(expired)"]


async def active(lab: Lab, *users: str, seconds: float = 60) -> tk.Ticket:
    """A ticket whose access is there."""
    ticket = await lab.approve(lab.ticket(*users, seconds=seconds))
    await lab.run(15)
    assert all(lab.holds(user) for user in users or ("ann",))
    return ticket


def end_of(ticket: tk.Ticket) -> datetime:
    window = ticket.targets[0].window
    assert window is not None
    return window.ends_at


async def run_to(lab: Lab, moment: datetime) -> None:
    await lab.run((moment - lab.now).total_seconds())


async def rows(lab: Lab) -> list[str]:
    """Every extension's state, with its code."""
    found = await lab.context.pool.fetch("SELECT state, code FROM extension ORDER BY received_at, grant_id")
    return [f"{row['state']}({row['code']})" if row["code"] else row["state"] for row in found]


# moved


@pytest.mark.parametrize("order", ["witness first", "approval first"])
async def test_end_moves_once_both_services_have_said_the_same(lab: Lab, order: str) -> None:
    ticket = await active(lab)
    later = lab.extended(ticket, seconds=100)
    both: list[Any] = [lab.extension_witness(later), lab.extension_approval(later)]
    for event in both if order == "witness first" else reversed(both):
        assert await lab.story() == GRANTED
        await lab.take(event)
    assert await lab.story() == [*GRANTED, "extended"]
    await run_to(lab, end_of(ticket) + 95 * S)
    assert lab.holds()
    await lab.run(60)
    assert not lab.holds()
    assert await lab.story() == [*GRANTED, "extended", *REVOKED]
    [(_, _, gone)] = lab.presence()
    assert gone is not None
    assert gone < end_of(ticket) + 110 * S


async def test_extended_says_from_when_to_when_and_until_when_credentials_live(lab: Lab) -> None:
    ticket = await active(lab)
    later = await lab.extend(ticket, seconds=100)
    [fact] = await lab.said(access.AccessExtended)
    new = end_of(ticket) + 100 * S
    assert (fact.ended_before, fact.ends_at) == (end_of(ticket), new)
    assert fact.credentials_until == new + timedelta(hours=1)
    assert (fact.subject_id, fact.grant_id, fact.version) == (
        later.extensions[0].id,
        ticket.grants[0].id,
        4,
    )
    assert fact.cause is not None
    async with lab.context.pool.acquire() as conn:
        shown = await views.grant(conn, ticket.grants[0].id)
    assert shown is not None
    assert shown["ends_at"] == new.isoformat()
    assert shown["credentials_until"] == fact.credentials_until.isoformat()


async def test_end_of_every_grant_of_the_extension_moves(lab: Lab) -> None:
    ticket = await active(lab, "ann", "bob")
    await lab.extend(ticket, seconds=100)
    await run_to(lab, end_of(ticket) + 50 * S)
    assert lab.holds("ann")
    assert lab.holds("bob")
    assert len(await lab.said(access.AccessExtended)) == 2


async def test_only_the_grants_of_the_extension_last_longer(lab: Lab) -> None:
    ticket = await active(lab, "ann", "bob")
    await lab.extend(ticket, seconds=100, grants=(ticket.grants[0].id,))
    await run_to(lab, end_of(ticket) + 50 * S)
    assert lab.holds("ann")
    assert not lab.holds("bob")


async def test_two_extensions_in_a_row_move_the_end_twice(lab: Lab) -> None:
    ticket = await active(lab)
    once = await lab.extend(ticket, seconds=60)
    await run_to(lab, end_of(ticket) + 30 * S)
    await lab.extend(once, seconds=120)
    await run_to(lab, end_of(ticket) + 115 * S)
    assert lab.holds()
    await lab.run(60)
    assert not lab.holds()
    assert await lab.story() == [*GRANTED, "extended", "extended", *REVOKED]
    first, second = await lab.said(access.AccessExtended)
    assert second.ended_before == first.ends_at


async def test_two_extensions_that_were_waited_for_are_carried_out_the_nearer_end_first(lab: Lab) -> None:
    ticket = await active(lab)
    once = lab.extended(ticket, seconds=60)
    twice = lab.extended(once, seconds=120)
    lab.context.policy._copies["ticket"].verified = False
    for one in (twice, once):
        await lab.take(lab.extension_witness(one), lab.extension_approval(one))
    lab.context.policy._copies["ticket"].verified = True
    await lab.run(10)
    assert [fact.ends_at - end_of(ticket) for fact in await lab.said(access.AccessExtended)] == [
        60 * S,
        120 * S,
    ]


async def test_extension_of_what_has_not_begun_holds_for_its_grant(lab: Lab) -> None:
    """The re-check at the start goes by the extension's witness: the end is its."""
    ticket = await lab.approve(lab.ticket(starts_in=30, seconds=60))
    await lab.extend(ticket, seconds=60)
    assert await lab.story() == ["scheduled", "extended"]
    await run_to(lab, end_of(ticket) + 50 * S)
    assert lab.holds()
    granted = (await lab.said(access.AccessGranted))[0]
    assert granted.ends_at == end_of(ticket) + 60 * S


async def test_end_changed_behind_our_back_after_an_extension_is_not_granted(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(starts_in=30, seconds=60))
    await lab.extend(ticket, seconds=60)
    await lab.context.pool.execute("UPDATE claim SET ends_at = ends_at + interval '1 day'")
    await lab.run(60)
    assert await lab.story() == ["scheduled", "extended", "failed(witness_mismatch)"]


async def test_extension_while_aws_is_being_asked_holds_for_the_grant(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=60))
    await lab.run(1)
    await lab.extend(ticket, seconds=60)
    await run_to(lab, end_of(ticket) + 50 * S)
    assert lab.holds()
    assert await lab.story() == ["scheduled", "granting", "extended", "granted"]


async def test_engine_and_expiry_are_nudged_when_an_end_has_moved(lab: Lab) -> None:
    ticket = await active(lab)
    before = lab.nudges
    await lab.extend(ticket, seconds=60)
    assert lab.nudges == before + 1


# what is over stays over


async def test_extension_of_what_has_ended_is_too_late(lab: Lab) -> None:
    ticket = await active(lab, seconds=30)
    await lab.run(60)
    assert await lab.story() == [*GRANTED, *REVOKED]
    await lab.extend(ticket, seconds=600)
    await lab.run(60)
    assert await lab.story() == [*GRANTED, *REVOKED, "extension_failed(too_late)"]
    assert not lab.holds()
    assert lab.alerts() == set()
    versions = [fact.version for fact in await lab.said(access.AccessFact)]
    assert versions == sorted(set(versions))


async def test_extension_at_the_very_end_is_too_late_though_no_producer_has_run(lab: Lab) -> None:
    ticket = await active(lab)
    lab.clock.advance(end_of(ticket) - lab.now)
    await lab.extend(ticket, seconds=600)
    assert await lab.story() == [*GRANTED, "extension_failed(too_late)"]
    await lab.run(60)
    assert not lab.holds()


@pytest.mark.parametrize("lock", ["ticket", "assignment"])
async def test_extension_that_waits_for_a_lock_until_the_end_is_too_late(lab: Lab, lock: str) -> None:
    ticket = await active(lab)
    later = lab.extended(ticket, seconds=100)
    await lab.take(lab.extension_witness(later))
    async with lab.context.unit_of_work() as work:
        if lock == "ticket":
            await witnesses.lock_tickets(work, [ticket.id])
        else:
            await work.conn.fetch("SELECT id FROM assignment FOR UPDATE")
        taken = asyncio.create_task(lab.take(lab.extension_approval(later)))
        await until_somebody_waits(lab)
        lab.clock.advance(end_of(ticket) - lab.now)
    await taken
    assert await lab.story() == [*GRANTED, "extension_failed(too_late)"]


async def until_somebody_waits(lab: Lab) -> None:
    """For a lock that another transaction holds."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    await until(lambda: lab.context.pool.fetchval(waiting))


async def test_extension_while_it_is_revoked_is_too_late(lab: Lab) -> None:
    ticket = await active(lab)
    await run_to(lab, end_of(ticket) + 1 * S)
    assert lab.holds()
    await lab.extend(ticket, seconds=600)
    await lab.run(60)
    assert await lab.story() == [
        *GRANTED,
        "revoke_due(expired)",
        "extension_failed(too_late)",
        "revoked(expired)",
    ]
    assert not lab.holds()


async def test_extension_of_what_was_stopped_is_not_carried_out(lab: Lab) -> None:
    ticket = await active(lab)
    await lab.take(lab.stop(ticket))
    await lab.extend(ticket, seconds=600)
    await lab.run(60)
    assert not lab.holds()
    assert "extension_failed(stopped)" in await lab.story()


async def test_stop_after_an_extension_ends_it_all_the_same(lab: Lab) -> None:
    ticket = await active(lab)
    await lab.extend(ticket, seconds=600)
    await lab.take(lab.stop(ticket))
    await lab.run(60)
    assert not lab.holds()
    assert await lab.story() == [*GRANTED, "extended", "revoke_due(terminated)", "revoked(terminated)"]


async def by_stop(lab: Lab, ticket: tk.Ticket) -> None:
    await lab.take(lab.stop(ticket))


async def by_operator(lab: Lab, ticket: tk.Ticket) -> None:
    origin = Origin(Actor(kind="person", name="root", user_id="user-root"), lab.now, why="incident")
    async with lab.context.unit_of_work() as work:
        keys = await claims.open_claims(work.conn, [grant.id for grant in ticket.grants])
        await end_claims(work, keys, origin, cause=EndCause.REVOKED_BY_OPERATOR)


async def by_time(lab: Lab, ticket: tk.Ticket) -> None:
    lab.clock.advance(end_of(ticket) - lab.now)
    await lab.current.expiry.end_due()


@pytest.mark.parametrize(
    ("end", "cause", "code"),
    [
        (by_stop, "terminated", "stopped"),
        (by_operator, "revoked_by_operator", "stopped"),
        (by_time, "expired", "too_late"),
    ],
    ids=["stop", "operator", "time"],
)
async def test_what_ends_a_claim_fails_its_waiting_extensions_with_it(
    lab: Lab, end: Callable[[Lab, tk.Ticket], Any], cause: str, code: str
) -> None:
    ticket = await active(lab)
    await lab.run(30)
    later = lab.extended(ticket, seconds=600)
    await lab.take(lab.extension_approval(later))
    await end(lab, ticket)
    assert await lab.story() == [*GRANTED, f"revoke_due({cause})", f"extension_failed({code})"]
    await lab.take(lab.extension_witness(later))
    await lab.run(60)
    assert not lab.holds()
    assert await rows(lab) == [f"failed({code})"]
    assert await lab.story() == [
        *GRANTED,
        f"revoke_due({cause})",
        f"extension_failed({code})",
        f"revoked({cause})",
    ]


async def test_failure_of_a_claim_fails_its_waiting_extensions(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(starts_in=30, seconds=60))
    await lab.take(lab.extension_approval(lab.extended(ticket, seconds=60)))
    disabled = lab.context.policy.known().user(lab.user())
    assert disabled is not None
    lab.replace_document("provisioner", disabled.model_copy(update={"enabled": False}))
    await lab.run(40)
    assert await lab.story() == [
        "scheduled",
        "failed(user_disabled)",
        "extension_failed(not_granted)",
    ]


async def test_end_of_a_grant_that_failed_in_aws_fails_its_waiting_extensions(lab: Lab) -> None:
    lab.aws.fault(
        operation="CreateAccountAssignment", kind="error", code="AccessDeniedException", message="no"
    )
    ticket = await lab.approve(lab.ticket(seconds=600))
    await lab.take(lab.extension_approval(lab.extended(ticket, seconds=60)))
    await lab.run(40)
    assert await lab.story() == [
        "scheduled",
        "granting",
        "revoke_due(failed)",
        "extension_failed(not_granted)",
        "failed(aws_denied)",
    ]


# twice, early, of something else


async def test_extension_delivered_twice_has_one_effect(lab: Lab) -> None:
    ticket = await active(lab)
    later = lab.extended(ticket, seconds=100)
    events: list[Any] = [lab.extension_witness(later), lab.extension_approval(later)]
    await lab.take(*events, *events)
    assert await lab.story() == [*GRANTED, "extended"]


async def test_extension_said_again_in_other_events_has_one_effect(lab: Lab) -> None:
    ticket = await active(lab)
    later = lab.extended(ticket, seconds=100)
    for _ in range(2):
        await lab.take(lab.extension_witness(later), lab.extension_approval(later))
    assert await lab.story() == [*GRANTED, "extended"]
    await run_to(lab, end_of(ticket) + 140 * S)
    await lab.take(lab.extension_approval(later))
    assert await lab.story() == [*GRANTED, "extended", *REVOKED]


async def test_extension_before_its_approval_waits_for_the_claim(lab: Lab) -> None:
    ticket = lab.ticket(seconds=60)
    await lab.extend(ticket, seconds=60)
    await lab.run(20)
    assert await lab.story() == []
    await lab.take(lab.approval(ticket))
    assert await lab.story() == []
    await lab.take(lab.witness(ticket))
    assert await lab.story() == ["scheduled", "extended"]
    await run_to(lab, end_of(ticket) + 50 * S)
    assert lab.holds()


async def test_extension_whose_claim_never_comes_fails_after_the_wait_and_alerts(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    await lab.extend(ticket, seconds=60)
    await lab.run(55)
    assert await lab.story() == []
    await lab.run(15)
    assert await lab.story() == ["extension_failed(no_claim)"]
    assert lab.alerts() == {"no_claim"}
    await lab.approve(ticket)
    await lab.run(20)
    assert await lab.story() == ["extension_failed(no_claim)", *GRANTED]
    assert (await lab.said(access.AccessGranted))[0].ends_at == end_of(ticket)


async def test_extension_of_a_claim_that_waits_in_vain_is_not_carried_out(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    await lab.take(lab.approval(ticket))
    await lab.extend(ticket, seconds=60)
    await lab.run(70)
    assert await lab.story() == ["failed(no_witness)", "extension_failed(not_granted)"]


async def test_extension_of_a_claim_whose_stop_came_first_is_not_carried_out(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    await lab.take(lab.stop(ticket))
    await lab.extend(ticket, seconds=60)
    await lab.approve(ticket)
    await lab.run(20)
    assert await lab.story() == [
        "revoke_due(terminated)",
        "failed(terminated)",
        "extension_failed(stopped)",
    ]


async def test_extension_without_witness_fails_after_the_wait_and_alerts(lab: Lab) -> None:
    ticket = await active(lab, seconds=600)
    await lab.take(lab.extension_approval(lab.extended(ticket, seconds=60)))
    await lab.run(55)
    assert await lab.story() == GRANTED
    await lab.run(15)
    assert await lab.story() == [*GRANTED, "extension_failed(no_witness)"]
    assert lab.alerts() == {"no_witness"}
    await run_to(lab, end_of(ticket) + 40 * S)
    assert not lab.holds()


async def test_extension_of_another_revision_is_not_carried_out(lab: Lab) -> None:
    ticket = await active(lab)
    target = ticket.targets[0].model_copy(update={"revision": 2})
    other = ticket.model_copy(update={"targets": (target,)})
    await lab.extend(other, seconds=600)
    assert await lab.story() == [*GRANTED, "extension_failed(revision_mismatch)"]


async def test_extension_to_an_end_that_is_no_later_changes_nothing(lab: Lab) -> None:
    ticket = await active(lab)
    longer = await lab.extend(ticket, seconds=100)
    shorter = ticket.model_copy(update={"version": longer.version})
    await lab.extend(shorter, seconds=100)
    await lab.extend(shorter, seconds=-10)
    assert await lab.story() == [
        *GRANTED,
        "extended",
        "extension_failed(not_longer)",
        "extension_failed(not_longer)",
    ]
    await run_to(lab, end_of(ticket) + 90 * S)
    assert lab.holds()


async def test_extension_without_a_window_is_left_out(lab: Lab) -> None:
    ticket = await active(lab)
    later = lab.extended(ticket, seconds=100)
    unsaid = later.model_copy(
        update={"extensions": (later.extensions[0].model_copy(update={"window": None}),)}
    )
    await lab.take(lab.extension_witness(later), lab.extension_approval(unsaid, content_hash="0" * 64))
    assert await rows(lab) == []


# forged


@pytest.mark.parametrize("forger", ["ticket", "approval", "both but not what is done"])
async def test_disagreement_about_the_extension_moves_nothing_and_alerts(lab: Lab, forger: str) -> None:
    ticket = await active(lab)
    later, other = lab.extended(ticket, seconds=100), {"content_hash": "0" * 64}
    await lab.take(
        lab.extension_witness(later, **({} if forger == "ticket" else other)),
        lab.extension_approval(later, **({} if forger == "approval" else other)),
    )
    assert await lab.story() == [*GRANTED, "extension_failed(witness_mismatch)"]
    assert lab.alerts() == {"witness_mismatch"}
    await run_to(lab, end_of(ticket) + 40 * S)
    assert not lab.holds()


@pytest.mark.parametrize("forged", ["a later end", "another grant"])
async def test_extension_of_something_else_than_was_witnessed_moves_nothing(lab: Lab, forged: str) -> None:
    ticket = await active(lab, "ann", "bob")
    ann = (ticket.grants[0].id,)
    approved = lab.extended(ticket, seconds=100, grants=ann)
    extension = approved.extensions[0]
    asked = (
        lab.extended(ticket, seconds=101, grants=ann, id=extension.id)
        if forged == "a later end"
        else lab.extended(ticket, seconds=100, id=extension.id)
    )
    await lab.take(lab.extension_witness(approved), lab.extension_approval(asked))
    assert await lab.said(access.AccessExtended) == []
    assert {fact.code for fact in await lab.said(access.AccessExtensionFailed)} == {"witness_mismatch"}


async def test_witness_of_the_target_is_none_of_its_extension(lab: Lab) -> None:
    ticket = await active(lab)
    later = lab.extended(ticket, seconds=100)
    replayed = lab.witness(ticket, subject_kind=SubjectKind.EXTENSION, subject_id=later.extensions[0].id)
    hash_of_target = replayed.event.content_hash
    await lab.take(replayed, lab.extension_approval(later, content_hash=hash_of_target))
    assert await lab.story() == [*GRANTED, "extension_failed(witness_mismatch)"]


async def test_witness_under_the_id_of_the_extension_but_of_a_target_counts_for_nothing(lab: Lab) -> None:
    ticket = await active(lab, seconds=600)
    later = lab.extended(ticket, seconds=100)
    await lab.take(
        lab.extension_witness(later, subject_kind=SubjectKind.TARGET), lab.extension_approval(later)
    )
    await lab.run(70)
    assert await lab.story() == [*GRANTED, "extension_failed(no_witness)"]


async def test_witness_of_an_extension_is_none_of_a_target(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    later = lab.extended(ticket, seconds=100)
    replayed = lab.extension_witness(
        later, subject_kind=SubjectKind.TARGET, subject_id=ticket.targets[0].subject_id
    )
    await lab.take(replayed, lab.approval(ticket, content_hash=replayed.event.content_hash))
    assert await lab.story() == ["failed(witness_mismatch)"]


@pytest.mark.parametrize("voter", ["eve", "ann", "bob"], ids=["outsider", "beneficiary", "who asked for it"])
async def test_extension_without_enough_votes_moves_nothing_and_alerts(lab: Lab, voter: str) -> None:
    owners = (lab.user("carl"), lab.user("ann"), lab.user("bob"))
    lab.replace_members("group-owners", *owners)
    ticket = await active(lab)
    bob = ticket.requester.model_copy(update={"user_id": lab.user("bob"), "user_name": "bob"})
    later = lab.extended(ticket, seconds=100, requested_by=bob)
    await lab.take(
        lab.extension_witness(later, votes=(vote(lab.user(voter), at=lab.now),)),
        lab.extension_approval(later),
    )
    assert await lab.story() == [*GRANTED, "extension_failed(witness_invalid)"]
    assert lab.alerts() == {"witness_invalid"}


async def test_extension_is_weighed_by_the_rule_for_the_whole_length(lab: Lab) -> None:
    rule = lab.context.policy.known().get(doc.ApprovalRule, "all")
    assert rule is not None
    short = {"accounts": f"acct:{lab.account()}", "stages": (), "auto_approve_up_to": timedelta(minutes=3)}
    lab.replace_document("approval", rule.model_copy(update=short))
    ticket = lab.ticket(seconds=120)
    await lab.take(lab.witness(ticket, votes=(), auto_approved_by="all"), lab.approval(ticket))
    for seconds in (60, 61):
        later = lab.extended(ticket, seconds=seconds)
        witness = lab.extension_witness(later, votes=(), auto_approved_by="all")
        await lab.take(witness, lab.extension_approval(later))
    assert await lab.story() == ["scheduled", "extended", "extension_failed(witness_invalid)"]


# what has changed since


async def test_extension_beyond_what_the_policy_allows_now_moves_nothing(lab: Lab) -> None:
    ticket = await active(lab)
    scope = lab.context.policy.known().get(doc.AccessScope, "all")
    assert scope is not None
    lab.replace_document("ticket", scope.model_copy(update={"max_duration": timedelta(seconds=120)}))
    within = await lab.extend(ticket, seconds=60)
    await lab.extend(within, seconds=61)
    assert await lab.story() == [*GRANTED, "extended", "extension_failed(not_permitted)"]
    assert lab.alerts() == set()


def _set(lab: Lab) -> doc.Document:
    found = lab.context.policy.known().get(doc.PermissionSet, lab.arn().rsplit("/", 1)[1])
    assert found is not None
    return found.model_copy(update={"digest": "another"})


def _account(lab: Lab) -> doc.Document:
    found = lab.context.policy.known().get(doc.Account, lab.account())
    assert found is not None
    return found.model_copy(update={"state": "SUSPENDED"})


CHANGES: dict[str, tuple[str, Callable[[Lab], Sequence[doc.Document]]]] = {
    "set_changed": ("provisioner", lambda lab: [_set(lab)]),
    "account_not_active": ("provisioner", lambda lab: [_account(lab)]),
    "account_not_registered": ("ticket", lambda lab: [doc.RegisteredAccount(id=lab.account()).tombstone()]),
    "not_permitted": ("provisioner", lambda _: org.members("group-dev")),
}


@pytest.mark.parametrize("code", CHANGES)
async def test_recheck_that_fails_leaves_the_end_as_it_is(lab: Lab, code: str) -> None:
    ticket = await active(lab)
    owner, change = CHANGES[code]
    lab.replace_document(owner, *change(lab))
    await lab.extend(ticket, seconds=600)
    assert await lab.story() == [*GRANTED, f"extension_failed({code})"]
    [fact] = await lab.said(access.AccessExtensionFailed)
    assert fact.ends_at == end_of(ticket)
    await run_to(lab, end_of(ticket) + 40 * S)
    assert not lab.holds()


async def test_extension_without_the_policy_waits_and_is_carried_out_when_it_is_there(lab: Lab) -> None:
    ticket = await active(lab, seconds=600)
    copy = lab.context.policy._copies["ticket"]
    copy.verified = False
    await lab.extend(ticket, seconds=60)
    await lab.run(120)
    assert await rows(lab) == ["waiting"]
    copy.verified = True
    await lab.run(10)
    assert await lab.story() == [*GRANTED, "extended"]


async def test_extension_that_waits_for_the_policy_until_the_end_is_too_late(lab: Lab) -> None:
    ticket = await active(lab)
    lab.context.policy._copies["ticket"].verified = False
    await lab.extend(ticket, seconds=600)
    await run_to(lab, end_of(ticket) + 40 * S)
    assert await lab.story() == [
        *GRANTED,
        "revoke_due(expired)",
        "extension_failed(too_late)",
        "revoked(expired)",
    ]
    assert not lab.holds()


async def test_extension_waits_for_the_judgement_of_what_it_extends(lab: Lab) -> None:
    """The approval of the access itself is judged before the grant, since the policy was not ready."""
    copy = lab.context.policy._copies["approval"]
    copy.verified = False
    ticket = lab.ticket(starts_in=30, seconds=60)
    await lab.take(lab.witness(ticket, votes=()), lab.approval(ticket))
    copy.verified = True
    await lab.extend(ticket, seconds=60)
    await lab.run(20)
    assert await lab.story() == ["scheduled"]
    await lab.run(20)
    assert await lab.story() == [
        "scheduled",
        "failed(witness_invalid)",
        "extension_failed(not_granted)",
    ]


async def test_retries_do_not_hold_each_other_up(lab: Lab) -> None:
    """More than one step looks at: all of them are looked at in the end."""
    tickets = [await lab.approve(lab.ticket("ann", "bob", seconds=600)) for _ in range(12)]
    copy = lab.context.policy._copies["ticket"]
    copy.verified = False
    for ticket in tickets:
        await lab.extend(ticket, seconds=60)
    copy.verified = True
    for _ in range(4):
        lab.clock.advance(5 * S)
        await lab.current.expiry.step()
    assert await rows(lab) == ["extended"] * 24


async def test_extension_that_breaks_is_put_aside_and_stops_no_other(lab: Lab) -> None:
    accounts = ("orders-prod", "orders-dev")
    broken, good = [await lab.approve(lab.ticket(account=one, seconds=600)) for one in accounts]
    copy = lab.context.policy._copies["ticket"]
    copy.verified = False
    later = lab.extended(broken, seconds=60)
    await lab.take(lab.extension_approval(later))
    await lab.context.pool.execute(
        """
        INSERT INTO witness (subject_kind, subject_id, ticket_id, content_hash, event_id, received_at, votes,
            revisions, approved_at)
        VALUES ('extension', $1, $2, '', '', $3, '[{"no": "vote"}]', '{}', $3)
        """,
        later.extensions[0].id,
        broken.id,
        lab.now,
    )
    await lab.extend(good, seconds=60)
    copy.verified = True
    lab.clock.advance(5 * S)
    await lab.current.expiry.step()
    assert "extended" in await lab.story(good)
    assert sorted(await rows(lab)) == ["extended", "waiting"]
    assert lab.alerts() == {"extension"}
    again = await lab.context.pool.fetchval("SELECT next_at FROM extension WHERE ticket_id = $1", broken.id)
    assert again == lab.now + 60 * S


async def test_extension_that_names_another_tickets_grant_is_none_of_it(lab: Lab) -> None:
    victim = await active(lab, seconds=900)
    other = lab.ticket(account="orders-dev", seconds=900).model_copy(update={"grants": victim.grants})
    await lab.extend(other, seconds=60)
    assert await lab.story() == GRANTED
    await lab.run(130)
    assert await lab.story(victim) == GRANTED
    assert await lab.story(other) == ["extension_failed(no_claim)"]


async def test_other_tickets_extension_that_came_first_is_none_of_the_claim(lab: Lab) -> None:
    victim = lab.ticket(seconds=900)
    other = lab.ticket(account="orders-dev", seconds=900).model_copy(update={"grants": victim.grants})
    await lab.extend(other, seconds=60)
    await lab.approve(victim)
    await lab.run(130)
    assert await lab.story(victim) == GRANTED
    assert await lab.story(other) == ["extension_failed(no_claim)"]


async def test_who_asks_for_the_extension_stays_a_party_of_the_claim(lab: Lab) -> None:
    """They have no vote at the re-check before the grant either."""
    ticket = await lab.approve(lab.ticket(starts_in=30, seconds=60))
    dora = Person(user_id=lab.user("dora"), user_name="dora")
    await lab.extend(ticket, seconds=60, requested_by=dora)
    assert await lab.story() == ["scheduled", "extended"]
    parties = await lab.context.pool.fetchval("SELECT parties FROM claim")
    assert parties == sorted([lab.user("ann"), lab.user("dora")])


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("claim", "user_id"),
        ("claim", "account_id"),
        ("claim", "starts_at"),
        ("extension", "ends_at"),
        ("extension", "ticket_id"),
    ],
)
async def test_what_was_approved_cannot_be_rewritten(lab: Lab, table: str, column: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await lab.context.pool.execute(f"UPDATE {table} SET {column} = {column}")
