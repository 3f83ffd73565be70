from datetime import timedelta

import pytest

from services.approval.domain.lifecycle import MOST_NAMED, note_electorate, outdated, void
from services.approval.domain.review import NEXT, Review, ReviewState
from shared.contracts.approval import (
    ReviewApproved,
    ReviewDecided,
    ReviewOpened,
    ReviewRejected,
    ReviewStageOpened,
    ReviewVoided,
)
from shared.contracts.change import Change
from shared.contracts.event import Event
from shared.contracts.people import Person
from shared.contracts.windows import WindowAsked
from shared.foundation.errors import Bug, Conflict, Forbidden, Invalid, JitError
from shared.policy.row import Answer
from shared.policy.selection import RuleChoice
from tests.approval.builders import CARLS, HOUR, cast, electorate, opened, origin, stage, ticket
from tests.support.harness import NOW

TWO_STAGES = (stage(), stage(index=2))
TWO_GROUPS = electorate(CARLS, ("dora",))
LATER = NOW + timedelta(minutes=5)


def types(change: Change[Review]) -> list[type[Event]]:
    return [type(fact) for fact in change.events]


def two_stages() -> Review:
    return opened(TWO_STAGES, TWO_GROUPS).state


# opening


def test_open_with_stages_waits_in_the_first_for_its_approvers() -> None:
    change = opened(TWO_STAGES, TWO_GROUPS)
    assert types(change) == [ReviewOpened, ReviewStageOpened]
    first = change.events[1]
    assert isinstance(first, ReviewStageOpened)
    assert (first.stage, first.stages, first.needed) == (1, 2, 1)
    assert [person.user_name for person in first.approvers] == ["carl", "cora"]
    assert (first.other_grants, first.earlier_rejections) == (2, 1)
    assert [fact.version for fact in change.events] == [1, 2]
    assert change.state.version == 2
    assert change.state.state is ReviewState.OPEN


def test_open_does_not_tell_parties_who_are_approvers() -> None:
    change = opened(
        (stage(),), electorate(("ann", "bob", "carl")), of=ticket(requester="bob", beneficiaries=("ann",))
    )
    first = change.events[1]
    assert isinstance(first, ReviewStageOpened)
    assert [person.user_name for person in first.approvers] == ["carl"]


def test_open_for_a_group_of_everybody_names_only_so_many() -> None:
    crowd = tuple(Person(user_id=f"user-{n}", user_name=f"u{n}") for n in range(MOST_NAMED + 1))
    first = opened((stage(),), (crowd,)).events[1]
    assert isinstance(first, ReviewStageOpened)
    assert len(first.approvers) == MOST_NAMED


def test_open_without_rule_is_rejected() -> None:
    change = opened((), ())
    (fact,) = change.events
    assert isinstance(fact, ReviewRejected)
    assert (fact.code, fact.version, change.state.state) == ("no_rule", 1, ReviewState.REJECTED)


@pytest.mark.parametrize(
    ("stages", "people"),
    [
        ((stage(),), electorate(())),
        ((stage(),), electorate(("ann",))),
        ((stage(needed=2),), electorate(("ann", "carl"))),
        (TWO_STAGES, electorate(("carl",), ("carl",))),
        ((stage(needed=2), stage(index=2)), electorate(CARLS, CARLS)),
    ],
    ids=["nobody", "only the requester", "too few", "one for two stages", "two for three votes"],
)
def test_open_that_distinct_others_cannot_fill_is_unapprovable(stages: tuple, people: tuple) -> None:  # type: ignore[type-arg]
    (fact,) = opened(stages, people).events
    assert isinstance(fact, ReviewRejected)
    assert fact.code == "unapprovable"


def test_open_with_auto_approval_is_approved_at_once() -> None:
    of = ticket()
    change = opened((), (), of=of, auto="dev-read")
    assert types(change) == [ReviewOpened, ReviewApproved]
    beginning, approved = change.events
    assert isinstance(beginning, ReviewOpened)
    assert isinstance(approved, ReviewApproved)
    assert (beginning.auto_approved_by, approved.auto_approved_by) == ("dev-read", "dev-read")
    assert approved.votes == ()
    assert approved.window.ends_at == NOW + HOUR
    assert approved.content_hash == of.subject_of(of.targets[0]).content_hash(approved.window)


