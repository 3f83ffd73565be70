import asyncio
from functools import partial

import asyncpg
import pytest
from structlog.testing import capture_logs

from services.approval.domain.lifecycle import emit, void
from services.approval.domain.review import Review, ReviewState
from services.approval.store import reviews
from shared.contracts.approval import ReviewDecided, ReviewVoided, Vote
from shared.contracts.change import Alert, Change
from shared.foundation.clock import new_id
from shared.foundation.errors import Bug, Conflict
from shared.runtime.service import Service
from tests.approval.builders import origin, person, ticket
from tests.approval.requests import Desk
from tests.support import organisation as org
from tests.support.harness import NOW, said
from tests.support.waiting import until


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vote SET at = at",
        "DELETE FROM vote",
        "UPDATE review_voter SET person = 'user-dora'",
        "DELETE FROM review_voter",
        "UPDATE stop SET revision = 0",
        "DELETE FROM stop",
        "TRUNCATE review CASCADE",
        "DROP TABLE vote",
    ],
)
async def test_service_role_cannot_take_anything_back(service: Service, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.context.pool.execute(statement)


async def test_service_role_cannot_delete_what_is_open_or_young(desk: Desk) -> None:
    """It may forget what is past its retention, and the database holds it to that."""
    await desk.submitted()
    pool = desk.service.context.pool
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="is not deleted within 90 days"):
        await pool.execute("DELETE FROM review")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await pool.execute("DELETE FROM ticket")


def voided(review: Review) -> Change[Review]:
    return void(Change(review), origin().because("withdrawn"))


async def test_save_of_a_review_that_has_moved_on_says_it_is_a_bug(desk: Desk) -> None:
    (seen,) = await desk.submitted()
    await desk.decide("carl", seen.id)
    async with desk.service.context.unit_of_work() as work:
        with pytest.raises(Bug, match="this is a bug"):
            await reviews.save(work, seen, voided(seen))


async def test_save_of_a_closed_review_says_it_is_a_bug(desk: Desk) -> None:
    (seen,) = await desk.submitted()
    change = voided(seen)
    async with desk.service.context.unit_of_work() as work:
        await reviews.save(work, seen, change)
        again = emit(Change(change.state), ReviewVoided, origin())
        with pytest.raises(Bug):
            await reviews.save(work, change.state, again)


async def test_save_of_a_change_that_leaves_the_review_as_it_was_writes_no_row_and_publishes(
    desk: Desk, service: Service
) -> None:
    (seen,) = await desk.submitted()
    query, alert = "SELECT xmin::text FROM review", Alert("review_unapprovable/x", "summary", "detail")
    before, published = await service.context.pool.fetchval(query), len(await said(service))
    async with service.context.unit_of_work() as work:
        await reviews.save(work, seen, Change(seen, voided(seen).events, (alert,)))
    assert await service.context.pool.fetchval(query) == before
    assert len(await said(service)) == published + 1
    assert [one.key for one in service.context.alerts.active] == [alert.key]


async def test_save_of_one_persons_votes_on_two_connections_is_a_conflict_for_the_second(
    desk: Desk, service: Service
) -> None:
    """Neither waits for the ticket's lock, as if it were forgotten: the database alone says no."""
    (seen,) = await desk.submitted()
    async with service.context.unit_of_work() as first:
        await reviews.save(first, seen, with_vote(seen, "carl"))

        async def second() -> None:
            async with service.context.unit_of_work() as work:
                await reviews.save(work, seen, with_vote(seen, "carl"))

        waiting = asyncio.create_task(second())
        await until(partial(somebody_waits, service), what="the second vote waits for the first")
    with pytest.raises(Conflict) as caught:
        await waiting
    assert (caught.value.code, caught.value.status) == ("already_acted", 409)
    assert len((await desk.review(seen.id)).votes) == 1


@pytest.mark.parametrize(
    ("voter", "acting_for"),
    [("carl", None), ("cora", None), ("dora", "carl"), ("carl", "dora"), ("cora", "cora")],
)
async def test_database_counts_voter_and_whom_they_acted_for_once(
    desk: Desk, voter: str, acting_for: str | None
) -> None:
    """Carl's vote for cora has used up both of them."""
    (before,) = await desk.submitted(ticket())
    async with desk.service.context.unit_of_work() as work:
        await reviews.save(work, before, with_vote(before, "carl", acting_for="cora"))
    seen = await desk.review(before.id)
    async with desk.service.context.unit_of_work() as work:
        with pytest.raises(Conflict):
            await reviews.save(work, seen, with_vote(seen, voter, acting_for=acting_for))


