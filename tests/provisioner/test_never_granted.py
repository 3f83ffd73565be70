"""What ended before it was granted: failed, with the cause of its end, and never called taken away.

Each cause of an end at each moment of a grant, against the simulator. The judge of what was there is the
simulator's own record.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from services.provisioner.commands.ends import end_claims
from services.provisioner.commands.stops import CAUSES
from services.provisioner.store import claims
from services.provisioner.store.commit_log import REVOKED_LATENESS
from services.provisioner.views import grant
from shared.contracts import access
from shared.contracts import ticket as tk
from shared.contracts.access import EndCause
from shared.contracts.change import Origin
from shared.contracts.event import Actor
from shared.contracts.stop import StopFact
from tests.support.provisioner_lab import Lab

CREATE = "CreateAccountAssignment"
WINDOW_S = 12


def before_any_call(lab: Lab) -> None:
    """AWS takes no call: there is nothing to wait for, nor to delete."""
    lab.aws.fault(operation=CREATE, kind="error", code="ThrottlingException", times=99)


def creation_fails(lab: Lab) -> None:
    """AWS takes each call, and fails."""
    lab.aws.fault(operation=CREATE, kind="fail_async", partial=False, times=99)


def created_and_unseen(lab: Lab) -> None:
    """AWS says that it was made, and does not list it before it is deleted again."""
    lab.aws.change_settings(list_lag_seconds=300)


def creation_outlives_the_end(lab: Lab) -> None:
    lab.aws.fault(operation=CREATE, kind="duration", seconds=30, times=1)


async def by_time(lab: Lab, _: tk.Ticket) -> None:
    await lab.run(WINDOW_S)


def by_stop(cls: type[StopFact]) -> Callable[[Lab, tk.Ticket], Awaitable[None]]:
    async def stop(lab: Lab, ticket: tk.Ticket) -> None:
        await lab.take(lab.stop(ticket, cls))

    return stop


async def by_operator(lab: Lab, ticket: tk.Ticket) -> None:
    origin = Origin(Actor(kind="person", name="root", user_id="user-root"), lab.now, why="incident")
    async with lab.context.unit_of_work() as work:
        keys = await claims.open_claims(work.conn, [grant.id for grant in ticket.grants])
        await end_claims(work, keys, origin, cause=EndCause.REVOKED_BY_OPERATOR)


ENDS = {
    EndCause.EXPIRED: by_time,
    **{cause: by_stop(cls) for cls, cause in CAUSES.items()},
    EndCause.REVOKED_BY_OPERATOR: by_operator,
}


def observed() -> float:
    return sum(
        one.value for one in next(iter(REVOKED_LATENESS.collect())).samples if one.name.endswith("_count")
    )


async def ended(lab: Lab, cause: EndCause, *, after: float = 5) -> tk.Ticket:
    """Approved, its grant begun, and then ended by `cause`."""
    seconds = WINDOW_S if cause is EndCause.EXPIRED else 600
    ticket = await lab.approve(lab.ticket(seconds=seconds))
    await lab.run(after)
    await ENDS[cause](lab, ticket)
    return ticket


@pytest.mark.parametrize("cause", ENDS)
@pytest.mark.parametrize("hinder", [before_any_call, creation_fails, created_and_unseen])
async def test_what_was_never_seen_is_failed_by_the_cause_of_its_end(
    lab: Lab, cause: EndCause, hinder: Callable[[Lab], None]
) -> None:
    hinder(lab)
    before = observed()
    ticket = await ended(lab, cause)
    if not await lab.said(access.AccessFailed):  # at once, where AWS has refused each call
        await lab.run_until(access.AccessFailed)
    [failed] = await lab.said(access.AccessFailed)
    assert await lab.story() == ["scheduled", "granting", f"revoke_due({cause})", f"failed({cause})"]
    assert (failed.credentials_until, failed.kept_by) == (None, ())
    assert not lab.holds()
    assert observed() == before
    async with lab.context.pool.acquire() as conn:
        shown = await grant(conn, ticket.grants[0].id)
    assert shown is not None
    assert (shown["state"], shown["code"], shown["end_cause"]) == ("failed", cause, cause)
    assert (shown["granted_at"], shown["credentials_until"]) == (None, None)


@pytest.mark.parametrize("cause", ENDS)
async def test_what_appears_after_its_end_is_deleted_and_failed_with_its_credentials(
    lab: Lab, cause: EndCause
) -> None:
    creation_outlives_the_end(lab)
    await ended(lab, cause)
    failed = await lab.run_until(access.AccessFailed)
    [(_, began, gone)] = lab.presence()
    assert began < failed.at
    assert gone is not None
    assert (await lab.story())[-1] == f"failed({cause})"
    assert failed.request_id is not None
    assert failed.credentials_until is not None
    assert failed.credentials_until >= gone + timedelta(hours=1)


@pytest.mark.parametrize("cause", ENDS)
async def test_what_was_granted_is_revoked_by_the_cause_of_its_end(lab: Lab, cause: EndCause) -> None:
    before = observed()
    await ended(lab, cause, after=10)
    revoked = await lab.run_until(access.AccessRevoked)
    assert (await lab.story())[2:] == ["granted", f"revoke_due({cause})", f"revoked({cause})"]
    assert revoked.credentials_until is not None
    assert observed() == before + 1


async def test_stop_before_the_first_success_names_the_grant_that_keeps_the_access(lab: Lab) -> None:
    """One creation would have served both: what it makes is the other's."""
    creation_outlives_the_end(lab)
    stopped = await lab.approve(lab.ticket(seconds=600))
    kept = await lab.approve(lab.ticket(seconds=600))
    await lab.run(5)
    await lab.take(lab.stop(stopped))
    await lab.run(60)
    assert await lab.story(stopped) == [
        "scheduled",
        "granting",
        "revoke_due(terminated)",
        "failed(terminated)",
    ]
    assert await lab.story(kept) == ["scheduled", "granting", "granted"]
    [failed] = await lab.said(access.AccessFailed)
    assert (failed.kept_by, failed.credentials_until) == ((kept.grants[0].id,), None)
    assert "goes on" in failed.detail
    assert lab.holds()