@pytest.mark.parametrize("auto", ["dev-read", None])
def test_open_after_the_window_is_over_is_voided(auto: str | None) -> None:
    of = ticket(asked=WindowAsked(starts_at=NOW, ends_at=LATER))
    change = opened(TWO_STAGES, TWO_GROUPS, of=of, auto=auto, at=LATER)
    assert types(change) == [ReviewVoided]


def test_open_after_the_ticket_has_expired_is_voided() -> None:
    assert types(opened(TWO_STAGES, TWO_GROUPS, of=ticket(expires_at=NOW))) == [ReviewVoided]


@pytest.mark.parametrize(
    ("asked", "length"),
    [
        (WindowAsked(duration=HOUR), HOUR),
        (WindowAsked(starts_at=LATER, duration=HOUR), HOUR),
        (WindowAsked(starts_at=LATER, ends_at=LATER + HOUR), HOUR),
        (WindowAsked(ends_at=NOW + 2 * HOUR), 2 * HOUR),
        (WindowAsked(), timedelta.max),
    ],
)
def test_duration_of_a_window_counts_an_open_start_from_the_submit(
    asked: WindowAsked, length: timedelta
) -> None:
    of = ticket(asked=asked, expires_at=NOW + 9 * HOUR)
    assert of.subject_of(of.targets[0]).length == length


# votes that count


def test_approve_in_a_first_stage_opens_the_second() -> None:
    change = cast(two_stages(), "carl", TWO_GROUPS)
    assert types(change) == [ReviewDecided, ReviewStageOpened]
    decided, following = change.events
    assert isinstance(decided, ReviewDecided)
    assert isinstance(following, ReviewStageOpened)
    assert (decided.vote.stage, following.stage) == (1, 2)
    assert decided.vote.proof == ("rule/prod allow group:x",)
    assert [person.user_name for person in following.approvers] == ["dora"]


def test_approve_in_the_last_stage_publishes_the_witness() -> None:
    of = ticket()
    review = opened(TWO_STAGES, TWO_GROUPS, of=of).state
    review = cast(review, "carl", TWO_GROUPS).state
    change = cast(review, "dora", TWO_GROUPS, at=LATER)
    assert types(change) == [ReviewDecided, ReviewApproved]
    approved = change.events[1]
    assert isinstance(approved, ReviewApproved)
    assert [vote.voter.user_name for vote in approved.votes] == ["carl", "dora"]
    assert (approved.window.starts_at, approved.window.ends_at) == (LATER, LATER + HOUR)
    assert approved.content_hash == of.subject_of(of.targets[0]).content_hash(approved.window)
    assert change.state.state is ReviewState.APPROVED
    assert approved.version == change.state.version == 6


@pytest.mark.parametrize(("needed", "states"), [(1, "a"), (2, "oa"), (3, "ooa")])
def test_approve_k_of_n_waits_for_k(needed: int, states: str) -> None:
    people = electorate(("bob", "carl", "cora", "dora"))
    review = opened((stage(needed=needed),), people).state
    for name, expected in zip(("bob", "carl", "cora"), states, strict=False):
        review = cast(review, name, people).state
        assert review.state is (ReviewState.APPROVED if expected == "a" else ReviewState.OPEN)


@pytest.mark.parametrize(("denials", "states"), [(1, "r"), (2, "or"), (3, "oor")])
def test_reject_d_of_n_waits_for_d(denials: int, states: str) -> None:
    people = electorate(("bob", "carl", "cora", "dora"))
    review = opened((stage(denials=denials),), people).state
    for name, expected in zip(("bob", "carl", "cora"), states, strict=False):
        change = cast(review, name, people, verdict="reject")
        review = change.state
        assert review.state is (ReviewState.REJECTED if expected == "r" else ReviewState.OPEN)
    fact = change.events[-1]
    assert isinstance(fact, ReviewRejected)
    assert (fact.code, fact.why, len(fact.votes)) == ("rejected", "not now", denials)


def test_reject_does_not_count_over_stages() -> None:
    people = electorate(("bob", "carl"), ("cora", "dora"))
    review = opened((stage(denials=2), stage(index=2, denials=2)), people).state
    review = cast(review, "bob", people, verdict="reject").state
    review = cast(review, "carl", people).state
    review = cast(review, "cora", people, verdict="reject").state
    assert (review.state, review.stage) == (ReviewState.OPEN, 2)