@pytest.mark.parametrize(
    ("voter", "acting_for", "refused"),
    [("cora", None, Conflict), ("carl", "cora", Conflict), ("dora", "cora", Conflict), ("carl", None, Bug)],
)
async def test_save_of_a_vote_on_what_another_has_voted_on_since_says_who_counts_twice_or_that_it_is_a_bug(
    desk: Desk, voter: str, acting_for: str | None, refused: type[Exception]
) -> None:
    """Both would be the review's first vote: whose vote is a second one hears that, and nothing of a bug."""
    (seen,) = await desk.submitted()
    async with desk.service.context.unit_of_work() as work:
        await reviews.save(work, seen, with_vote(seen, "cora"))
    async with desk.service.context.unit_of_work() as work:
        with pytest.raises(refused):
            await reviews.save(work, seen, with_vote(seen, voter, acting_for=acting_for))


async def test_vote_for_somebody_is_a_row_for_each_of_them(desk: Desk, service: Service) -> None:
    (seen,) = await desk.submitted()
    change = with_vote(seen, "carl", acting_for="cora")
    async with service.context.unit_of_work() as work:
        await reviews.save(work, seen, change)
    rows = await service.context.pool.fetch("SELECT person, vote_id FROM review_voter ORDER BY person")
    (vote,) = change.state.votes
    assert [tuple(row) for row in rows] == [(org.user_id("carl"), vote.id), (org.user_id("cora"), vote.id)]


@pytest.mark.parametrize("closes", [False, True])
async def test_who_votes_without_having_been_written_down_has_to_do_with_the_review_as_it_is_then(
    desk: Desk, service: Service, *, closes: bool
) -> None:
    """Dora for eve, of whom neither was named as an approver of the open stage."""
    (seen,) = await desk.submitted()
    change = with_vote(seen, "dora", acting_for="eve")
    if closes:
        change = void(change, origin())
    async with service.context.unit_of_work() as work:
        await reviews.save(work, seen, change)
    rows = await service.context.pool.fetch(
        "SELECT user_id, waits, state FROM review_person WHERE user_id = ANY ($1) ORDER BY user_id",
        [org.user_id("dora"), org.user_id("eve")],
    )
    state = "voided" if closes else "open"
    assert [tuple(row) for row in rows] == [(org.user_id(name), False, state) for name in ("dora", "eve")]


async def test_database_refuses_a_second_open_review_of_a_subject_by_itself(desk: Desk) -> None:
    (review,) = await desk.submitted()
    async with desk.service.context.unit_of_work() as work:
        with pytest.raises(asyncpg.UniqueViolationError):
            await reviews.add(work, Change(review.model_copy(update={"id": "another"})))


async def test_save_logs_one_line_per_event_once_it_is_committed(
    desk: Desk,
) -> None:
    with capture_logs() as logs:
        (seen,) = await desk.submitted()
        await desk.decide("carl", seen.id)
        await desk.decide("dora", seen.id)
    lines = [line for line in logs if line.get("review") == seen.id]
    assert [line["event"] for line in lines] == [
        "review opened",
        "review stage opened",
        "review decided",
        "review stage opened",
        "review decided",
        "review approved",
    ]
    assert [line["version"] for line in lines] == list(range(1, 7))
    assert {(line["service"], line["ticket"]) for line in lines} == {("approval", seen.ticket_id)}


async def test_save_logs_and_publishes_nothing_that_is_rolled_back(desk: Desk, service: Service) -> None:
    (seen,) = await desk.submitted()
    with capture_logs() as logs, pytest.raises(LookupError):
        await save_and_fail(service, seen)
    assert logs == []
    assert (await desk.review(seen.id)).state is ReviewState.OPEN
    assert await said(service, ReviewVoided) == []


async def save_and_fail(service: Service, review: Review) -> None:
    async with service.context.unit_of_work() as work:
        await reviews.save(work, review, voided(review))
        raise LookupError


def with_vote(review: Review, name: str, *, acting_for: str | None = None) -> Change[Review]:
    """An approval of this review by somebody, perhaps for somebody else."""
    vote = Vote(
        id=new_id(),
        stage=review.stage,
        verdict="approve",
        voter=person(name),
        acting_for=org.user_id(acting_for) if acting_for else None,
        revisions=review.revisions,
        at=NOW,
    )
    counted = review.model_copy(update={"votes": (*review.votes, vote)})
    return emit(Change(counted), ReviewDecided, origin(), vote=vote)


async def somebody_waits(service: Service) -> bool:
    """Whether one connection to the database waits for another's lock."""
    waits: bool = await service.context.pool.fetchval(
        "SELECT EXISTS (SELECT 1 FROM pg_stat_activity"
        " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0)"
    )
    return waits
