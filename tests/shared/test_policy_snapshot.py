"""A snapshot is a value: it answers as on the day it was taken, and another is derived as if applied."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.documents import Document, Membership, SetGroup, User, shard_of
from shared.foundation.clock import ManualClock
from shared.policy.engine import PolicyEngine
from shared.policy.policy import Policy
from shared.policy.row import RowRefused
from shared.policy.snapshot import Snapshot
from tests.support import policy_example as example
from tests.support.harness import publish
from tests.support.policy_example import ADMIN, NINE, RO, TABLE, D, P

LENGTHS = tuple(timedelta(minutes=minutes) for minutes in (0, 60, 480))


def answers(snapshot: Snapshot) -> Iterator[object]:
    """Everything a snapshot of the worked example can be asked."""
    for account, wanted in ((P, ADMIN), (P, RO), (D, ADMIN), (D, RO)):
        for length in LENGTHS:
            yield snapshot.rules_for(account, wanted, length)
            for verb in ("request", "request_for", "terminate", "approve/A1/1"):
                yield snapshot.who_may(verb, account, wanted, duration=length, now=NINE)
    for user in example.PEOPLE:
        yield snapshot.subjects(user), snapshot.find_user("user_name", user)
        yield snapshot.longest(user, "request", D, ADMIN, now=NINE)


CHANGES: tuple[Document, ...] = (
    example.scope("S1", "user:bob", "ou:dev", "*", 60),
    example.scope("S3", "group:dev", "*", "psg:read", 60, effect="deny"),
    example.scope("new", "group:secops", "*", "*", 480),
    example.scope("S2", "group:dev", "*", "*", 60, deleted=True),
    example.rule("A1", "ou:dev", "*", "group:managers"),
    example.rule("A2", "ou:prod", "*", "group:secops", deleted=True),
    example.rule("new", f"acct:{P}", "*", "user:ann"),
    example.account(D, "prod", tags={"env": "prod"}),
    example.user("ann", enabled=False),
    example.user("eve").model_copy(update={"deleted": True}),
    User(id="bob", user_name="robert", revision=1),
    Membership(id=shard_of("dev", "ann"), members=(), revision=1),
    Membership(id=shard_of("dev", "temp"), members=("temp",), revision=1),
    Membership(id=shard_of("secops", "dora"), members=("dora",), revision=1).tombstone(),
    SetGroup(id="elevated", name="elevated", sets=(ADMIN, RO), revision=1),
    SetGroup(id="read", name="read", revision=1, deleted=True),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.key)
def test_a_snapshot_taken_before_a_change_answers_as_before(change: Document) -> None:
    before = example.snapshot()
    said = list(answers(before))
    after = before.replace(change)
    assert list(answers(after)) != said, "the change must matter, or this shows nothing"
    assert list(answers(before)) == said
    assert all(case.holds(before) for case in TABLE)


def test_a_snapshot_of_the_policy_stays_as_it_was_when_documents_come() -> None:
    policy = Policy(example.ROLES, clock=ManualClock(NINE), stale_after=timedelta(minutes=1))
    publish(policy, *example.documents())
    before = policy.known()
    publish(policy, example.user("ann", enabled=False))
    assert before.user("ann") != policy.known().user("ann")
    assert before.people({"group:dev"}) - policy.known().people({"group:dev"}) == {"ann"}


@given(st.lists(st.sampled_from(CHANGES), max_size=6))
def test_replaced_documents_answer_like_applied_ones(changes: list[Document]) -> None:
    policy = Policy(example.ROLES, clock=ManualClock(NINE), stale_after=timedelta(minutes=1))
    publish(policy, *example.documents(), *changes)
    derived = example.snapshot().replace(*changes)
    newest = {document.key: document for document in (*example.documents(), *changes)}
    fresh = Snapshot.of(example.ROLES, newest.values())
    policy.know_people()
    applied = policy.known()
    for kind in {type(document) for document in newest.values()}:
        assert derived.all(kind) == fresh.all(kind)
        assert [one.id for one in applied.all(kind)] == [one.id for one in fresh.all(kind)]
    assert list(answers(derived)) == list(answers(fresh))
    assert list(answers(derived)) == list(answers(Snapshot.of(example.ROLES, _live(applied))))


def _live(snapshot: Snapshot) -> Iterator[Document]:
    """What is there, in the revisions of the worked example, so that answers can be compared."""
    for kind in {type(document) for document in (*example.documents(), *CHANGES)}:
        for document in snapshot.all(kind):
            yield document.model_copy(update={"revision": 1})


def test_without_a_document_is_as_if_it_had_never_been() -> None:
    extra = example.scope("extra", "user:eve", "*", "*", 480)
    assert list(answers(example.snapshot().replace(extra).without(extra))) == list(
        answers(example.snapshot())
    )


def test_replace_with_a_document_the_policy_cannot_hold_is_refused() -> None:
    before = example.snapshot()
    with pytest.raises(RowRefused, match="subject_star"):
        before.replace(example.scope("S1", "*", "*", "*", 60))
    assert all(case.holds(before) for case in TABLE)


def test_derived_engines_share_the_parsed_matcher() -> None:
    engine = PolicyEngine()
    assert engine.replace("scope/S1", ()).matcher is engine.matcher
