"""The lists of reviews: who finds which, by pages, and along which rows."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from services.approval import views
from services.approval.domain.review import ReviewState
from services.approval.store import reviews
from shared.database.migrate import app_role_of
from shared.database.schema import apply_migrations, migrations_of
from shared.runtime.service import Service
from tests.approval.builders import target, ticket
from tests.approval.requests import Desk
from tests.support import organisation as org
from tests.support.harness import service_database
from tests.support.plans import plan_of
from tests.support.servers import fresh_database


async def people_of(service: Service, review_id: str) -> dict[str, bool]:
    """Who has to do with it, and whether it waits for them."""
    rows = await service.context.pool.fetch(
        "SELECT user_id, waits FROM review_person WHERE review_id = $1", review_id
    )
    return {row["user_id"].removeprefix("user-"): row["waits"] for row in rows}


async def test_people_of_a_review_are_parties_approvers_and_voters_and_it_waits_for_its_open_stage(
    desk: Desk,
) -> None:
    (review,) = await desk.submitted()
    assert await people_of(desk.service, review.id) == {"ann": False, "carl": True, "cora": True}
    await desk.decide("carl", review.id)
    second = await people_of(desk.service, review.id)
    assert second == {"ann": False, "carl": False, "cora": False, "dora": True}
    await desk.decide("dora", review.id)
    assert await people_of(desk.service, review.id) == dict.fromkeys(second, False)
    states = await desk.service.context.pool.fetch(
        "SELECT DISTINCT p.state, r.state FROM review_person p JOIN review r ON r.id = review_id"
        " WHERE r.id = $1",
        review.id,
    )
    assert [tuple(row) for row in states] == [("approved", "approved")]


async def test_list_in_each_state_has_the_reviews_of_that_state(desk: Desk) -> None:
    (waits,) = await desk.submitted()
    (rejected,) = await desk.submitted()
    await desk.decide("carl", rejected.id, "reject", "not today")
    async with desk.service.context.pool.acquire() as conn:
        for whose in (None, org.user_id("ann"), org.user_id("carl"), org.user_id("eve")):
            for state, expected in (
                (None, [rejected.id, waits.id]),
                (ReviewState.OPEN, [waits.id]),
                (ReviewState.REJECTED, [rejected.id]),
                (ReviewState.APPROVED, []),
                (ReviewState.VOIDED, []),
            ):
                found = await views.all_reviews(conn, user_id=whose, state=state, before=None, limit=10)
                assert [one.id for one in found] == ([] if whose == org.user_id("eve") else expected)


async def test_list_by_pages_has_every_review_once(desk: Desk) -> None:
    made = [(await desk.submitted())[0].id for _ in range(5)]
    async with desk.service.context.pool.acquire() as conn:
        for whose in (None, org.user_id("carl")):
            seen: list[str] = []
            before = None
            while page := await views.all_reviews(conn, user_id=whose, state=None, before=before, limit=2):
                seen += [one.id for one in page]
                before = seen[-1]
            assert seen == made[::-1]
        first = await views.waiting_for(conn, org.user_id("carl"), after=None, limit=3)
        rest = await views.waiting_for(conn, org.user_id("carl"), after=first[-1].id, limit=3)
        assert [one.id for one in first + rest] == made


async def test_refresh_that_changes_nobody_writes_no_row(desk: Desk) -> None:
    (review,) = await desk.submitted(ticket(target(org.D), requester="eve", beneficiaries=("eve",)))
    pool, asked = desk.service.context.pool, "SELECT user_id, xmin::text FROM review_person ORDER BY 1"
    before = await pool.fetch(asked)
    people = [name for name, waits in (await people_of(desk.service, review.id)).items() if waits]
    async with desk.service.context.unit_of_work() as work:
        await reviews.replace_approvers(work.conn, review.id, [org.user_id(name) for name in people])
    assert before
    assert await pool.fetch(asked) == before


@pytest.mark.parametrize(
    ("state", "whose", "index"),
    [
        (None, None, "review_pkey"),
        (ReviewState.OPEN, None, "review_by_state"),
        (None, "p1", "review_person_pkey"),
        (ReviewState.APPROVED, "p1", "review_person_state"),
        (ReviewState.OPEN, "p1", "review_person_state"),
    ],
)
async def test_page_is_a_walk_along_one_index(
    large: str, state: ReviewState | None, whose: str | None, index: str
) -> None:
    conn = await asyncpg.connect(large)
    shown = await plan_of(conn, *views._page(whose, state, "r40000", 50))
    await conn.close()
    assert index in shown
    assert "Seq Scan on review" not in shown
    assert "Join" not in shown


async def test_page_of_what_waits_is_a_walk_along_what_waits_for_that_person(large: str) -> None:
    conn = await asyncpg.connect(large)
    shown = await plan_of(conn, *views._waiting("p1", "r00100", 50))
    await conn.close()
    assert "review_person_waiting" in shown
    assert "Sort" not in shown.partition("Limit")[2].partition("SubPlan")[0]


@pytest.fixture(scope="module")
async def large(admin_dsn: str) -> AsyncIterator[str]:
    """The DSN of 50,000 reviews, of which fifty are open."""
    async with service_database(admin_dsn, "approval") as dsn:
        owner = await asyncpg.connect(admin_dsn, database=dsn.rpartition("/")[2])
        await owner.execute(MANY)
        await owner.close()
        yield dsn


async def test_people_of_reviews_from_before_are_found_in_the_tables_that_held_them(admin_dsn: str) -> None:
    every = migrations_of("approval")
    (this,) = [place for place, one in enumerate(every) if one.name == "approval/0003_queries"]
    async with fresh_database(admin_dsn) as dsn:
        conn = await asyncpg.connect(dsn)
        await apply_migrations(conn, every[:this], app_role=app_role_of("approval"))
        await conn.execute("SET session_replication_role = replica")
        await conn.execute(MANY.partition("INSERT INTO review_person")[0])
        await conn.execute(OLD)
        await apply_migrations(conn, every[: this + 1], app_role=app_role_of("approval"))
        rows = await conn.fetch("SELECT review_id, user_id, waits FROM review_person ORDER BY 1, 2")
        differ = "SELECT FROM review_person p JOIN review r ON r.id = p.review_id WHERE p.state <> r.state"
        assert await conn.fetch(differ) == []
        assert [tuple(row) for row in rows] == [
            ("r00500", "party", False),
            ("r00500", "second", False),
            ("r00500", "voter", False),
            ("r01000", "first", True),
            ("r01000", "party", False),
            ("r01000", "second", False),
        ]
        await conn.close()


# Number 500 is closed, 1,000 is open in its first stage.
OLD = """
    INSERT INTO review_party (user_id, review_id) VALUES ('party', 'r00500'), ('party', 'r01000');
    INSERT INTO review_approver (user_id, review_id, stage) VALUES
        ('voter', 'r00500', 1), ('second', 'r00500', 1), ('first', 'r01000', 1), ('second', 'r01000', 2);
    INSERT INTO review_voter (review_id, person, vote_id) VALUES ('r00500', 'voter', 'v');
"""
MANY = """
    INSERT INTO ticket (id, version) VALUES ('t', 1);
    INSERT INTO review (id, ticket_id, target_id, revision, subject_id, subject_kind, ticket_version,
        requester, account_id, set_id, subject, stages, revisions, state, version, stage, content_hash,
        opened_at, expires_at, closed_at)
    SELECT 'r' || lpad(n::text, 5, '0'), 't', 'x', 1, 's' || n, 'target', 1, 'p', 'a', 's', '{}', '[]', '{}',
        CASE WHEN n % 1000 = 0 THEN 'open' ELSE 'approved' END, 1, 1,
        CASE WHEN n % 1000 = 0 THEN NULL ELSE 'hash' END, now(), now(),
        CASE WHEN n % 1000 = 0 THEN NULL ELSE now() END
    FROM generate_series(1, 50000) AS n;
    INSERT INTO review_person (user_id, review_id, waits, state)
    SELECT 'p' || row_number() OVER () % 20, id, state = 'open', state FROM review;
    ANALYZE
"""
