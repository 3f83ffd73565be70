"""Whether an approval holds under one's own policy.

Of the worked example: rules A1 (owners-prod) and then A2 (secops) ask for votes on ADMIN on P.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import pytest

from shared.contracts.approval import Vote
from shared.contracts.documents import ApprovalRule, RuleStage
from shared.contracts.event import Revisions
from shared.contracts.people import Person
from shared.foundation.clock import new_id
from shared.policy.approvals import approval_problem
from shared.policy.snapshot import Snapshot
from tests.support import policy_example as example
from tests.support.policy_example import ADMIN, NINE, RO, D, P

HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)


def vote(
    name: str,
    stage: int = 1,
    verdict: Literal["approve", "reject"] = "approve",
    *,
    acting_for: str | None = None,
) -> Vote:
    return Vote(
        id=new_id(),
        stage=stage,
        verdict=verdict,
        voter=Person(user_id=name, user_name=name),
        acting_for=acting_for,
        revisions=Revisions(),
        at=NINE,
    )


BOTH = (vote("carl"), vote("dora", 2))


@dataclass(frozen=True)
class Case:
    """What was said to be approved, and a part of why it does not hold (None: it holds)."""

    name: str
    votes: Sequence[Vote] = ()
    why: str | None = None
    auto: str | None = None
    parties: tuple[str, ...] = ("ann",)
    account: str = P
    set: str = ADMIN
    duration: timedelta = HOUR


CASES = (
    Case("a vote in each stage", BOTH),
    Case("in any order", tuple(reversed(BOTH))),
    Case("one stage only where one is asked", (vote("carl"),), set=RO),
    Case("no votes", (), "stage 1 of 2 (rule A1) needs 1 approvals and has 0"),
    Case("the last stage is missing", (vote("carl"),), "stage 2 of 2 (rule A2)"),
    Case("the first stage is missing", (vote("dora", 2),), "stage 1 of 2"),
    Case("in each other's stage", (vote("carl", 2), vote("dora", 1)), "stage 1 of 2"),
    Case("by somebody who may not", (vote("bob"), vote("dora", 2)), "stage 1 of 2"),
    Case("by somebody unknown", (vote("mallory"), vote("dora", 2)), "stage 1 of 2"),
    Case("by the requester", BOTH, "stage 1 of 2", parties=("carl", "ann")),
    Case("by a beneficiary", BOTH, "stage 2 of 2", parties=("ann", "dora")),
    Case("by one who also said no", (*BOTH, vote("dora", 2, "reject")), "stage 2 of 2"),
    Case("in the name of another", (vote("carl", acting_for="cora"), vote("dora", 2)), "stage 1 of 2"),
    Case("one person in two stages", (vote("carl"), vote("carl", 2)), "stage 2 of 2"),
    Case("in a stage that is not there", (vote("carl"), vote("dora", 3)), "stage 2 of 2"),
    Case("a rule for nothing", BOTH, "no approval rule", account=D, set=RO),
    Case("by the rule", auto="quick", account=D, set=RO),
    Case("by the rule, too long", (), "rule quick", auto="quick", account=D, set=RO, duration=HOUR + TICK),
    Case("by another rule", (), "rule A1 does not", auto="A1", account=D, set=RO),
    Case("by a rule where votes are asked", BOTH, "rule quick does not", auto="quick"),
    Case("votes where a rule approves", BOTH, "no approval rule", account=D, set=RO),
    Case("a disabled voter", (vote("erin"), vote("dora", 2)), "stage 1 of 2"),
)  # fmt: skip


@pytest.fixture
def snapshot() -> Snapshot:
    """The worked example, with a rule that approves reading on D for an hour by itself."""
    return example.snapshot().replace(
        example.rule("quick", f"acct:{D}", f"ps:{RO}", auto_approve_up_to=HOUR),
        example.user("erin", enabled=False),
        *example.members("owners-prod", "carl", "erin", "eve", revision=2),
    )


def why(snapshot: Snapshot, case: Case) -> str | None:
    return approval_problem(
        snapshot,
        votes=case.votes,
        auto_approved_by=case.auto,
        parties=case.parties,
        account_id=case.account,
        set_id=case.set,
        duration=case.duration,
        now=NINE,
    )


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_approval_holds_only_with_everybody_it_needs(snapshot: Snapshot, case: Case) -> None:
    answer = why(snapshot, case)
    assert (answer is None) == (case.why is None), answer
    assert case.why is None or case.why in str(answer)


def test_approval_by_one_person_twice_counts_once(snapshot: Snapshot) -> None:
    rule = snapshot.get(ApprovalRule, "A1")
    assert rule is not None
    stages = (RuleStage(approvers=("group:owners-prod",), needed=2),)
    snapshot = snapshot.replace(rule.model_copy(update={"stages": stages, "revision": 2}))
    twice = Case("", (vote("carl"), vote("carl"), vote("dora", 2)))
    assert "needs 2 approvals and has 1" in str(why(snapshot, twice))
    assert why(snapshot, Case("", (vote("carl"), vote("eve"), vote("dora", 2)))) is None


def test_approval_of_a_voter_who_left_does_not_hold_any_more(snapshot: Snapshot) -> None:
    snapshot = snapshot.replace(*example.members("secops", revision=9))
    assert "stage 2 of 2" in str(why(snapshot, Case("", BOTH)))


def test_approval_while_nothing_is_known_does_not_hold() -> None:
    assert why(Snapshot.of(), Case("", BOTH)) is not None
