"""What other services say, in whatever order and how often; and the re-check before anything is asked."""

from datetime import timedelta
from typing import Any

import pytest

from shared.contracts import access
from shared.contracts import documents as doc
from shared.contracts import stop as stops
from shared.contracts.event import Actor
from tests.support import organisation as org
from tests.support.harness import received
from tests.support.provisioner_lab import Lab

S = timedelta(seconds=1)
CREATE = "CreateAccountAssignment"
STOPPED = {
    stops.TicketTerminated: "terminated",
    stops.TicketReturned: "returned",
    stops.TicketWithdrawn: "withdrawn",
}


# approval and witness


@pytest.mark.parametrize("order", ["approval first", "witness first"])
async def test_scheduled_when_both_services_have_said_the_same(lab: Lab, order: str) -> None:
    ticket = lab.ticket(starts_in=60)
    both: list[Any] = [lab.approval(ticket), lab.witness(ticket)]
    for event in both if order == "approval first" else reversed(both):
        assert await lab.story() == []
        await lab.take(event)
    assert await lab.story() == ["scheduled"]
    # A witness that nothing waits for moves nothing.
    assert lab.nudges == (2 if order == "approval first" else 1)


async def test_scheduled_says_whose_window_it_is_and_what_caused_it(lab: Lab) -> None:
    ticket = lab.ticket(starts_in=60)
    approval = lab.approval(ticket)
    await lab.take(approval, lab.witness(ticket))
    [fact] = await lab.said(access.AccessScheduled)
    window = ticket.targets[0].window
    assert window is not None
    assert (fact.subject, fact.grant_id, fact.version) == (ticket.id, ticket.grants[0].id, 1)
    assert (fact.starts_at, fact.ends_at) == (window.starts_at, window.ends_at)
    assert fact.cause is not None
    assert fact.actor == Actor.service("provisioner")


async def test_approval_without_witness_fails_after_the_wait_and_alerts(lab: Lab) -> None:
    await lab.take(lab.approval(lab.ticket(seconds=600)))
    await lab.run(59)
    assert await lab.story() == []
    await lab.run(10)
    assert await lab.story() == ["failed(no_witness)"]
    assert "no_witness" in lab.alerts()
    assert not lab.aws.records.calls


