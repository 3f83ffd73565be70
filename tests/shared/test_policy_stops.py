"""A stop needs to know people and roles only: it works before rules and catalogue are read."""

import pytest

from shared.foundation.clock import ManualClock
from shared.policy.world import World
from tests.support import organisation as org
from tests.support.harness import NOW, ready_tables


@pytest.fixture
def half_read() -> World:
    """The inventory is complete, the other owners' documents are not."""
    world = ready_tables(ManualClock(NOW)).world
    world.ready = False
    return world


@pytest.mark.parametrize(
    ("who", "verb", "code"),
    [
        ("root", "terminate", "ALLOW"),
        ("carl", "terminate", "NOT_READY"),  # his right comes from a rule that may be missing its deny
        ("aud", "terminate", "NOT_READY"),
        ("root", "config.write", "NOT_READY"),
        ("root", "ticket.read", "NOT_READY"),
        ("ann", "request", "NOT_READY"),
    ],
)
def test_may_before_everything_is_read_allows_stops_by_role_only(
    half_read: World, who: str, verb: str, code: str
) -> None:
    assert half_read.may(org.user_id(who), verb, account_id=org.P, set_id=org.ADMIN, now=NOW).code == code


def test_may_before_people_are_read_allows_nothing(half_read: World) -> None:
    half_read.people_ready = False
    assert half_read.may(org.user_id("root"), "terminate", now=NOW).code == "NOT_READY"
