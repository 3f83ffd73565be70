"""A directory that AWS has not shown for long: reading and ending access go on, deciding does not."""

from datetime import timedelta

import pytest

from shared.foundation.clock import ManualClock
from shared.foundation.errors import NotReady
from shared.policy.policy import Policy, Purpose
from tests.support import organisation as org
from tests.support.harness import NOW, marker_of

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def policy(clock: ManualClock) -> Policy:
    """Everything is read and fresh; AWS was read now."""
    policy = Policy(org.ROLES, clock=clock, stale_after=timedelta(minutes=1), directory_stale_after=HOUR)
    for owner, documents in org.everything().items():
        policy.take(owner, *documents)
    mark(policy, clock)
    return policy


def mark(policy: Policy, clock: ManualClock) -> None:
    """The owners state every ten seconds what they have; the provisioner also since when it is true."""
    for owner, documents in org.everything().items():
        read_at = NOW if owner == "provisioner" else None
        marker = marker_of(owner, documents, at=clock.now())
        policy.note_marker(marker.model_copy(update={"read_at": read_at}))


@pytest.mark.parametrize(("later", "refused"), [(HOUR, False), (HOUR + timedelta(seconds=1), True)])
def test_snapshot_for_writing_is_refused_once_aws_was_read_too_long_ago(
    policy: Policy, clock: ManualClock, later: timedelta, refused: bool
) -> None:
    clock.advance(later)
    mark(policy, clock)
    assert not policy.stale, "the markers are new: the provisioner is alive"
    assert policy.directory_stale == refused
    assert (policy.snapshot_if_ready(purpose="write") is None) == refused


@pytest.mark.parametrize("purpose", ["read", "configure"])
def test_snapshot_for_anything_else_is_given_all_the_same(
    policy: Policy, clock: ManualClock, purpose: Purpose
) -> None:
    clock.advance(2 * HOUR)
    mark(policy, clock)
    assert policy.snapshot(purpose=purpose).complete


def test_refusal_says_since_when_and_who_has_to_look(policy: Policy, clock: ManualClock) -> None:
    clock.advance(2 * HOUR)
    mark(policy, clock)
    with pytest.raises(NotReady, match="120 minutes ago") as refused:
        policy.snapshot(purpose="write")
    assert refused.value.code == "directory_stale"


def test_an_age_that_nobody_states_refuses_nothing(clock: ManualClock) -> None:
    policy = Policy(org.ROLES, clock=clock, stale_after=3 * HOUR, directory_stale_after=HOUR)
    for owner, documents in org.everything().items():
        policy.take(owner, *documents)
        policy.note_marker(marker_of(owner, documents, at=NOW))
    clock.advance(2 * HOUR)
    assert policy.directory_age is None
    assert policy.snapshot_if_ready(purpose="write") is not None