def test_stages_of_two_rules_are_asked_in_their_order() -> None:
    stages = (stage(rule="always"), stage(rule="prod"), stage(rule="prod", index=2))
    people = electorate(("bob",), ("carl",), ("dora",))
    review = opened(stages, people).state
    for name in ("bob", "carl", "dora"):
        review = cast(review, name, people).state
    assert review.state is ReviewState.APPROVED
    assert [vote.stage for vote in review.votes] == [1, 2, 3]


def test_approve_when_nothing_of_the_window_is_left_is_voided() -> None:
    of = ticket(asked=WindowAsked(starts_at=NOW, ends_at=LATER), expires_at=NOW + HOUR)
    review = opened((stage(),), electorate(CARLS), of=of).state
    change = cast(review, "carl", electorate(CARLS), at=LATER)
    assert types(change) == [ReviewDecided, ReviewVoided]


# refusals, in the order of the guards


def refusal(review: Review, name: str, **more: object) -> JitError:
    with pytest.raises(JitError) as caught:
        cast(review, name, TWO_GROUPS, **more)  # type: ignore[arg-type]
    return caught.value


def in_state(state: ReviewState) -> Review:
    review = two_stages()
    if state is ReviewState.APPROVED:
        return cast(cast(review, "carl", TWO_GROUPS).state, "dora", TWO_GROUPS).state
    if state is ReviewState.REJECTED:
        return cast(review, "carl", TWO_GROUPS, verdict="reject").state
    return void(Change(review), origin()).state


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (ReviewState.APPROVED, "review_decided"),
        (ReviewState.REJECTED, "review_decided"),
        (ReviewState.VOIDED, "state"),
    ],
)
@pytest.mark.parametrize("who", ["ann", "carl", "cora", "dora"])
def test_vote_on_a_closed_review_is_refused_before_anything_else(
    state: ReviewState, code: str, who: str
) -> None:
    error = refusal(in_state(state), who)
    assert (error.code, error.status) == (code, 409)


@pytest.mark.parametrize(("early", "code"), [(timedelta(microseconds=1), None), (timedelta(0), "state")])
def test_vote_at_the_expiry_is_too_late(early: timedelta, code: str | None) -> None:
    at = two_stages().expires_at - early
    if code is None:
        assert cast(two_stages(), "carl", TWO_GROUPS, at=at).state.stage == 2
    else:
        assert refusal(two_stages(), "carl", at=at).code == code


@pytest.mark.parametrize(
    ("requester", "beneficiary", "voter"), [("carl", "ann", "carl"), ("ann", "carl", "carl")]
)
def test_vote_of_a_party_is_self_approval_whatever_the_policy_says(
    requester: str, beneficiary: str, voter: str
) -> None:
    of = ticket(requester=requester, beneficiaries=(beneficiary,))
    review = opened(TWO_STAGES, TWO_GROUPS, of=of).state
    error = refusal(review, voter)
    assert isinstance(error, Forbidden)
    assert error.code == "self_approval"
    assert error.denied is not None
    assert (error.denied.subject, error.denied.object_id) == (review.ticket_id, review.id)


def test_vote_twice_in_one_stage_is_already_acted() -> None:
    people = electorate(("carl", "cora", "dora"))
    review = cast(opened((stage(needed=2),), people).state, "carl", people).state
    with pytest.raises(Conflict) as caught:
        cast(review, "carl", people)
    assert caught.value.code == "already_acted"


def test_vote_in_a_second_stage_after_the_first_is_already_acted() -> None:
    people = electorate(CARLS, ("carl", "dora"))
    review = cast(opened(TWO_STAGES, people).state, "carl", people).state
    with pytest.raises(Conflict) as caught:
        cast(review, "carl", people)
    assert caught.value.code == "already_acted"


def test_vote_after_having_rejected_is_already_acted() -> None:
    people = electorate(CARLS)
    review = cast(opened((stage(denials=2),), people).state, "carl", people, verdict="reject").state
    with pytest.raises(Conflict) as caught:
        cast(review, "carl", people)
    assert caught.value.code == "already_acted"


@pytest.mark.parametrize("code", ["NO_RULE", "EXPLICIT_DENY", "NOT_READY"])
def test_vote_that_the_policy_denies_is_refused_with_its_code(code: str) -> None:
    error = refusal(two_stages(), "dora", answer=Answer(allowed=False, code=code, rules=("scope/x",)))  # type: ignore[arg-type]
    assert (error.code, error.status) == (code.lower(), 403)
    assert error.denied is not None
    assert (error.denied.verb, error.denied.rules) == ("approve/prod/1", ("scope/x",))


