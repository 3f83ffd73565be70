"""Every transition of a claim, every decision about an assignment, every refusal of the re-check."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.provisioner.domain import call_outcomes, closing
from services.provisioner.domain import lifecycle as life
from services.provisioner.domain.assignments import Assignment, Observed, Op, end_claims, move
from services.provisioner.domain.claims import ASKED, OPEN, TRANSITIONS, Claim, ClaimState
from services.provisioner.domain.decisions import (
    likely_call,
    look_again_after,
    needs_reading,
    start_claims,
    wait,
)
from services.provisioner.domain.rechecks import (
    Known,
    Live,
    NotYet,
    Passed,
    RecheckRefused,
    content_of,
    recheck,
    witness_verdict,
)
from shared.contracts import access
from shared.contracts import documents as doc
from shared.contracts.access import EndCause
from shared.foundation.errors import Bug
from shared.policy.row import Answer
from tests.support.harness import NOW
from tests.support.provisioner_domain import ORIGIN, TIMING, S, claim, decided, extension, parts, row

STATES = list(ClaimState)


# a claim's life


@pytest.mark.parametrize("state", STATES)
def test_schedule_from_waiting_only(state: ClaimState) -> None:
    if state is ClaimState.WAITING:
        after, [fact] = parts(life.schedule(claim(state), ORIGIN, approval_holds=True))
        assert (after.state, after.version, fact.version) == (ClaimState.SCHEDULED, 8, 8)
    else:
        with pytest.raises(Bug, match="this is a bug"):
            life.schedule(claim(state), ORIGIN, approval_holds=True)


@pytest.mark.parametrize("state", STATES)
def test_begin_from_scheduled_only(state: ClaimState) -> None:
    if state is ClaimState.SCHEDULED:
        assert life.begin(claim(state), ORIGIN).state.state is ClaimState.GRANTING
    else:
        with pytest.raises(Bug):
            life.begin(claim(state), ORIGIN)


@pytest.mark.parametrize("state", STATES)
def test_grant_from_granting_only(state: ClaimState) -> None:
    if state is ClaimState.GRANTING:
        after, _ = parts(life.grant(claim(state), ORIGIN, already_held=False, request_id="r"))
        assert (after.state, after.granted_at, after.request_id) == (ClaimState.ACTIVE, NOW, "r")
    else:
        with pytest.raises(Bug):
            life.grant(claim(state), ORIGIN, already_held=False, request_id="r")


@pytest.mark.parametrize("state", STATES)
def test_refuse_only_what_was_never_asked_for(state: ClaimState) -> None:
    if state in {ClaimState.WAITING, ClaimState.SCHEDULED}:
        after, [fact] = parts(life.refuse(claim(state), ORIGIN, code="set_changed", detail="why"))
        assert (after.state, after.code) == (ClaimState.FAILED, "set_changed")
        assert isinstance(fact, access.AccessFailed)
    else:
        with pytest.raises(Bug):
            life.refuse(claim(state), ORIGIN, code="set_changed", detail="why")


@pytest.mark.parametrize("state", STATES)
def test_end_of_every_state(state: ClaimState) -> None:
    after, facts = parts(life.end(claim(state), ORIGIN.because("stop"), cause=EndCause("terminated")))
    names = [fact.TYPE.split(".")[1] for fact in facts]
    if state not in OPEN:
        assert (after, names) == (claim(state), [])
    elif state in ASKED:
        assert (after.state, names) == (ClaimState.REVOKING, ["revoke_due"])
    else:
        assert (after.state, after.code, names) == (
            ClaimState.FAILED, "terminated", ["revoke_due", "failed"],
        )  # fmt: skip
        assert [fact.version for fact in facts] == [8, 9]


def test_end_by_time_counts_from_the_end_of_the_window() -> None:
    late = claim(ends_at=NOW - 5 * S)
    after, [fact] = parts(life.end(late, ORIGIN.because("over"), cause=EndCause("expired")))
    assert after.ended_at == NOW - 5 * S
    assert isinstance(fact, access.AccessRevokeDue)
    assert fact.late_by == 5 * S


def test_nothing_leaves_a_closed_state() -> None:
    closed = {ClaimState.REVOKED, ClaimState.RELEASED, ClaimState.FAILED}
    assert {state for state, ways in TRANSITIONS.items() if not ways} == closed
    assert set(TRANSITIONS) == set(ClaimState)


def test_close_absent_counts_lateness_to_the_first_reading_without_it() -> None:
    ending = claim(ClaimState.REVOKING, ended_at=NOW - 30 * S)
    after, [fact] = parts(closing.close_absent(ending, ORIGIN, absent_first=NOW - 20 * S, request_id="r"))
    assert isinstance(fact, access.AccessRevoked)
    assert fact.late_by == 10 * S
    assert after.credentials_until == NOW - 20 * S + timedelta(hours=1)


@pytest.mark.parametrize(
    ("at", "state", "holds"),
    [
        (-61, ClaimState.ACTIVE, True),
        (59.9, ClaimState.ACTIVE, True),
        (60, ClaimState.ACTIVE, False),
        (0, ClaimState.GRANTING, True),
        (0, ClaimState.SCHEDULED, False),
        (0, ClaimState.WAITING, False),
        (0, ClaimState.REVOKING, False),
    ],
)
def test_claim_holds_from_its_beginning_to_before_its_end_whatever_the_clock_is_set_to(
    at: float, state: ClaimState, holds: bool
) -> None:
    assert claim(state).holds(NOW + at * S) is holds


# granted, or never

CAUSES = [cause for cause in EndCause if cause is not EndCause.FAILED]
CREATED = row(observed=Observed.CREATED, settled_at=NOW, request_id="creation", ours=True)
STAGES = {
    "before any call": row(),
    "call refused": row(observed=Observed.ABSENT),
    "creation in flight, and lost": call_outcomes.forgotten(row(op=Op("create", NOW - 10 * S)), NOW, TIMING),
    "creation failed": row(observed=Observed.DOUBTFUL, ours=True),
    "created, not yet seen": CREATED,
}


def lived_out(before: Assignment, ending: Claim, *, shown: bool = False) -> tuple[Claim, int]:
    """The claim when it is over, and how many deletions that took; AWS obeys, and shows what is `shown`."""
    deletions = 0
    for at in range(0, 100, 10):
        decision = decided(before, ending, found=shown, at=at * S)
        before, ending = decision.row, decision.row.claim(ending.id) or ending
        if decision.send == "delete":
            deletions, shown = deletions + 1, False
            before = call_outcomes.succeeded(before, NOW + at * S)
        if ending.state is not ClaimState.REVOKING:
            return ending, deletions
    raise AssertionError("it does not end")


def ended(state: ClaimState, cause: access.EndCause, **changes: Any) -> Claim:
    return life.end(claim(state, **changes), ORIGIN.because("over"), cause=cause).state


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("stage", STAGES)
def test_never_granted_is_failed_whatever_ended_it(stage: str, cause: access.EndCause) -> None:
    over, deletions = lived_out(STAGES[stage], ended(ClaimState.GRANTING, cause))
    assert (over.state, over.code, over.credentials_until) == (ClaimState.FAILED, cause, None)
    assert over.detail == "it ended before AWS was seen to give it"
    assert deletions == (STAGES[stage].observed in {Observed.CREATED, Observed.DOUBTFUL})


@pytest.mark.parametrize("cause", CAUSES)
def test_granted_is_revoked_whatever_ended_it(cause: access.EndCause) -> None:
    granted = ended(ClaimState.ACTIVE, cause, granted_at=NOW - 30 * S)
    over, deletions = lived_out(row(observed=Observed.PRESENT, **OURS), granted, shown=True)
    assert (over.state, over.code, deletions) == (ClaimState.REVOKED, cause, 1)
    assert over.credentials_until is not None


@pytest.mark.parametrize("cause", CAUSES)
def test_never_granted_but_shown_after_its_end_says_so_with_its_credentials(cause: access.EndCause) -> None:
    over, deletions = lived_out(CREATED, ended(ClaimState.GRANTING, cause), shown=True)
    assert (over.state, over.code, deletions) == (ClaimState.FAILED, cause, 1)
    assert (over.seen_at, over.request_id) == (NOW, "creation")
    assert over.credentials_until == NOW + 10 * S + timedelta(hours=1)
    assert "AWS showed it" in over.detail


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("granted", [True, False])
def test_ended_and_kept_by_another_is_released_only_if_it_was_granted(
    cause: access.EndCause, granted: bool
) -> None:
    ending = ended(ClaimState.GRANTING, cause, granted_at=NOW if granted else None)
    decision = decided(row(observed=Observed.PRESENT, **OURS), ending, claim(id="grant-2"), found=True)
    [(over, [fact])] = decision.moved
    assert over.state is (ClaimState.RELEASED if granted else ClaimState.FAILED)
    assert (over.code, over.kept_by) == (cause, ("grant-2",))
    assert isinstance(fact, access.AccessReleased | access.AccessFailed)
    assert fact.kept_by == ("grant-2",)
    assert (fact.credentials_until is not None) is granted


def test_given_up_and_kept_by_another_has_failed_all_the_same() -> None:
    given_up, _ = parts(life.give_up(GRANTING, ORIGIN, code="aws_denied", detail="no", request_id="r"))
    decision = decided(row(observed=Observed.PRESENT, **OURS), given_up, claim(id="grant-2"), found=True)
    [(over, _)] = decision.moved
    assert (over.state, over.code, over.detail) == (ClaimState.FAILED, "aws_denied", "no")
    assert over.kept_by == ("grant-2",)


# towards present

GRANTING = claim(ClaimState.GRANTING)
OURS = {"ours": True}


def test_decide_wanted_and_absent_creates_and_writes_ahead_that_it_does() -> None:
    decision = decided(row(), GRANTING, found=False)
    assert decision.send == "create"
    assert decision.row.op == Op("create", NOW)
    assert decision.names == []


def test_decide_wanted_and_absent_without_a_slot_keeps_its_place_in_line() -> None:
    decision = decided(row(next_at=NOW - S), GRANTING, found=False, may_send=False)
    assert (decision.send, decision.row.op, decision.row.next_at) == (None, None, NOW - S)
    assert likely_call(wanted=True, observed=decision.row.observed) == "create"


def test_decide_present_after_our_operation_is_granted() -> None:
    decision = decided(row(observed=Observed.CREATED, request_id="r", **OURS), GRANTING, found=True)
    [(after, [fact])] = decision.moved
    assert after.state is ClaimState.ACTIVE
    assert isinstance(fact, access.AccessGranted)
    assert (fact.request_id, fact.already_held) == ("r", False)
    assert decision.row.next_at == GRANTING.ends_at


def test_decide_present_without_any_operation_of_ours_is_already_held() -> None:
    decision = decided(row(), GRANTING, found=True)
    [(_, [fact])] = decision.moved
    assert isinstance(fact, access.AccessGranted)
    assert fact.already_held
    assert decision.row.pre_existing


def test_decide_present_after_a_failed_creation_is_no_proof() -> None:
    decision = decided(row(observed=Observed.DOUBTFUL, attempt=1, **OURS), GRANTING, found=True)
    assert (decision.send, decision.names) == ("create", [])


@pytest.mark.parametrize(("after", "send"), [(29.9, None), (30, "create")])
def test_decide_created_but_not_listed_is_waited_for_and_then_repeated(
    after: float, send: str | None
) -> None:
    created = row(observed=Observed.CREATED, settled_at=NOW, **OURS)
    decision = decided(created, GRANTING, found=False, at=after * S)
    assert decision.send == send


@pytest.mark.parametrize(("attempt", "gives_up"), [(4, False), (5, True)])
def test_decide_gives_up_creating_after_so_many_attempts(attempt: int, gives_up: bool) -> None:
    tired = row(
        desired="present",
        observed=Observed.DOUBTFUL,
        attempt=attempt,
        last_code="failed",
        last_error="internal",
        **OURS,
    )
    decision = decided(tired, GRANTING, claim(id="grant-2"), found=False)
    if gives_up:
        assert decision.names == ["revoke_due", "revoke_due"]
        assert {after.code for after, _ in decision.moved} == {"aws_failed"}
        assert decision.send is None
        assert decision.row.next_at == NOW
    else:
        assert decision.send == "create"


def test_decide_takes_over_what_was_not_ours_and_has_gone() -> None:
    decision = decided(row(pre_existing=True, observed=Observed.PRESENT), GRANTING, found=False)
    assert decision.send == "create"
    assert not decision.row.pre_existing


# claims that end while others live


def test_decide_ended_claim_is_released_while_another_holds() -> None:
    other = claim(id="grant-2")
    decision = decided(row(observed=Observed.PRESENT, **OURS), claim(ClaimState.REVOKING), other, found=True)
    [(after, [fact])] = decision.moved
    assert (after.state, decision.send) == (ClaimState.RELEASED, None)
    assert isinstance(fact, access.AccessReleased)
    assert fact.kept_by == ("grant-2",)
    assert decision.row.next_at == other.ends_at


@pytest.mark.parametrize(
    "other",
    [
        claim(ClaimState.SCHEDULED, id="grant-2"),
        claim(ClaimState.WAITING, id="grant-2"),
        claim(ClaimState.REVOKING, id="grant-2"),
    ],
    ids=["scheduled", "waiting", "ended"],
)
def test_decide_ended_claim_is_not_kept_by_one_that_does_not_hold(other: Claim) -> None:
    decision = decided(row(observed=Observed.PRESENT, **OURS), claim(ClaimState.REVOKING), other, found=True)
    assert decision.send == "delete"
    assert "released" not in decision.names


def test_decide_ends_claims_whose_window_is_over_although_nobody_has() -> None:
    over = claim(ends_at=NOW)
    decision = decided(row(observed=Observed.PRESENT, **OURS), over, found=True)
    assert decision.names == ["revoke_due"]
    assert decision.send == "delete"


def test_decide_lapsed_without_a_reading_stays_due() -> None:
    decision = decided(row(observed=Observed.PRESENT, **OURS), claim(ends_at=NOW), found=None)
    assert decision.row.next_at == NOW


# towards absent

ENDING = claim(ClaimState.REVOKING)


def test_decide_unwanted_and_present_deletes() -> None:
    decision = decided(row(observed=Observed.PRESENT, **OURS), ENDING, found=True)
    assert decision.send == "delete"
    assert decision.row.op == Op("delete", NOW)


def test_decide_never_deletes_what_was_never_ours() -> None:
    decision = decided(row(observed=Observed.PRESENT), ENDING, found=True)
    assert (decision.send, decision.names) == (None, ["released"])
    assert decision.row.next_at is None


@pytest.mark.parametrize("observed", [Observed.CREATED, Observed.DOUBTFUL])
def test_decide_deletes_what_was_created_although_it_is_not_listed(observed: Observed) -> None:
    assert decided(row(observed=observed, **OURS), ENDING, found=False).send == "delete"


@pytest.mark.parametrize(
    ("seen", "since", "closes"),
    [(0, 0, False), (1, 20, False), (2, 19.9, False), (2, 20, True), (9, 5, False), (5, 300, True)],
)
def test_decide_absence_counts_when_seen_often_and_long_enough(seen: int, since: float, closes: bool) -> None:
    first = NOW - since * S if seen else None
    before = row(observed=Observed.DELETED, absent_seen=seen, absent_first=first, **OURS)
    decision = decided(before, ENDING, found=False)
    assert decision.names == (["revoked"] if closes else [])
    assert decision.row.next_at is not None
    assert (decision.row.closed_at is not None) is closes


def test_decide_presence_in_between_begins_the_settling_anew() -> None:
    before = row(observed=Observed.ABSENT, absent_seen=2, absent_first=NOW - 19 * S, **OURS)
    decision = decided(before, ENDING, found=True)
    assert (decision.row.absent_seen, decision.row.absent_first, decision.send) == (0, None, "delete")


def test_decide_failed_claim_fails_only_when_absence_was_verified() -> None:
    given_up, _ = parts(life.give_up(GRANTING, ORIGIN, code="aws_denied", detail="no", request_id="r"))
    early = decided(row(observed=Observed.ABSENT, **OURS), given_up, found=False)
    assert early.names == []
    settled = row(observed=Observed.ABSENT, absent_seen=4, absent_first=NOW - 60 * S, **OURS)
    assert decided(settled, given_up, found=False).names == ["failed"]


@pytest.mark.parametrize(
    ("minutes", "again"), [(0, 1), (0.9, 1), (1, 3), (5, 7), (7, 15), (14.9, 15), (15, None), (60, None)]
)
def test_decide_closed_is_looked_at_again_at_growing_intervals(minutes: float, again: int | None) -> None:
    closed = NOW - timedelta(minutes=minutes)
    before = row(
        observed=Observed.ABSENT, absent_seen=9, absent_first=closed - 30 * S, closed_at=closed, **OURS
    )
    expected = None if again is None else closed + timedelta(minutes=again)
    assert decided(before, found=False).row.next_at == expected


def test_decide_reappearance_is_deleted_and_told() -> None:
    before = row(observed=Observed.ABSENT, absent_seen=9, absent_first=NOW, closed_at=NOW, **OURS)
    decision = decided(before, found=True)
    assert ([alert.key for alert in decision.alerts], decision.send) == (["reappeared/1"], "delete")


def test_reading_is_spared_where_active_claims_keep_what_they_have() -> None:
    assert not needs_reading(row(claim(), **OURS), NOW)
    assert needs_reading(row(claim(), ENDING, **OURS), NOW)
    assert needs_reading(row(claim(), GRANTING, **OURS), NOW)
    assert needs_reading(row(ENDING, **OURS), NOW)
    assert needs_reading(row(**OURS), NOW)
    assert not needs_reading(row(claim(ClaimState.SCHEDULED)), NOW)


def test_next_change_is_the_earliest_start_or_end() -> None:
    later = claim(ClaimState.SCHEDULED, starts_at=NOW + 30 * S)
    assert row(claim(), later).next_change(NOW) == NOW + 30 * S
    assert row(claim()).next_change(NOW) == NOW + 60 * S
    assert row(claim(ClaimState.SCHEDULED)).next_change(NOW) == NOW
    assert row(ENDING, claim(ClaimState.WAITING)).next_change(NOW) is None


def test_end_of_what_was_asked_for_makes_due_and_forgets_earlier_absence() -> None:
    before = row(claim(), absent_seen=3, absent_first=NOW, closed_at=NOW, attempt=4, next_at=None)
    after = end_claims(before, before.claims, ORIGIN, cause=EndCause.TERMINATED).state
    assert (after.desired, after.next_at, after.absent_seen, after.closed_at) == ("absent", NOW, 0, None)


def test_end_of_one_of_two_leaves_it_wanted() -> None:
    before = row(claim(), claim(id="grant-2"))
    after = end_claims(before, before.claims[:1], ORIGIN, cause=EndCause.TERMINATED).state
    assert (after.desired, [one.state for one in after.claims]) == (
        "present",
        [ClaimState.REVOKING, ClaimState.ACTIVE],
    )


def test_end_of_what_was_never_asked_for_leaves_the_assignment_alone() -> None:
    before = row(claim(ClaimState.SCHEDULED), absent_seen=3, closed_at=NOW)
    change = end_claims(before, before.claims, ORIGIN, cause=EndCause.WITHDRAWN)
    assert replace(change.state, claims=()) == replace(before, claims=())
    assert [fact.TYPE.split(".")[1] for fact in change.events] == ["revoke_due", "failed"]


# claims whose window has opened


def test_start_begins_what_passed_refuses_what_did_not_and_says_why_the_rest_waits() -> None:
    ids = ("passes", "refused", "unready")
    before = row(*(claim(ClaimState.SCHEDULED, id=name, granted_at=None) for name in ids))
    verdicts = {
        "passes": Passed(),
        "refused": RecheckRefused("set_changed", "why"),
        "unready": NotYet("policy"),
    }
    change, waiting = start_claims(before, verdicts, ORIGIN, may_begin=True)
    assert [one.state for one in change.state.claims] == [
        ClaimState.GRANTING,
        ClaimState.FAILED,
        ClaimState.SCHEDULED,
    ]
    assert waiting == {"unready": "policy"}
    assert [alert.key for alert in change.alerts] == ["grant_failed/refused"]


def test_start_without_a_slot_waits_for_its_turn() -> None:
    before = row(claim(ClaimState.SCHEDULED))
    change, waiting = start_claims(before, {"grant-1": Passed()}, ORIGIN, may_begin=False)
    assert (change.state, change.events) == (before, ())
    assert "turn" in waiting["grant-1"]
    assert wait(before, waiting, again=NOW - S).next_at == NOW - S
    assert wait(before, waiting, again=NOW + S).next_at == NOW


@pytest.mark.parametrize(
    ("observed", "asked", "held", "after"),
    [
        (Observed.UNKNOWN, True, False, timedelta(0)),
        (Observed.ABSENT, True, False, timedelta(0)),
        (Observed.CREATED, True, False, TIMING.poll_every),
        (Observed.CREATED, False, False, TIMING.policy_retry),
        (Observed.CREATED, True, True, TIMING.hold_retry),
        (Observed.ABSENT, False, True, TIMING.hold_retry),
    ],
)
def test_what_could_not_begin_is_looked_at_again_by_what_it_waits_for(
    observed: Observed, asked: bool, held: bool, after: timedelta
) -> None:
    assert look_again_after(row(observed=observed), TIMING, asked=asked, held=held) == after


# whom a fact alarms


@pytest.mark.parametrize(
    ("before", "cause", "keys"),
    [
        (claim(ClaimState.GRANTING), EndCause.EXPIRED, ["grant_failed/grant-1"]),
        (claim(ClaimState.SCHEDULED, granted_at=None), EndCause.EXPIRED, ["grant_failed/grant-1"]),
        (claim(), EndCause.EXPIRED, []),
        (claim(ClaimState.GRANTING), EndCause.TERMINATED, []),
        (claim(ClaimState.SCHEDULED, granted_at=None), EndCause.RETURNED, []),
    ],
)
def test_end_alarms_where_a_promise_was_not_kept(before: Claim, cause: EndCause, keys: list[str]) -> None:
    change = end_claims(row(before, last_error="busy"), [before], ORIGIN, cause=cause)
    assert [alert.key for alert in change.alerts] == keys
    assert all("busy" in alert.detail for alert in change.alerts)


@pytest.mark.parametrize(
    ("code", "key"),
    [
        ("no_witness", "no_witness/target"),
        ("witness_mismatch", "witness_mismatch/target"),
        ("witness_invalid", "witness_invalid/target"),
        ("user_disabled", "grant_failed/grant-1"),
    ],
)
def test_refusal_alarms_under_the_word_of_its_reason(code: str, key: str) -> None:
    before = row(claim(ClaimState.SCHEDULED))
    [alert] = move(before, [life.refuse(before.claims[0], ORIGIN, code=code, detail="why")]).alerts
    assert alert.key == key


# extensions


@pytest.mark.parametrize("state", STATES)
def test_extend_of_what_is_witnessed_and_not_over_only(state: ClaimState) -> None:
    before = claim(state, extensions=(extension(),))
    if state in {ClaimState.SCHEDULED, ClaimState.GRANTING, ClaimState.ACTIVE}:
        after, [fact] = parts(life.extend(before, extension(), ORIGIN))
        assert (after.state, after.version, fact.version) == (state, 8, 8)
        assert (after.ends_at, after.vouched_by[1], after.approval_holds) == (
            NOW + 120 * S,
            "extension-1",
            True,
        )
        assert after.waiting == ()
        until = NOW + 120 * S + before.session_duration
        assert after.credentials_until == (until if state is ClaimState.ACTIVE else None)
    else:
        with pytest.raises(Bug):
            life.extend(before, extension(), ORIGIN)


@pytest.mark.parametrize("changes", [{"ends_at": NOW}, {"ends_at": NOW - S}, {"ends_at": NOW + 120 * S}])
def test_extend_of_what_is_over_or_lasts_as_long_is_a_bug(changes: dict[str, Any]) -> None:
    with pytest.raises(Bug):
        life.extend(claim(**changes), extension(), ORIGIN)


@pytest.mark.parametrize("state", sorted(OPEN))
@pytest.mark.parametrize("cause", EndCause)
def test_end_fails_every_extension_that_waits_after_its_own_facts(state: ClaimState, cause: EndCause) -> None:
    waiting = (extension(), extension(subject_id="extension-2"))
    after, facts = parts(life.end(claim(state, extensions=waiting), ORIGIN, cause=cause))
    failed = [fact for fact in facts if isinstance(fact, access.AccessExtensionFailed)]
    assert [fact.subject_id for fact in failed] == ["extension-1", "extension-2"]
    assert facts[-2:] == failed
    assert [fact.version for fact in facts] == list(range(8, 8 + len(facts)))
    assert after.version == facts[-1].version
    assert after.waiting == ()
    code = "stopped" if cause.is_stop else "too_late" if cause is EndCause.EXPIRED else "not_granted"
    assert {fact.code for fact in failed} == {code}


# what becomes of calls

CREATING = row(op=Op("create", NOW), desired="present", **OURS)
DELETING = row(op=Op("delete", NOW), **OURS)
SOFT = ("throttled", "slots_full", "conflict")
FINAL = ("not_found", "denied", "quota", "invalid", "kms")


def refused(before: Assignment, code: str) -> Assignment:
    return call_outcomes.refused(before, code, "text", now=NOW, jitter=0, timing=TIMING)


@pytest.mark.parametrize("code", SOFT)
def test_creation_refused_for_now_uses_up_no_attempt(code: str) -> None:
    after = refused(CREATING, code)
    assert (after.op, after.attempt) == (None, 0)
    assert after.next_at is not None
    assert after.next_at > NOW


@pytest.mark.parametrize("code", FINAL)
def test_creation_refused_for_good_is_given_up_at_the_next_look(code: str) -> None:
    after = refused(CREATING, code)
    decision = decided(after, GRANTING, found=False)
    assert {after.code for after, _ in decision.moved} == {f"aws_{code}"}


@pytest.mark.parametrize("code", [*SOFT, *FINAL[1:], "transient"])
def test_deletion_refused_is_tried_again_however_often(code: str) -> None:
    after = refused(replace(DELETING, attempt=1000), code)
    assert after.next_at == NOW + TIMING.back_off_longest
    assert decided(after, ENDING, found=True).send == "delete"


def test_deletion_of_nothing_is_read_back_no_sooner_than_a_list_is_asked_again() -> None:
    after = refused(DELETING, "not_found")
    assert (after.observed, after.next_at) == (Observed.DELETED, NOW + TIMING.poll_every)


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"), [(1, 0, 2), (1, 1, 1), (3, 0, 8), (9, 0, 20), (99, 0.5, 15)]
)
def test_back_off_doubles_to_its_longest_and_is_jittered(attempt: int, jitter: float, seconds: float) -> None:
    assert TIMING.back_off(attempt, jitter) == seconds * S


def test_lost_call_stays_open_until_it_was_looked_for() -> None:
    after = call_outcomes.lost(CREATING, "cut off", NOW, TIMING)
    assert after.op == CREATING.op
    assert call_outcomes.forgotten(after, NOW + 4.9 * S, TIMING) == after
    assert call_outcomes.forgotten(after, NOW + 5 * S, TIMING).op is None


@pytest.mark.parametrize(("before", "observed"), [(CREATING, Observed.CREATED), (DELETING, Observed.DELETED)])
def test_success_is_only_a_reason_to_look(before: Assignment, observed: Observed) -> None:
    after = call_outcomes.succeeded(before, NOW)
    assert (after.op, after.observed, after.next_at) == (None, observed, NOW)


@pytest.mark.parametrize(
    ("before", "observed"), [(CREATING, Observed.DOUBTFUL), (DELETING, Observed.UNKNOWN)]
)
def test_failure_counts_an_attempt(before: Assignment, observed: Observed) -> None:
    after = call_outcomes.failed(before, "internal", now=NOW, jitter=0, timing=TIMING)
    assert (after.op, after.observed, after.attempt, after.last_code) == (None, observed, 1, "failed")


# the re-check

CLAIM = claim(ClaimState.SCHEDULED)
GRANTS = [(CLAIM.id, CLAIM.user_id)]
HASH = content_of(CLAIM, GRANTS)
CHECKED = replace(CLAIM, content_hash=HASH)
ACCOUNT = doc.Account(id=CLAIM.account_id, name="a", state="ACTIVE")
SET = doc.PermissionSet(id="ps-1", arn="arn", name="s", digest="digest")
KNOWN = Known(
    instance="default", ready=True, account=ACCOUNT,
    registered_account=doc.RegisteredAccount(id=ACCOUNT.id), permission_set=SET,
    registered_set=doc.RegisteredSet(id="ps-1"), user=doc.User(id="user-ann", user_name="ann"),
    may_request=Answer(allowed=True, code="ALLOW"), witness=HASH, content=HASH,
    approval=Passed(),
)  # fmt: skip
WELL = Live(user_enabled=True, account_state="ACTIVE", set_digest="digest")


def test_recheck_of_what_still_holds_passes() -> None:
    assert isinstance(recheck(CHECKED, KNOWN, None), Passed)
    assert isinstance(recheck(CHECKED, KNOWN, WELL), Passed)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"instance": "other"}, "instance_unknown"),
        ({"witness": None}, "no_witness"),
        ({"witness": "other"}, "witness_mismatch"),
        ({"content": "other"}, "witness_mismatch"),
        ({"approval": RecheckRefused("witness_invalid", "one vote is missing")}, "witness_invalid"),
        ({"account": None}, "account_unknown"),
        ({"account": ACCOUNT.model_copy(update={"state": "SUSPENDED"})}, "account_not_active"),
        ({"registered_account": None}, "account_not_registered"),
        ({"account": ACCOUNT.model_copy(update={"management": True})}, "account_protected"),
        ({"account": ACCOUNT.model_copy(update={"delegated_administrator": True})}, "account_protected"),
        ({"permission_set": None}, "set_unknown"),
        ({"registered_set": None}, "set_not_registered"),
        ({"permission_set": SET.model_copy(update={"digest": "other"})}, "set_changed"),
        ({"permission_set": SET.model_copy(update={"session_duration": 3601 * S})}, "session_too_long"),
        ({"user": None}, "user_unknown"),
        ({"user": doc.User(id="user-ann", user_name="ann", enabled=False)}, "user_disabled"),
        ({"may_request": Answer(allowed=False, code="NO_RULE")}, "not_permitted"),
    ],
)
def test_recheck_refuses_what_does_not_hold_any_more(changes: dict[str, Any], code: str) -> None:
    verdict = recheck(CHECKED, replace(KNOWN, **changes), WELL)
    assert isinstance(verdict, RecheckRefused)
    assert verdict.code == code
    assert verdict.detail


@pytest.mark.parametrize(
    "accepted",
    [
        {
            "account": ACCOUNT.model_copy(update={"management": True}),
            "registered_account": doc.RegisteredAccount(id=ACCOUNT.id, protected_override=True),
        },
        {
            "permission_set": SET.model_copy(update={"session_duration": 12 * 3600 * S}),
            "registered_set": doc.RegisteredSet(id="ps-1", long_session_acknowledged=True),
        },
        {"permission_set": SET.model_copy(update={"session_duration": 3600 * S})},
    ],
    ids=["protected account", "long session", "session of an hour"],
)
def test_recheck_passes_what_an_administrator_has_accepted(accepted: dict[str, Any]) -> None:
    assert isinstance(recheck(CHECKED, replace(KNOWN, **accepted), WELL), Passed)


@pytest.mark.parametrize(
    ("live", "code"),
    [
        (replace(WELL, user_enabled=None), "user_unknown"),
        (replace(WELL, user_enabled=False), "user_disabled"),
        (replace(WELL, account_state=None), "account_unknown"),
        (replace(WELL, account_state="CLOSED"), "account_not_active"),
        (replace(WELL, set_digest=None), "set_unknown"),
        (replace(WELL, set_digest="other"), "set_changed"),
    ],
)
def test_recheck_believes_aws_more_than_the_tables(live: Live, code: str) -> None:
    verdict = recheck(CHECKED, KNOWN, live)
    assert isinstance(verdict, RecheckRefused)
    assert verdict.code == code


def test_recheck_without_the_tables_is_waited_out() -> None:
    unready = replace(KNOWN, ready=False, account=None, permission_set=None, user=None)
    assert isinstance(recheck(CHECKED, unready, None), NotYet)
    assert isinstance(recheck(CHECKED, replace(KNOWN, approval=NotYet("older here")), None), NotYet)


@pytest.mark.parametrize(
    ("witness", "asked", "content", "verdict"),
    [
        (None, "h", "h", NotYet),
        ("h", "h", "h", Passed),
        ("x", "h", "h", RecheckRefused),
        ("h", "x", "h", RecheckRefused),
        ("h", "h", "x", RecheckRefused),
    ],
)
def test_witness_ticket_and_deed_must_agree(
    witness: str | None, asked: str, content: str, verdict: type
) -> None:
    assert isinstance(witness_verdict(witness=witness, asked=asked, content=content), verdict)


@pytest.mark.parametrize(
    "changes",
    [
        {"ends_at": CLAIM.ends_at + S},
        {"subject_id": "another"},
        {"extension_id": "extension"},
        {"extension_id": CLAIM.subject_id},
        {"revision": 2},
    ],
    ids=str,
)
def test_content_covers_subject_kind_revision_and_window(changes: dict[str, Any]) -> None:
    assert content_of(replace(CLAIM, **changes), GRANTS) != HASH


def test_content_covers_every_grant_with_its_user() -> None:
    assert content_of(CLAIM, [*GRANTS, ("grant-2", "user-bob")]) != HASH
    assert content_of(CLAIM, [(CLAIM.id, "user-bob")]) != HASH
    assert content_of(CLAIM, [("grant-2", CLAIM.user_id)]) != HASH
