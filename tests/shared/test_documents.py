"""Documents as their owner keeps them: numbered without gaps, counted, fingerprinted, published in order."""

import asyncio
import json

import pytest

from shared.contracts import topics
from shared.contracts.documents import DOCUMENTS, Marker, RegisteredAccount, RegisteredSet, SetGroup
from shared.database.pool import Pool
from shared.documents import document_store
from shared.foundation.errors import Conflict, NotFound
from shared.messaging import outbox
from tests.support.harness import NOW
from tests.support.units import unit


async def put(
    pool: Pool, *given: RegisteredAccount | RegisteredSet, expected: int | None = None
) -> list[int]:
    async with unit(pool) as work:
        stored = await document_store.put(work, "ticket", *given, at=NOW, expected=expected)
    return [document.revision for document in stored]


async def marker(pool: Pool) -> Marker:
    async with unit(pool) as work:
        return await document_store.publish_marker(work, "ticket", at=NOW)


async def published(pool: Pool) -> list[tuple[str, str]]:
    rows = await pool.fetch("SELECT key, type FROM outbox WHERE topic = $1 ORDER BY id", topics.CATALOG)
    return [(row["key"], row["type"]) for row in rows]


def account(number: int, **more: object) -> RegisteredAccount:
    return RegisteredAccount(id=f"{number:012}", **more)  # type: ignore[arg-type]


async def test_each_write_takes_the_next_revision_and_is_published(pool: Pool) -> None:
    assert await put(pool, account(1), RegisteredSet(id="ps-1")) == [1, 2]
    assert await put(pool, account(1, labels={"a": "b"})) == [3]
    assert await published(pool) == [
        ("registered_account/000000000001", "document.registered_account.v1"),
        ("registered_set/ps-1", "document.registered_set.v1"),
        ("registered_account/000000000001", "document.registered_account.v1"),
    ]
    async with pool.acquire() as conn:
        found = await document_store.get(conn, RegisteredAccount, "000000000001")
    assert found is not None
    assert (found.labels, found.revision) == ({"a": "b"}, 3)


async def test_the_marker_counts_and_fingerprints_what_is_live(pool: Pool) -> None:
    empty = await marker(pool)
    assert (empty.revision, empty.count, int(empty.digest, 16)) == (0, 0, 0)
    await put(pool, account(1), account(2))
    await put(pool, account(1, labels={"a": "b"}))
    await put(pool, account(2, deleted=True))
    found = await marker(pool)
    assert (found.owner, found.revision, found.count) == ("ticket", 4, 1)
    live = account(1, labels={"a": "b"}, revision=3)
    assert found.digest == f"{live.fingerprint:064x}"
    await put(pool, account(1, deleted=True))
    last = await marker(pool)
    assert (last.count, int(last.digest, 16)) == (0, 0)


async def test_a_deleted_id_of_ours_is_not_used_again(pool: Pool) -> None:
    group = SetGroup(id="reading", name="Reading")
    await put(pool, group)
    await put(pool, group.model_copy(update={"deleted": True}))
    with pytest.raises(Conflict, match="cannot be used again"):
        await put(pool, group)


async def test_a_deleted_document_is_gone_and_what_aws_names_may_come_back(pool: Pool) -> None:
    await put(pool, account(1))
    await put(pool, account(1, deleted=True))
    async with pool.acquire() as conn:
        assert await document_store.get(conn, RegisteredAccount, account(1).id) is None
        assert await document_store.all_of(conn, RegisteredAccount) == []
    for absent in (account(1, deleted=True), account(9, deleted=True)):
        with pytest.raises(NotFound, match="is not there"):
            await put(pool, absent)
    await put(pool, account(1))
    found = await marker(pool)
    assert (found.revision, found.count) == (3, 1)


async def test_an_edit_of_another_revision_is_refused_and_changes_nothing(pool: Pool) -> None:
    await put(pool, account(1), expected=0)
    with pytest.raises(Conflict, match="is at revision 1, not 0"):
        await put(pool, account(1), expected=0)
    with pytest.raises(Conflict, match="is at revision 1, not 7"):
        await put(pool, account(1), expected=7)
    assert await put(pool, account(1), expected=1) == [2]
    assert (await marker(pool)).revision == 2


async def test_writers_queue_so_that_outbox_and_revisions_agree(pool: Pool) -> None:
    await asyncio.gather(*(put(pool, account(number)) for number in range(12)))
    rows = await pool.fetch("SELECT payload FROM outbox ORDER BY id")
    revisions = [RegisteredAccount.model_validate_json(row["payload"]).revision for row in rows]
    assert revisions == list(range(1, 13))
    assert (await marker(pool)).count == 12


async def test_republish_sends_again_what_is_still_the_last_revision_deleted_ones_too(pool: Pool) -> None:
    await put(pool, account(1), account(2), account(3))
    await put(pool, account(2, deleted=True))
    await pool.execute("DELETE FROM outbox")
    async with unit(pool) as work:
        assert await document_store.republish(work, "ticket", [1, 2, 3, 4], at=NOW) == 3
    rows = await pool.fetch("SELECT payload FROM outbox ORDER BY id")
    again = [RegisteredAccount.model_validate_json(row["payload"]) for row in rows]
    assert [(one.id[-1], one.revision, one.deleted) for one in again] == [
        ("1", 1, False), ("3", 3, False), ("2", 4, True),
    ]  # fmt: skip
    assert (await marker(pool)).revision == 4


async def test_of_a_deleted_document_id_and_revision_are_kept_and_published(pool: Pool) -> None:
    await put(pool, account(1, labels={"owner": "ann@example.com"}))
    await put(pool, account(1, labels={"owner": "ann@example.com"}, deleted=True))
    left = {"id": account(1).id, "revision": 2, "deleted": True}
    assert json.loads(await pool.fetchval("SELECT body::text FROM document")) == left
    payload = await pool.fetchval("SELECT payload FROM outbox ORDER BY id DESC LIMIT 1")
    assert json.loads(payload) == left


async def test_what_is_written_together_says_so_on_the_topic_and_nowhere_else(pool: Pool) -> None:
    await put(pool, account(1))
    await put(pool, account(2), account(3), account(1, labels={"a": "b"}))
    rows = await pool.fetch("SELECT payload FROM outbox ORDER BY id")
    ends = [RegisteredAccount.model_validate_json(row["payload"]).together_until for row in rows]
    assert ends == [0, 4, 4, 4]
    async with pool.acquire() as conn:
        stored = await document_store.all_of(conn, RegisteredAccount)
    assert [one.together_until for one in stored] == [0, 0, 0]


async def test_the_last_revision_of_every_key_is_known_deleted_ones_too(pool: Pool) -> None:
    await put(pool, account(1), account(2))
    await put(pool, account(1, deleted=True))
    async with pool.acquire() as conn:
        found = await document_store.revisions(conn)
    assert found == {account(1).key: 3, account(2).key: 2}


def test_every_kind_of_document_belongs_to_one_topic() -> None:
    owned = [kind for topic in topics.COMPACTED for kind in topic.kinds]
    assert sorted(owned) == sorted(DOCUMENTS)


def test_document_types_are_named_after_their_kind() -> None:
    assert outbox.document_type("rule") == "document.rule.v1"