@pytest.mark.parametrize(("comment", "good"), [("", False), ("no", False), ("no.", True)])
def test_reject_needs_a_comment(comment: str, *, good: bool) -> None:
    if good:
        assert (
            cast(two_stages(), "carl", TWO_GROUPS, verdict="reject", comment=comment).state.code == "rejected"
        )
        return
    error = refusal(two_stages(), "carl", verdict="reject", comment=comment)
    assert isinstance(error, Invalid)
    assert [field.field for field in error.fields] == ["/comment"]


def test_approve_by_somebody_whom_a_later_stage_needs_would_block() -> None:
    people = electorate(CARLS, ("carl",))
    review = opened(TWO_STAGES, people).state
    with pytest.raises(Conflict, match="needed in a later stage") as caught:
        cast(review, "carl", people)
    assert caught.value.code == "would_block"
    assert cast(review, "cora", people).state.stage == 2


def test_approve_while_a_later_stage_has_nobody_left_would_block() -> None:
    with pytest.raises(Conflict, match="not enough distinct approvers") as caught:
        cast(two_stages(), "carl", electorate(CARLS, ()))
    assert caught.value.code == "would_block"


def test_reject_is_never_refused_for_what_it_blocks() -> None:
    people = electorate(CARLS, ("carl",))
    review = opened((stage(denials=2), stage(index=2)), people).state
    assert cast(review, "carl", people, verdict="reject").state.state is ReviewState.OPEN


# too few people left


def test_note_electorate_remembers_since_when_people_lack_and_forgets_it() -> None:
    review = two_stages()
    nobody = electorate(CARLS, ())
    lacking = note_electorate(Change(review), nobody, origin(LATER)).state
    assert lacking.unapprovable_since == LATER
    later = note_electorate(Change(lacking), nobody, origin(LATER + HOUR)).state
    assert later.unapprovable_since == LATER, "since the first time"
    assert note_electorate(Change(later), TWO_GROUPS, origin(LATER + HOUR)).state == review


@pytest.mark.parametrize(
    ("people", "lacks"),
    [
        (electorate((), ("dora",)), True),
        (electorate(("ann",), ("dora",)), True),
        (electorate(("carl",), ("carl",)), True),
        (electorate(("carl",), ("cora",)), False),
    ],
    ids=["nobody", "only the requester", "one for two stages", "one for each"],
)
def test_note_electorate_counts_distinct_people_who_are_no_party(
    people: tuple[tuple[Person, ...], ...], *, lacks: bool
) -> None:
    noted = note_electorate(Change(two_stages()), people, origin(LATER)).state
    assert (noted.unapprovable_since is not None) == lacks


def test_note_electorate_says_nothing_of_a_closed_review() -> None:
    closed = in_state(ReviewState.VOIDED)
    assert note_electorate(Change(closed), electorate((), ()), origin(LATER)).state == closed


def test_close_forgets_that_people_lacked() -> None:
    lacking = note_electorate(Change(two_stages()), electorate((), ()), origin(LATER)).state
    assert void(Change(lacking), origin(LATER)).state.unapprovable_since is None


# closing


@pytest.mark.parametrize("state", [state for state in ReviewState if state is not ReviewState.OPEN])
def test_closed_review_goes_nowhere(state: ReviewState) -> None:
    assert NEXT[state] == frozenset()
    with pytest.raises(Bug, match="this is a bug"):
        void(Change(in_state(state)), origin())


def test_outdated_sees_what_alters_a_stage_and_not_the_order_of_approvers() -> None:
    frozen = stage().model_copy(update={"approvers": ("group:a", "group:b")})
    review = opened((frozen,), electorate(CARLS)).state
    turned = frozen.model_copy(update={"approvers": ("group:b", "group:a")})
    assert not outdated(review, RuleChoice(stages=(turned,)))
    for update in (
        {"needed": 2},
        {"denials": 2},
        {"approvers": ("group:a",)},
        {"index": 2},
        {"rule_id": "x"},
    ):
        assert outdated(review, RuleChoice(stages=(frozen.model_copy(update=update),)))
    assert outdated(review, RuleChoice())
    assert outdated(review, RuleChoice(auto_approved_by="prod"))
    assert outdated(review, RuleChoice(stages=(frozen, stage(index=2))))


def test_review_survives_being_stored_as_json() -> None:
    review = in_state(ReviewState.APPROVED)
    assert Review.model_validate(review.model_dump(mode="json")) == review