async def test_witness_that_comes_within_the_wait_is_in_time(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    await lab.take(lab.approval(ticket))
    await lab.run(50)
    await lab.take(lab.witness(ticket))
    await lab.run(20)
    assert lab.holds()


async def test_witness_that_comes_too_late_changes_nothing(lab: Lab) -> None:
    ticket = lab.ticket(seconds=600)
    await lab.take(lab.approval(ticket))
    await lab.run(70)
    await lab.take(lab.witness(ticket))
    await lab.run(20)
    assert await lab.story() == ["failed(no_witness)"]
    assert not lab.holds()


@pytest.mark.parametrize("forger", ["ticket", "approval", "both but not what is done"])
async def test_disagreement_about_what_was_approved_fails_and_alerts(lab: Lab, forger: str) -> None:
    ticket = lab.ticket(seconds=600)
    other = {"content_hash": "0" * 64}
    await lab.take(
        lab.witness(ticket, **({} if forger == "ticket" else other)),
        lab.approval(ticket, **({} if forger == "approval" else other)),
    )
    await lab.run(30)
    assert await lab.story() == ["failed(witness_mismatch)"]
    assert "witness_mismatch" in lab.alerts()
    assert not lab.aws.records.calls


@pytest.mark.parametrize(
    "forged",
    [
        {"account_id": "000000000001"},
        {"set_digest": "other"},
        {"set_id": "ps-0000000000000000"},
        {"revision": 2},
        {"window": "longer"},
    ],
    ids=lambda forged: next(iter(forged)),
)
async def test_approval_of_something_else_than_was_witnessed_opens_nothing(
    lab: Lab, forged: dict[str, Any]
) -> None:
    ticket = lab.ticket(seconds=600)
    target = ticket.targets[0]
    assert target.window is not None
    if "window" in forged:
        forged = {"window": target.window.model_copy(update={"ends_at": target.window.ends_at + S})}
    changed = ticket.model_copy(update={"targets": (target.model_copy(update=forged),)})
    await lab.take(lab.witness(ticket), lab.approval(changed))
    await lab.run(70)
    assert (await lab.story())[0] in {"failed(witness_mismatch)", "failed(no_witness)"}
    assert not lab.calls(CREATE)


async def test_another_beneficiary_than_was_witnessed_opens_nothing(lab: Lab) -> None:
    ticket = lab.ticket("ann", seconds=600)
    grant = ticket.grants[0].model_copy(update={"beneficiary": lab.user("eve")})
    changed = ticket.model_copy(update={"grants": (grant,)})
    await lab.take(lab.witness(ticket), lab.approval(changed))
    await lab.run(30)
    assert await lab.story() == ["failed(witness_mismatch)"]


async def test_claim_changed_behind_our_back_is_not_granted(lab: Lab) -> None:
    """The third computation of the hash is over what is stored and about to be done."""
    ticket = await lab.approve(lab.ticket(seconds=600, starts_in=10))
    await lab.context.pool.execute("UPDATE claim SET ends_at = ends_at + interval '1 day'")
    await lab.run(30)
    assert await lab.story(ticket) == ["scheduled", "failed(witness_mismatch)"]
    assert not lab.calls(CREATE)


async def test_approval_of_one_target_leaves_the_others_alone(lab: Lab) -> None:
    one, two = lab.ticket(), lab.ticket(account="orders-dev")
    both = one.model_copy(
        update={
            "targets": (one.targets[0], two.targets[0]),
            "grants": (one.grants[0], two.grants[0]),
        }
    )
    await lab.approve(both)
    assert await lab.context.pool.fetchval("SELECT count(*) FROM claim") == 1


# twice and out of order


async def test_every_event_delivered_twice_has_one_effect(lab: Lab) -> None:
    ticket = lab.ticket()
    events: list[Any] = [lab.approval(ticket), lab.witness(ticket)]
    await lab.take(*events, *events)
    await lab.run(10)
    stop = lab.stop(ticket)
    await lab.take(stop, stop)
    await lab.run(60)
    assert await lab.story() == [
        "scheduled", "granting", "granted", "revoke_due(terminated)", "revoked(terminated)",
    ]  # fmt: skip


async def test_approval_said_again_in_another_event_has_one_effect(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket())
    await lab.approve(ticket)
    await lab.run(10)
    assert await lab.story() == ["scheduled", "granting", "granted"]


@pytest.mark.parametrize("cls", STOPPED)
async def test_stop_of_active_access_ends_it_and_names_who_stopped_it(
    lab: Lab, cls: type[stops.StopFact]
) -> None:
    ticket = await lab.approve(lab.ticket(seconds=600))
    await lab.run_until(access.AccessGranted)
    await lab.take(lab.stop(ticket, cls))
    await lab.run_until(access.AccessRevoked)
    [due] = await lab.said(access.AccessRevokeDue)
    assert due.cause_of_end == STOPPED[cls]
    assert (due.actor.name, due.why) == ("carl", "not needed any more")
    assert not lab.holds()


@pytest.mark.parametrize("cls", STOPPED)
async def test_stop_that_arrives_before_the_approval_is_absorbing(
    lab: Lab, cls: type[stops.StopFact]
) -> None:
    ticket = lab.ticket(seconds=600)
    await lab.take(lab.stop(ticket, cls, version=99), lab.witness(ticket), lab.approval(ticket))
    await lab.run(30)
    assert await lab.story() == [f"revoke_due({STOPPED[cls]})", f"failed({STOPPED[cls]})"]
    assert not lab.aws.records.calls


async def test_stop_before_the_start_ends_it_without_asking_aws(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(starts_in=60))
    await lab.take(lab.stop(ticket))
    await lab.run(120)
    assert await lab.story() == ["scheduled", "revoke_due(terminated)", "failed(terminated)"]
    assert not lab.aws.records.calls


async def test_stop_while_creating_revokes_when_the_creation_has_ended(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=600))
    await lab.run(1)
    await lab.take(lab.stop(ticket))
    await lab.run_until(access.AccessFailed)
    assert await lab.story() == [
        "scheduled", "granting", "revoke_due(terminated)", "failed(terminated)",
    ]  # fmt: skip
    assert not lab.holds()


async def test_stop_of_one_grant_leaves_the_others_of_the_ticket(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket("ann", "bob", seconds=600))
    await lab.run(20)
    mine = next(grant.id for grant in ticket.grants if grant.beneficiary == lab.user("ann"))
    await lab.take(lab.stop(ticket, stops.TicketReturned, grant_ids=(mine,)))
    await lab.run(40)
    assert not lab.holds("ann")
    assert lab.holds("bob")


async def test_stop_of_another_grant_leaves_this_one(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=600))
    await lab.run(20)
    await lab.take(lab.stop(ticket, grant_ids=("another",)))
    await lab.run(40)
    assert lab.holds()


async def test_stop_of_an_older_version_is_applied(lab: Lab) -> None:
    ticket = await lab.approve(lab.ticket(seconds=600))
    await lab.run(20)
    await lab.take(lab.stop(ticket, version=0))
    await lab.run(40)
    assert not lab.holds()


