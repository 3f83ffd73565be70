"""The policy of a replica: complete, fresh and as new as an earlier decision, or NotReady."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta

import pytest

from shared.contracts.documents import AccessScope, Document, RegisteredAccount
from shared.contracts.event import Revisions
from shared.foundation.clock import ManualClock
from shared.foundation.errors import NotReady
from shared.policy.policy import LATEST_MARKER, MarkerRefused, Policy, Purpose
from shared.policy.snapshot import PATIENCE
from tests.support import organisation as org
from tests.support.harness import NOW, mark, publish

STALE_AFTER = timedelta(seconds=60)
SECOND = timedelta(seconds=1)
NEWER = Revisions(catalog=1_000)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def policy(clock: ManualClock) -> Policy:
    """Nothing was read yet."""
    return Policy(org.ROLES, clock=clock, stale_after=STALE_AFTER)


def fill(policy: Policy, given: Mapping[str, Sequence[Document]]) -> None:
    for owner, documents in given.items():
        for document in documents:
            policy.take(owner, document)
        mark(policy, owner, documents, at=NOW)


def code_of(policy: Policy, purpose: Purpose = "read", at_least: Revisions | None = None) -> str | None:
    """Why there is no snapshot; None where there is one."""
    try:
        policy.snapshot(at_least, purpose=purpose)
    except NotReady as error:
        return error.code
    return None


def test_snapshot_before_every_owner_has_marked_is_not_ready(policy: Policy) -> None:
    with pytest.raises(NotReady, match="waiting for approval, provisioner, ticket"):
        policy.snapshot()
    given = org.everything()
    fill(policy, {name: given[name] for name in ("ticket", "approval")})
    assert policy.unready_owners == ["provisioner"]
    assert code_of(policy) == "tables_not_ready"
    assert not policy.known().complete
    fill(policy, {"provisioner": given["provisioner"]})
    assert policy.snapshot(purpose="write").complete


def test_snapshot_while_a_document_is_missing_is_not_ready(policy: Policy) -> None:
    documents = org.everything()
    fill(policy, {**documents, "approval": []})
    policy.take("approval", documents["approval"][0])
    mark(policy, "approval", documents["approval"], at=NOW)
    assert policy.unready_owners == ["approval"]
    fill(policy, {"approval": documents["approval"]})
    assert policy.ready


def test_snapshot_while_the_reader_is_on_its_way_to_the_end_is_not_ready(policy: Policy) -> None:
    fill(policy, org.everything())
    policy.catching_up = True
    assert code_of(policy) == "tables_not_ready"
    policy.catching_up = False
    assert code_of(policy) is None


def test_snapshot_if_ready_is_none_wherever_snapshot_is_not_ready(policy: Policy, clock: ManualClock) -> None:
    assert policy.snapshot_if_ready() is None
    fill(policy, org.everything())
    known = policy.known().revisions
    assert policy.snapshot_if_ready(known, purpose="write") is policy.snapshot()
    assert policy.snapshot_if_ready(known, NEWER) is None
    clock.advance(STALE_AFTER + SECOND)
    assert policy.snapshot_if_ready() is policy.snapshot()
    assert policy.snapshot_if_ready(purpose="write") is None


def test_take_in_any_order_and_twice_verifies_the_same(policy: Policy) -> None:
    documents = org.everything()
    fill(policy, {name: [*reversed(owned), *owned] for name, owned in documents.items()})
    for name, owned in documents.items():
        mark(policy, name, owned, at=NOW)
    assert policy.ready


def test_take_of_a_deletion_is_counted_out_and_an_older_revision_does_not_bring_it_back(
    policy: Policy,
) -> None:
    documents = org.everything()
    fill(policy, documents)
    first = documents["ticket"][0]
    gone = first.model_copy(update={"deleted": True, "revision": 99})
    policy.take("ticket", gone)
    policy.take("ticket", first)
    mark(policy, "ticket", [*documents["ticket"][1:], gone], at=NOW)
    assert policy.snapshot().get(type(first), first.id) is None


def test_a_marker_from_before_what_is_known_says_nothing(policy: Policy) -> None:
    fill(policy, org.everything())
    policy.take("ticket", RegisteredAccount(id="555555555555", revision=50))
    mark(policy, "ticket", [], at=NOW)
    assert policy.ready


@pytest.mark.parametrize(
    ("purpose", "age", "code"),
    [
        ("write", STALE_AFTER, None),
        ("configure", STALE_AFTER, None),
        ("read", STALE_AFTER + SECOND, None),
        ("write", STALE_AFTER + SECOND, "tables_stale"),
        ("configure", STALE_AFTER + SECOND, "tables_stale"),
    ],
)
def test_snapshot_of_stale_documents_is_for_reading_only(
    policy: Policy, clock: ManualClock, purpose: Purpose, age: timedelta, code: str | None
) -> None:
    fill(policy, org.everything())
    clock.advance(age)
    assert code_of(policy, purpose) == code


def test_one_stale_owner_is_enough_to_be_stale(policy: Policy, clock: ManualClock) -> None:
    documents = org.everything()
    fill(policy, documents)
    clock.advance(timedelta(seconds=90))
    for name in ("ticket", "approval"):
        mark(policy, name, documents[name], at=clock.now())
    assert (policy.age, policy.stale) == (timedelta(seconds=90), True)
    mark(policy, "provisioner", documents["provisioner"], at=clock.now())
    assert (policy.age, policy.stale) == (timedelta(0), False)


@pytest.mark.parametrize(
    ("ahead", "taken"),
    [(LATEST_MARKER - SECOND, True), (LATEST_MARKER, True), (LATEST_MARKER + SECOND, False)],
)
def test_a_marker_from_the_future_is_refused_and_none_makes_fresher_than_now(
    policy: Policy, clock: ManualClock, ahead: timedelta, taken: bool
) -> None:
    documents = org.everything()
    fill(policy, documents)
    clock.advance(timedelta(seconds=30))
    for name in documents:
        with nullcontext() if taken else pytest.raises(MarkerRefused, match="is to come"):
            mark(policy, name, documents[name], at=clock.now() + ahead)
    assert policy.age == timedelta(seconds=0 if taken else 30)
    clock.advance(STALE_AFTER + SECOND - policy.age)
    assert policy.stale, "a moment to come does not keep it fresh"


def test_a_true_marker_counts_after_one_that_was_ahead(policy: Policy, clock: ManualClock) -> None:
    documents = org.everything()
    fill(policy, documents)
    for name in documents:
        mark(policy, name, documents[name], at=NOW + LATEST_MARKER)
    clock.advance(timedelta(seconds=10))
    fill_marks(policy, documents, at=clock.now())
    assert policy.age == timedelta(0)
    fill_marks(policy, documents, at=NOW)
    assert policy.age == timedelta(0), "one that is repeated makes nothing older"


def fill_marks(policy: Policy, documents: Mapping[str, Sequence[Document]], *, at: datetime) -> None:
    for name in documents:
        mark(policy, name, documents[name], at=at)


def test_what_was_written_together_is_shown_together(policy: Policy) -> None:
    """Everybody in owners-prod is replaced; nobody sees the group without either."""
    fill(policy, org.everything())
    owners = org.group_id("owners-prod")
    before, first = policy.snapshot().members_of(owners), policy.snapshot().revisions.inventory + 1
    people = [org.user_id(f"new-{number}") for number in range(8)]
    shards = [
        shard.model_copy(update={"revision": first + number, "together_until": first + 15})
        for number, shard in enumerate(org.members(owners, *people))
    ]
    for shard in shards[:-1]:
        policy.take("provisioner", shard)
        assert policy.snapshot().members_of(owners) == before
        assert policy.snapshot().revisions.inventory < first
    policy.take("provisioner", shards[-1])
    assert policy.snapshot().members_of(owners) == frozenset(people)
    assert policy.snapshot().revisions.inventory == first + 15


@pytest.mark.parametrize("by", ["a later document", "a marker"])
def test_what_was_written_together_is_shown_when_its_last_was_replaced_since(policy: Policy, by: str) -> None:
    """A compacted topic has lost the last document of the write: something later stands for it."""
    fill(policy, org.everything())
    known = policy.snapshot().revisions.catalog
    part = RegisteredAccount(id="555555555555", revision=known + 1, together_until=known + 2)
    policy.take("ticket", part)
    assert policy.snapshot().registered_account(part.id) is None
    if by == "a marker":
        mark(policy, "ticket", [part.model_copy(update={"revision": known + 2})], at=NOW)
    else:
        policy.take("ticket", RegisteredAccount(id="666666666666", revision=known + 3))
    assert policy.known().registered_account(part.id) is not None


@pytest.mark.parametrize(
    ("purpose", "code"), [("read", None), ("write", "tables_refused"), ("configure", None)]
)
def test_snapshot_beside_a_refused_document_is_for_reading_and_correcting(
    policy: Policy, purpose: Purpose, code: str | None
) -> None:
    fill(policy, org.everything())
    read = policy.snapshot().get(AccessScope, "read")
    assert read is not None
    publish(policy, read.model_copy(update={"subjects": ("*",)}))
    assert list(policy.refused) == ["scope/read"]
    assert policy.snapshot().get(AccessScope, "read") == read, "the document before stays in force"
    assert code_of(policy, purpose) == code
    publish(policy, read)
    assert code_of(policy, purpose) is None


def test_snapshot_older_than_an_earlier_decision_is_not_ready(policy: Policy) -> None:
    fill(policy, org.everything())
    here = policy.snapshot().revisions
    assert policy.snapshot(here).revisions == here
    for counter in ("catalog", "rules", "inventory"):
        wanted = here.raised(counter, getattr(here, counter) + 1)
        assert code_of(policy, at_least=wanted) == "tables_behind", counter


def test_snapshot_as_new_as_a_decision_is_waited_for_a_minute(policy: Policy, clock: ManualClock) -> None:
    fill(policy, org.everything())
    clock.advance(PATIENCE - SECOND)
    with pytest.raises(NotReady, match="older here"):
        policy.snapshot(NEWER, decided_at=NOW)
    clock.advance(SECOND)
    assert policy.snapshot(NEWER, decided_at=NOW).complete
    with pytest.raises(NotReady):
        policy.snapshot(NEWER, decided_at=NOW + 2 * PATIENCE)
    with pytest.raises(NotReady):
        policy.snapshot(NEWER)


def test_known_recognises_people_as_soon_as_the_inventory_is_complete(policy: Policy) -> None:
    documents = org.everything()["provisioner"]
    for document in documents:
        policy.take("provisioner", document)
    assert not policy.known().people_known
    mark(policy, "provisioner", documents, at=NOW)
    assert policy.known().people_known
    policy.take("provisioner", documents[0].model_copy(update={"revision": 500}))
    mark(policy, "provisioner", [], at=NOW)
    assert policy.known().people_known, "once known they stay known"


def test_a_complete_copy_of_no_directory_is_not_ready_and_knows_nobody(policy: Policy) -> None:
    """An installation whose first reading of AWS has not succeeded: nobody is a stranger yet."""
    fill(policy, {**org.everything(), "provisioner": []})
    assert (policy.ready, policy.unready_owners) == (False, [])
    assert code_of(policy) == "tables_not_ready"
    assert not policy.known().people_known
    with pytest.raises(NotReady, match="the first reading of accounts and people"):
        policy.snapshot()
    fill(policy, {"provisioner": org.everything()["provisioner"]})
    assert policy.snapshot(purpose="write").people_known


async def test_wait_for_a_revision_that_is_here_does_not_wait(policy: Policy) -> None:
    fill(policy, org.everything())
    await policy.wait_for(policy.snapshot().revisions, timeout_s=0)


async def test_wait_for_a_revision_that_does_not_come_is_not_ready(policy: Policy) -> None:
    with pytest.raises(NotReady, match="has not arrived here yet") as refused:
        await policy.wait_for(NEWER, timeout_s=0.01)
    assert refused.value.code == "revision_not_here"


async def test_wait_for_ends_when_the_write_arrives(policy: Policy) -> None:
    fill(policy, org.everything())
    waiting = [asyncio.create_task(policy.wait_for(NEWER, timeout_s=15)) for _ in range(2)]
    await asyncio.sleep(0)
    policy.take("ticket", RegisteredAccount(id="555555555555", revision=NEWER.catalog - 1))
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    policy.take("ticket", RegisteredAccount(id="555555555555", revision=NEWER.catalog))
    await asyncio.gather(*waiting)
