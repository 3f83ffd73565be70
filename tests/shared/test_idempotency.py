"""`Idempotency-Key`: one effect and one answer for the same request, whoever sends it how often."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.database.pool import Pool, transaction
from shared.foundation.errors import Conflict, Invalid
from shared.http.idempotency import RequestKey, StoredAnswer, once
from tests.support.harness import NOW
from tests.support.waiting import until


def request(
    key: str = "k", *, caller: str = "ann", path: str = "/v1/tickets", body: bytes = b"{}"
) -> RequestKey:
    return RequestKey.of(caller=caller, key=key, method="POST", path=path, body=body)


class Effect:
    """Notes a row each time it runs, and answers with how often that was."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.times = 0

    async def send(
        self, key: RequestKey | None, *, before: Callable[[], Awaitable[Any]] | None = None
    ) -> StoredAnswer:
        async with transaction(self._pool) as conn:

            async def action() -> StoredAnswer:
                self.times += 1
                times = self.times
                if before is not None:
                    await before()
                await conn.execute("INSERT INTO effect (key, number) VALUES ('x', $1)", times)
                return StoredAnswer(201, {"times": times}, {"Location": f"/{times}"})

            return await once(conn, key, action, now=NOW)


async def test_the_same_request_twice_has_one_effect_and_one_answer(pool: Pool) -> None:
    effect = Effect(pool)
    first, second = await effect.send(request()), await effect.send(request())
    assert first == StoredAnswer(201, {"times": 1}, {"Location": "/1"})
    assert second == StoredAnswer(201, {"times": 1}, {"Location": "/1", "Idempotency-Replayed": "true"})
    assert await pool.fetchval("SELECT count(*) FROM effect") == 1


async def test_without_a_key_every_request_has_its_effect(pool: Pool) -> None:
    effect = Effect(pool)
    await effect.send(None)
    await effect.send(None)
    assert effect.times == 2


async def test_two_at_once_wait_for_each_other(pool: Pool) -> None:
    effect, entered, go_on = Effect(pool), asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        entered.set()
        await go_on.wait()

    first = asyncio.create_task(effect.send(request(), before=hold))
    await entered.wait()
    second = asyncio.create_task(effect.send(request()))
    await until(
        lambda: pool.fetchval(
            "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database())"
        )
    )
    go_on.set()
    answers = await asyncio.gather(first, second)
    assert [answer.body for answer in answers] == [{"times": 1}, {"times": 1}]
    assert effect.times == 1


@pytest.mark.parametrize("other", [{"body": b'{"a": 1}'}, {"path": "/v1/reviews"}])
async def test_another_request_under_the_same_key_is_refused(pool: Pool, other: dict[str, Any]) -> None:
    effect = Effect(pool)
    await effect.send(request())
    with pytest.raises(Conflict, match="used for a different request") as refused:
        await effect.send(request(**other))
    assert refused.value.code == "idempotency_key_reused"
    assert effect.times == 1


async def test_another_caller_may_use_the_same_key(pool: Pool) -> None:
    effect = Effect(pool)
    await effect.send(request(caller="ann"))
    await effect.send(request(caller="bob"))
    assert effect.times == 2


async def test_a_failure_frees_the_key(pool: Pool) -> None:
    effect = Effect(pool)

    async def fail() -> None:
        raise Invalid("not like this", code="x")

    with pytest.raises(Invalid):
        await effect.send(request(), before=fail)
    assert await pool.fetchval("SELECT count(*) FROM idempotency_key") == 0
    assert (await effect.send(request())).status == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "a\0b"])
def test_an_unusable_key_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match="1 to 255 printable characters"):
        request(key)