async def test_approval_without_a_window_is_left_out(lab: Lab) -> None:
    ticket = lab.ticket()
    target = ticket.targets[0].model_copy(update={"window": None})
    changed = ticket.model_copy(update={"targets": (target,)})
    approval = lab.approval(ticket).event.model_copy(update={"ticket": changed})
    await lab.take(received(approval, source="ticket"))
    assert await lab.context.pool.fetchval("SELECT count(*) FROM claim") == 0


# the re-check at granting


def account(lab: Lab, **changes: Any) -> doc.Document:
    found = lab.context.policy.known().get(doc.Account, lab.account())
    assert found is not None
    return found.model_copy(update=changes)


def permission_set(lab: Lab, **changes: Any) -> doc.Document:
    found = lab.context.policy.known().get(doc.PermissionSet, lab.arn().rsplit("/", 1)[1])
    assert found is not None
    return found.model_copy(update=changes)


def ann(lab: Lab, **changes: Any) -> doc.Document:
    found = lab.context.policy.known().get(doc.User, lab.user())
    assert found is not None
    return found.model_copy(update=changes)


CHANGES: dict[str, tuple[str, Any]] = {
    "account_unknown": ("provisioner", lambda lab: account(lab, deleted=True)),
    "account_not_active": ("provisioner", lambda lab: account(lab, state="SUSPENDED")),
    "account_not_registered": (
        "ticket",
        lambda lab: doc.RegisteredAccount(id=lab.account(), deleted=True),
    ),
    "account_protected": ("provisioner", lambda lab: account(lab, management=True)),
    "session_too_long": (
        "provisioner",
        lambda lab: permission_set(lab, session_duration=timedelta(hours=2)),
    ),
    "set_unknown": ("provisioner", lambda lab: permission_set(lab, deleted=True)),
    "set_changed": ("provisioner", lambda lab: permission_set(lab, digest="another")),
    "set_not_registered": (
        "ticket",
        lambda lab: doc.RegisteredSet(id=lab.arn().rsplit("/", 1)[1], deleted=True),
    ),
    "user_unknown": ("provisioner", lambda lab: ann(lab, deleted=True)),
    "user_disabled": ("provisioner", lambda lab: ann(lab, enabled=False)),
    "not_permitted": (
        "provisioner",
        lambda _lab: org.members("group-dev"),
    ),
}


@pytest.mark.parametrize("code", CHANGES)
async def test_recheck_that_fails_at_the_start_is_final_and_calls_nothing(lab: Lab, code: str) -> None:
    owner, change = CHANGES[code]
    await lab.approve(lab.ticket(starts_in=60, seconds=600))
    changed = change(lab)
    lab.replace_document(owner, *(changed if isinstance(changed, list) else [changed]))
    await lab.run(120)
    assert await lab.story() == ["scheduled", f"failed({code})"]
    assert not lab.aws.records.calls


async def test_recheck_of_a_longer_window_than_the_policy_allows_now_fails(lab: Lab) -> None:
    await lab.approve(lab.ticket(starts_in=60, seconds=600))
    scope = lab.context.policy.known().get(doc.AccessScope, "all")
    assert scope is not None
    lab.replace_document("ticket", scope.model_copy(update={"max_duration": timedelta(seconds=599)}))
    await lab.run(70)
    assert await lab.story() == ["scheduled", "failed(not_permitted)"]


async def test_recheck_without_the_policy_waits_and_grants_when_it_is_there(lab: Lab) -> None:
    copy = lab.context.policy._copies["ticket"]
    await lab.approve(lab.ticket(seconds=600))
    copy.verified = False
    await lab.run(60)
    assert await lab.story() == ["scheduled"]
    assert not lab.aws.records.calls
    copy.verified = True
    await lab.run(20)
    assert lab.holds()


async def test_window_that_ends_while_the_policy_is_waited_for_has_failed(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=30))
    lab.context.policy._copies["ticket"].verified = False
    await lab.run(60)
    assert await lab.story() == ["scheduled", "revoke_due(expired)", "failed(expired)"]
    assert not lab.aws.records.calls


async def test_end_needs_no_policy(lab: Lab) -> None:
    await lab.approve(lab.ticket(seconds=60))
    await lab.run_until(access.AccessGranted)
    lab.context.policy._copies["ticket"].verified = False
    await lab.run_until(access.AccessRevoked)
    assert not lab.holds()


async def test_granting_is_committed_before_the_call(lab: Lab) -> None:
    lab.aws.fault(operation=CREATE, kind="reset_before", times=1)
    await lab.approve(lab.ticket())
    await lab.run(0)
    assert await lab.story() == ["scheduled", "granting"]
    row = await lab.row()
    assert row["ours"]
    assert row["op_kind"] == "create"
    assert row["op_request_id"] is None
