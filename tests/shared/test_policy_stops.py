"""A stop needs to know people and roles only: it works before rules and catalog are read."""

from datetime import timedelta

import pytest

from shared.foundation.clock import ManualClock
from shared.foundation.errors import NotReady
from shared.policy.policy import Policy
from tests.support import organisation as org
from tests.support.harness import NOW, mark


@pytest.fixture
def policy() -> Policy:
    """The inventory is complete, the other owners' documents are not."""
    half_read = Policy(org.ROLES, clock=ManualClock(NOW), stale_after=timedelta(minutes=1))
    for owner, documents in org.everything().items():
        for document in documents:
            half_read.take(owner, document)
    mark(half_read, "provisioner", org.everything()["provisioner"], at=NOW)
    return half_read


@pytest.mark.parametrize(
    ("who", "verb", "code"),
    [
        ("root", "terminate", "ALLOW"),
        ("carl", "terminate", "NOT_READY"),  # the right comes from a rule that may be missing its deny
        ("aud", "terminate", "NOT_READY"),
        ("root", "config.write", "NOT_READY"),
        ("root", "ticket.read", "NOT_READY"),
        ("ann", "request", "NOT_READY"),
    ],
)
def test_may_before_everything_is_read_allows_stops_by_role_only(
    policy: Policy, who: str, verb: str, code: str
) -> None:
    with pytest.raises(NotReady):
        policy.snapshot()
    answer = policy.known().may(org.user_id(who), verb, account_id=org.P, set_id=org.ADMIN, now=NOW)
    assert answer.code == code


def test_may_before_everything_is_read_allows_a_disabled_administrator_nothing(policy: Policy) -> None:
    root = policy.known().user(org.user_id("root"))
    assert root is not None
    policy.take("provisioner", root.model_copy(update={"enabled": False, "revision": root.revision + 1000}))
    assert policy.known().may(org.user_id("root"), "terminate", now=NOW).code == "NOT_READY"


def test_may_before_people_are_read_allows_nothing() -> None:
    policy = Policy(org.ROLES, clock=ManualClock(NOW), stale_after=timedelta(minutes=1))
    for document in org.everything()["provisioner"]:
        policy.take("provisioner", document)
    assert policy.known().may(org.user_id("root"), "terminate", now=NOW).code == "NOT_READY"
    policy.know_people()
    assert policy.known().may(org.user_id("root"), "terminate", now=NOW).allowed
