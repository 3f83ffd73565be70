"""What a look may be answered by: rules that only a mutant found untested (bench/mutations/ends.py)."""

from datetime import timedelta
from typing import Any

import pytest

from services.provisioner.domain.assignments import Assignment, Observed
from services.provisioner.domain.claims import Claim, ClaimState
from services.provisioner.reconcile import looking
from services.provisioner.reconcile.parts import EngineParts
from shared.contracts import access
from tests.support.harness import NOW
from tests.support.provisioner_domain import claim, row
from tests.support.provisioner_lab import Lab

S = timedelta(seconds=1)
GRANTING, ENDING = claim(ClaimState.GRANTING), claim(ClaimState.REVOKING)


def anns(lab: Lab, *claims: Claim, **changes: Any) -> Assignment:
    """Her ReadOnly on orders-prod, which is AWS's as the lab has it."""
    ids = {
        "user_id": lab.user("ann"),
        "account_id": lab.account("orders-prod"),
        "set_arn": lab.arn("ReadOnly"),
    }
    return row(*claims, **ids, **changes)


def by_hand(lab: Lab, action: str) -> None:
    lab.aws.edit(action=action, user="ann", account="orders-prod", permission_set="ReadOnly")


async def read(lab: Lab) -> EngineParts:
    """Somebody else's visit lists the same, a moment before."""
    await lab.current.lease.renew()
    parts = lab.current.engine.parts
    await parts.reads.holders(lab.account("orders-prod"), lab.arn("ReadOnly"))
    return parts


async def test_what_is_not_ours_is_read_in_the_visit_that_releases_it(lab: Lab) -> None:
    """Somebody has taken it away since: nothing keeps the access."""
    by_hand(lab, "add_assignment")
    parts = await read(lab)
    by_hand(lab, "remove_assignment")
    assert not (await looking.look(parts, anns(lab, ENDING), beginning=False)).found


async def test_what_was_deleted_is_read_anew_to_see_it_gone(lab: Lab) -> None:
    parts = await read(lab)
    by_hand(lab, "add_assignment")
    deleted = anns(lab, ENDING, ours=True, observed=Observed.DELETED)
    assert (await looking.look(parts, deleted, beginning=False)).found


@pytest.mark.parametrize("others", [(), (GRANTING,)])
async def test_look_before_a_creation_is_no_older_than_the_newest_claim(
    lab: Lab, others: tuple[Claim, ...]
) -> None:
    """Its window has been open for long; what somebody made before it came is not JIT's."""
    parts = await read(lab)
    lab.clock.advance(S)
    by_hand(lab, "add_assignment")
    newest = claim(ClaimState.GRANTING, id="grant-2", received_at=NOW + S)
    wanted = anns(lab, *others, newest, ours=True, observed=Observed.ABSENT, desired="present")
    assert (await looking.look(parts, wanted, beginning=False)).found


@pytest.mark.parametrize(
    ("observed", "priority"),
    [
        (Observed.PRESENT, "revoke"),
        (Observed.CREATED, "revoke"),
        (Observed.DOUBTFUL, "revoke"),
        (Observed.DELETED, "verify"),
        (Observed.ABSENT, "verify"),
    ],
)
def test_look_before_a_deletion_goes_before_those_that_confirm_one(observed: Observed, priority: str) -> None:
    assert looking._priority(row(ENDING, observed=observed, ours=True), beginning=False) == priority


async def test_claim_whose_window_opens_during_a_look_begins_with_one_of_its_own(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS was not asked about its user, account and set."""
    await lab.approve(lab.ticket(seconds=20))
    granted = await lab.run_until(access.AccessGranted)
    left = granted.ends_at - lab.now
    second = await lab.approve(lab.ticket(seconds=600, starts_in=left / S + 0.5))
    lab.clock.advance(left)
    await lab.current.expiry.step()
    look = looking.look

    async def slow(*arguments: Any, **named: Any) -> looking.Seen:
        seen = await look(*arguments, **named)
        lab.clock.advance(S)
        return seen

    with monkeypatch.context() as patched:
        patched.setattr(looking, "look", slow)
        await lab.current.engine.step()
    assert await lab.story(second) == ["scheduled"]
