import asyncpg
import pytest

from services.approval import store
from services.approval.domain.life import void
from services.approval.domain.review import Change
from shared.database.pool import transaction
from shared.foundation.errors import Bug
from shared.runtime.service import Service
from tests.approval.builders import origin
from tests.approval.requests import Desk


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vote SET voter = 'user-dora'",
        "DELETE FROM vote",
        "DELETE FROM review",
        "DELETE FROM stop",
        "DELETE FROM ticket",
        "TRUNCATE review CASCADE",
        "DROP TABLE vote",
    ],
)
async def test_service_role_cannot_take_anything_back(service: Service, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.context.pool.execute(statement)


async def test_save_of_a_review_that_has_moved_on_says_it_is_a_bug(desk: Desk) -> None:
    (seen,) = await desk.submitted()
    await desk.decide("carl", seen.id)
    async with transaction(desk.service.context.pool) as conn:
        with pytest.raises(Bug, match="this is a bug"):
            await store.save(conn, seen, void(Change(seen), origin(), why="late"))


async def test_save_of_a_closed_review_says_it_is_a_bug(desk: Desk) -> None:
    (seen,) = await desk.submitted()
    change = void(Change(seen), origin(), why="withdrawn")
    async with transaction(desk.service.context.pool) as conn:
        await store.save(conn, seen, change)
        with pytest.raises(Bug):
            await store.save(conn, change.review, change)


async def test_database_refuses_a_second_vote_of_one_person_by_itself(desk: Desk) -> None:
    (review,) = await desk.submitted()
    await desk.decide("carl", review.id)
    with pytest.raises(asyncpg.UniqueViolationError):
        await desk.service.context.pool.execute(
            "INSERT INTO vote (id, review_id, number, voter, body, at)"
            " SELECT 'other', review_id, 2, voter, body, at FROM vote"
        )


async def test_database_refuses_a_second_open_review_of_a_target_by_itself(desk: Desk) -> None:
    (review,) = await desk.submitted()
    async with transaction(desk.service.context.pool) as conn:
        with pytest.raises(asyncpg.UniqueViolationError):
            await store.save_new(conn, Change(review.model_copy(update={"id": "another"})))
