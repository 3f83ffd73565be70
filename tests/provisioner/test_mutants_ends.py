"""Rules of grants and ends that only a mutant found untested (bench/mutations/ends.py); pure."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.provisioner.domain import closing
from services.provisioner.domain import lifecycle as life
from services.provisioner.domain.assignments import Observed
from services.provisioner.domain.claims import ClaimState
from shared.contracts import access
from tests.support.harness import NOW
from tests.support.provisioner_domain import ORIGIN, S, claim, decided, parts, row

HOUR = timedelta(hours=1)
GRANTING = claim(ClaimState.GRANTING)
ENDING = claim(ClaimState.REVOKING)
CLOSED = row(
    ours=True, observed=Observed.ABSENT, absent_seen=9, absent_first=NOW - 60 * S, closed_at=NOW - 30 * S
)


@pytest.mark.parametrize(("by", "told"), [(None, "approval"), ("stop", "stop")])
def test_fact_follows_from_what_moved_the_claim_or_else_from_its_approval(by: str | None, told: str) -> None:
    scheduled = claim(ClaimState.SCHEDULED, cause="approval")
    _, [fact] = parts(life.begin(scheduled, replace(ORIGIN, cause=by)))
    assert fact.cause == told


def test_every_fact_of_a_claim_has_the_next_number() -> None:
    after, [first] = parts(life.begin(claim(ClaimState.SCHEDULED), ORIGIN))
    _, [second] = parts(life.grant(after, ORIGIN, already_held=False, request_id=None))
    assert (first.version, second.version) == (8, 9)


# how a claim is over


def test_revoke_that_was_seen_before_the_end_is_not_late() -> None:
    """The clock was set back in between."""
    change = closing.close_absent(ENDING, ORIGIN, absent_first=NOW - 9 * S, request_id=None)
    _, [fact] = parts(change)
    assert isinstance(fact, access.AccessRevoked)
    assert fact.late_by == 0 * S
    assert fact.credentials_until == NOW - S + HOUR


@pytest.mark.parametrize(
    "before", [ENDING, GRANTING, claim(ClaimState.SCHEDULED)], ids=["granted", "granting", "scheduled"]
)
def test_deletion_is_remembered_by_no_claim_but_those_it_undoes(before: object) -> None:
    assert isinstance(before, type(ENDING))
    assert closing.undo(before, ORIGIN, seen=True, request_id="r").state == before


def test_what_is_undone_names_the_request_that_made_it() -> None:
    never = claim(ClaimState.REVOKING, granted_at=None)
    assert closing.undo(never, ORIGIN, seen=False, request_id="r").state.request_id == "r"


def test_credentials_of_what_is_kept_count_from_its_own_end() -> None:
    after, [fact] = parts(closing.release(ENDING, ORIGIN, kept_by=("grant-2",)))
    assert (after.credentials_until, fact.credentials_until) == (NOW - S + HOUR, NOW - S + HOUR)


# towards present


def test_grant_forgets_the_attempts_that_it_took() -> None:
    tired = row(ours=True, observed=Observed.CREATED, desired="present", settled_at=NOW, attempt=3)
    assert decided(tired, GRANTING, found=True).row.attempt == 0


def test_access_that_is_there_again_and_wanted_again_is_no_alarm() -> None:
    reappeared = row(ours=True, observed=Observed.CREATED, settled_at=NOW, reappeared=True)
    after = decided(reappeared, GRANTING, found=True).row
    assert not after.reappeared


def test_what_was_closed_is_open_again_with_its_next_claim() -> None:
    assert decided(CLOSED, GRANTING, found=False).row.closed_at is None


# towards absent


def test_what_is_there_again_is_closed_anew_when_it_is_gone() -> None:
    """From then on it is looked at for a quarter of an hour once more."""
    assert decided(CLOSED, found=True).row.closed_at is None


@pytest.mark.parametrize("observed", [Observed.DELETED, Observed.UNKNOWN])
def test_what_is_there_again_is_told_as_long_as_deletions_come_to_nothing(observed: Observed) -> None:
    again = row(
        ours=True, observed=observed, reappeared=True, attempt=1 if observed is Observed.UNKNOWN else 0
    )
    assert [alert.key for alert in decided(again, found=True).alerts] == ["reappeared/1/still"]


def test_what_is_not_ours_is_known_as_such_from_its_end_on() -> None:
    after = decided(row(), ENDING, found=True)
    assert (after.row.pre_existing, after.names, after.send) == (True, ["released"], None)


def test_what_was_put_off_before_an_end_puts_off_no_later_grant() -> None:
    before = row(ours=True, observed=Observed.DELETED, absent_seen=2, absent_first=NOW - 20 * S, put_off=7)
    after = decided(before, ENDING, found=False)
    assert (after.names, after.row.put_off) == (["revoked"], 0)


@pytest.mark.parametrize(("seen", "since", "over"), [(2, 20, True), (1, 20, False), (2, 19.9, False)])
def test_absence_counts_with_the_third_look_twenty_seconds_after_the_first(
    seen: int, since: float, over: bool
) -> None:
    before = row(ours=True, observed=Observed.DELETED, absent_seen=seen, absent_first=NOW - since * S)
    assert (decided(before, ENDING, found=False).names == ["revoked"]) is over
