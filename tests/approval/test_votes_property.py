"""Whatever people try, in whatever order: nothing is approved without distinct eligible approvers."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.approval.domain.review import Electorate, Review, ReviewState
from shared.contracts.approval import ReviewApproved, ReviewDecided, ReviewFact, Stage
from shared.foundation.errors import JitError
from tests.approval.builders import cast, electorate, opened, person, stage, ticket

NAMES = ("ann", "bob", "carl", "cora", "dora", "eve", "root")
PARTIES = frozenset({person("ann").user_id, person("bob").user_id})

Attempt = tuple[str, str, list[set[str]]]
"""Who votes what, and who is eligible in each stage at that moment."""


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[Stage], list[set[str]], list[Attempt]]:
    count = draw(st.integers(1, 3))
    stages = [
        stage(draw(st.integers(1, 2)), draw(st.integers(1, 2)), index=number)
        for number in range(1, count + 1)
    ]
    groups = st.lists(st.sets(st.sampled_from(NAMES), min_size=1), min_size=count, max_size=count)
    attempts = st.tuples(st.sampled_from(NAMES), st.sampled_from(("approve", "approve", "reject")), groups)
    first = draw(groups)
    # Memberships mostly stay as they were: a run in which everything changes approves nothing.
    changed = draw(st.lists(st.tuples(st.booleans(), attempts), max_size=14))
    return stages, first, [(who, what, now if moved else first) for moved, (who, what, now) in changed]


def people(groups: Sequence[set[str]]) -> Electorate:
    return electorate(*(sorted(group) for group in groups))


def replay(
    stages: list[Stage], first: list[set[str]], attempts: list[Attempt]
) -> tuple[Review, list[ReviewFact], dict[str, list[set[str]]]]:
    """Try everything; returns the review, what was said, and for each counted vote who was eligible."""
    change = opened(stages, people(first), of=ticket(requester="ann", beneficiaries=("bob",)))
    review, eligible = change.state, {}
    facts = [fact for fact in change.events if isinstance(fact, ReviewFact)]
    for who, verdict, groups in attempts:
        try:
            step = cast(review, who, people(groups), verdict="reject" if verdict == "reject" else "approve")
        except JitError:
            continue
        assert isinstance(step.events[0], ReviewDecided)
        eligible[step.events[0].vote.id] = groups
        if verdict == "approve" and step.state.state is ReviewState.OPEN:
            assert step.state.can_be_filled(people(groups)), "an approval left the review unsolvable"
        review = step.state
        facts += [fact for fact in step.events if isinstance(fact, ReviewFact)]
        if review.state is not ReviewState.REJECTED:
            met = review.waiting_stage(people(groups)) is None
            assert (review.state is ReviewState.APPROVED) == met, "a vote of somebody who left counted"
    return review, facts, eligible


@given(runs())
def test_votes_in_any_order_approve_only_with_every_stage_met_by_distinct_eligible_others(
    run: tuple[list[Stage], list[set[str]], list[Attempt]],
) -> None:
    review, facts, eligible = replay(*run)
    voters = [vote.voter.user_id for vote in review.votes]
    assert len(voters) == len(set(voters)), "somebody counted twice"
    assert not PARTIES & set(voters), "a party voted"
    for vote in review.votes:
        assert vote.voter.user_name in eligible[vote.id][vote.stage - 1], "a vote of somebody not eligible"
    assert [fact.version for fact in facts] == list(range(1, len(facts) + 1))
    approved = [fact for fact in facts if isinstance(fact, ReviewApproved)]
    assert len(approved) == (review.state is ReviewState.APPROVED)
    if approved:
        rejections = Counter(vote.stage for vote in review.votes if vote.verdict == "reject")
        assert all(rejections[number] < one.denials for number, one in enumerate(review.stages, start=1))
        last = people(eligible[review.votes[-1].id])
        assert approved[0].votes == review.counting(last)
        approvals = Counter(vote.stage for vote in approved[0].votes if vote.verdict == "approve")
        assert all(approvals[number] >= one.needed for number, one in enumerate(review.stages, start=1))


def test_votes_of_a_run_do_reach_approval() -> None:
    """The property above is not vacuous."""
    groups = [{"carl", "cora"}, {"dora"}]
    attempts: list[Attempt] = [(who, "approve", groups) for who in ("ann", "dora", "carl", "cora", "dora")]
    review, _facts, _eligible = replay([stage(), stage(index=2)], groups, attempts)
    assert review.state is ReviewState.APPROVED
