"""Drawn at random: overlapping windows, lost answers, late lists and records. What is said is true then."""

import random
from datetime import datetime

import pytest

from services.provisioner.domain.timing import Timing
from shared.contracts import access
from tests.provisioner.test_truth import CREATE, DELETE, LateRecords
from tests.support.provisioner_lab import Lab, Premises, laboratory
from tests.support.sampling import some

pytestmark = pytest.mark.more
KINDS = ("reset_after_accept", "reset_before", "fail_async", "error")


def trouble(lab: Lab, draw: random.Random) -> None:
    """Slow operations, late lists, and a few calls that go wrong."""
    longest = draw.choice([4, 15, 60])
    if draw.random() < 0.5:  # the first answer is lost, and what it was about takes long
        longest = 60
        lab.aws.fault(operation=CREATE, kind="reset_after_accept", times=1)
    lab.aws.change_settings(
        list_lag_seconds=draw.choice([0, 3, 12]),
        create_seconds={"low": longest / 3, "high": longest},
        delete_seconds={"low": 1, "high": longest},
        missing_assignment_deletion=draw.choice(["not_found", "failed", "succeeded"]),
    )
    for operation in (CREATE, DELETE):
        for _ in range(draw.randint(0, 2)):
            lab.aws.fault(
                operation=operation,
                kind=draw.choice(KINDS),
                partial=draw.random() < 0.5,
                code=draw.choice(["ConflictException", "ThrottlingException"]),
                times=draw.randint(1, 2),
                probability=draw.choice([0.5, 1]),
                seed=draw.randint(0, 10_000),
            )
    LateRecords(lab, seconds=draw.choice([0, 3, 30, 300]))


def was_there(lab: Lab, moment: datetime) -> bool:
    return any(began <= moment and (ended is None or ended > moment) for _, began, ended in lab.presence())


def is_true(lab: Lab, fact: access.AccessFact) -> bool:
    """What the fact says of AWS, at its moment."""
    there = was_there(lab, fact.at)
    if isinstance(fact, access.AccessGranted | access.AccessReleased):
        return there
    if isinstance(fact, access.AccessFailed) and fact.kept_by:
        return there
    if isinstance(fact, access.AccessRevoked | access.AccessFailed):
        return not there
    return True


@pytest.mark.parametrize("seed", some(range(40)))
async def test_what_is_said_is_true_whatever_happens(shared_premises: Premises, seed: int) -> None:
    draw = random.Random(f"truth {seed}")
    async with laboratory(shared_premises) as lab:
        trouble(lab, draw)
        for _ in range(draw.randint(1, 3)):
            starts, lasts = draw.randint(0, 40), draw.choice([3, 10, 60])
            await lab.approve(lab.ticket(seconds=lasts, starts_in=starts))
            await lab.run(draw.choice([0, 0, 7]))
        await lab.run(Timing().operation_longest.total_seconds() + 1500)
        facts = await lab.said(access.AccessFact)
        asked = {fact.grant_id for fact in facts if isinstance(fact, access.AccessGranting)}
        # Of a grant that ended before its turn nothing was asked, and nothing is said of AWS.
        for fact in (fact for fact in facts if fact.grant_id in asked):
            assert is_true(lab, fact), f"{fact.TYPE} at {fact.at}: {lab.presence()}"
        assert not lab.holds()
        assert not await lab.context.pool.fetchval(
            "SELECT count(*) FROM claim WHERE state NOT IN ('revoked', 'released', 'failed')"
        )
        over = max(fact.at for fact in facts)
        assert all(ended is not None and ended <= over for _, _, ended in lab.presence())
