"""Bindings in a snapshot: whom a subject is, and who is quiet after a rebinding."""

from datetime import datetime, timedelta

import pytest

from shared.contracts.approval import Vote
from shared.contracts.documents import binding_id
from shared.contracts.event import Revisions
from shared.contracts.people import Person
from shared.foundation.clock import new_id
from shared.policy import rights
from shared.policy.approvals import approval_problem
from shared.policy.snapshot import Snapshot
from tests.support import organisation as org
from tests.support import policy_example as example
from tests.support.bindings import DAY, ISSUER, binding, rebound
from tests.support.harness import NOW
from tests.support.policy_example import ADMIN, NINE, P

TICK = timedelta(microseconds=1)


def test_binding_of_a_subject_is_found_by_issuer_and_subject() -> None:
    snapshot = Snapshot.of(
        {}, [binding("s", "ann", at=NINE), binding("s", "bob", at=NINE, iss="https://other")]
    )
    found = snapshot.sign_ins.binding(ISSUER, "s")
    assert found is not None
    assert found.user_id == "ann"
    assert snapshot.sign_ins.binding(ISSUER, "t") is None


def test_binding_id_tells_issuer_and_subject_apart() -> None:
    assert binding_id("a:b", "c") != binding_id("a", "b:c")
    assert binding_id("a", "b") != binding_id("b", "a")


def test_bindings_of_a_person_are_the_live_ones_of_every_issuer() -> None:
    other = binding("t", "ann", at=NINE, iss="https://other")
    snapshot = Snapshot.of({}, [binding("s", "ann", at=NINE), other, binding("u", "bob", at=NINE)])
    assert {one.sub for one in snapshot.sign_ins.of("ann")} == {"s", "t"}
    snapshot = snapshot.replace(binding("s", "bob", at=NINE))
    assert snapshot.sign_ins.of("ann") == [other]
    gone = snapshot.without(other)
    assert gone.sign_ins.of("ann") == []
    assert gone.sign_ins.binding(other.iss, "t") is None
    assert gone.sign_ins.is_replaced(other.iss, "t")
    assert not gone.sign_ins.is_replaced(other.iss, "unseen")
    assert not gone.sign_ins.is_replaced(ISSUER, "s")


@pytest.mark.parametrize(
    ("at", "quiet"),
    [(NINE - TICK, False), (NINE, True), (NINE + DAY - TICK, True), (NINE + DAY, False)],
)
def test_quiet_is_the_day_after_a_rebinding_and_no_more(at: datetime, quiet: bool) -> None:
    snapshot = Snapshot.of({}, [rebound("s", "ann", at=NINE), binding("t", "bob", at=NINE)])
    assert snapshot.sign_ins.quiet_until("ann", at) == (NINE + DAY if quiet else None)
    assert snapshot.sign_ins.quiet_until("bob", at) is None


def test_quiet_until_is_the_latest_of_a_persons_rebindings() -> None:
    later = rebound("t", "ann", at=NINE + timedelta(hours=1), iss="https://other")
    snapshot = Snapshot.of({}, [later, rebound("s", "ann", at=NINE)])
    assert snapshot.sign_ins.quiet_until("ann", NINE + timedelta(hours=2)) == later.quiet_until


@pytest.mark.parametrize(
    ("voted", "counts"),
    [(NINE - TICK, True), (NINE, False), (NINE + DAY - TICK, False), (NINE + DAY, True)],
)
def test_vote_of_somebody_quiet_does_not_count_and_an_earlier_one_stands(
    voted: datetime,
    counts: bool,
) -> None:
    votes = [
        Vote(
            id=new_id(),
            stage=stage,
            verdict="approve",
            voter=Person(user_id=name, user_name=name),
            revisions=Revisions(),
            at=voted,
        )
        for stage, name in ((1, "carl"), (2, "dora"))
    ]
    problem = approval_problem(
        example.snapshot().replace(rebound("s", "carl", at=NINE)),
        votes=votes,
        auto_approved_by=None,
        parties=("ann",),
        account_id=P,
        set_id=ADMIN,
        duration=timedelta(hours=1),
        now=NINE + timedelta(hours=2),
    )
    assert (problem is None) == counts


def test_rights_of_administration_wait_while_quiet_and_stops_and_reads_do_not() -> None:
    documents = [one for owned in org.everything().values() for one in owned]
    snapshot = Snapshot.of(org.ROLES, documents)
    root = org.user_id("root")
    quiet = snapshot.replace(rebound("s", root, at=NOW))
    before, during = (rights.verbs_of(one, root, now=NOW) for one in (snapshot, quiet))
    assert set(before) - set(during) == {"config.write", "ops.write"}
    assert {"terminate", "ticket.read", "config.read"} <= set(during)
    assert rights.verbs_of(quiet, root, now=NOW + DAY) == before
