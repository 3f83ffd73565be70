"""Reviews and stops are forgotten once all about them is over, with everything that is only theirs."""

from datetime import datetime, timedelta

import pytest

from services.approval.store.retention import rules
from shared.database.pool import Pool
from shared.database.retention import purge
from shared.foundation.clock import new_id
from shared.runtime.service import Service
from tests.support.harness import NOW

KEEP = timedelta(days=400)
MOMENT = timedelta(microseconds=1)
LONG_AGO = NOW - timedelta(days=1000)
"""The database deletes nothing that is young by its own clock."""
RULES = rules(keep=KEEP)
PARTS = ("review", "vote", "review_voter", "review_person")
# A UUIDv7 begins with the milliseconds of its making.
MADE_AT_NOW = f"{int(LONG_AGO.timestamp() * 1000):012x}"
TICKET = f"{MADE_AT_NOW[:8]}-{MADE_AT_NOW[8:]}-7000-8000-000000000000"


@pytest.fixture
def pool(service: Service) -> Pool:
    return service.context.pool


async def known_ticket(pool: Pool) -> None:
    await pool.execute("INSERT INTO ticket (id, version) VALUES ($1, 1)", TICKET)


async def reviewed(pool: Pool, *, state: str = "rejected", until: datetime | None = None) -> str:
    """A review that closed at LONG_AGO, or is open, with a row in every table of its own."""
    review, vote = new_id(), new_id()
    window = None if until is None else {"starts_at": LONG_AGO.isoformat(), "ends_at": until.isoformat()}
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute(
            """
            INSERT INTO review (id, ticket_id, target_id, revision, subject_id, subject_kind, ticket_version,
                requester, account_id, set_id, subject, stages, revisions, state, version, stage, code,
                approved_window, content_hash, opened_at, expires_at, closed_at)
            VALUES ($1, $2, 't', 1, $1, 'target', 1, 'user-ann', '111111111111', 'ps-1', '{}', '[]', '{}', $3,
                1, 1, $4, $5, $6, $7, $7, $8)
            """,
            review, TICKET, state, "rejected" if state == "rejected" else None, window,
            "hash" if state == "approved" else None, LONG_AGO, None if state == "open" else LONG_AGO,
        )  # fmt: skip
        await conn.execute("INSERT INTO review_voter VALUES ($1, 'user-carl', $2)", review, vote)
        await conn.execute("INSERT INTO vote VALUES ($1, $2, 1, '{}', $3)", vote, review, LONG_AGO)
        await conn.execute("INSERT INTO review_person VALUES ('user-ann', $1, false)", review)
    return review


async def stopped(pool: Pool, *, until: datetime) -> None:
    await pool.execute(
        "INSERT INTO stop VALUES ('grant', 'g', 0, $1, 'withdrawn', $2, $3)", TICKET, LONG_AGO, until
    )


async def left(pool: Pool, *tables: str) -> list[int]:
    return [await pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


async def test_a_review_goes_whole_just_after_the_limit_and_not_at_it(pool: Pool) -> None:
    await known_ticket(pool)
    await reviewed(pool)
    for early in (-MOMENT, timedelta(0)):
        await purge(pool, RULES, now=LONG_AGO + KEEP + early)
        assert await left(pool, *PARTS) == [1] * 4
    await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT)
    assert await left(pool, *PARTS) == [0] * 4


async def test_an_open_review_is_never_old(pool: Pool) -> None:
    await known_ticket(pool)
    await reviewed(pool, state="open")
    await purge(pool, RULES, now=LONG_AGO + 10 * KEEP)
    assert await left(pool, *PARTS, "ticket") == [1] * 5


async def test_an_approved_review_is_old_when_its_window_is(pool: Pool) -> None:
    await known_ticket(pool)
    await reviewed(pool, state="approved", until=LONG_AGO + timedelta(hours=8))
    await purge(pool, RULES, now=LONG_AGO + timedelta(hours=8) + KEEP)
    assert await left(pool, "review") == [1]
    await purge(pool, RULES, now=LONG_AGO + timedelta(hours=8) + KEEP + MOMENT)
    assert await left(pool, "review") == [0]


async def test_a_review_stays_while_a_grant_of_it_is_live(pool: Pool) -> None:
    """It was extended, by another review, beyond the window that this one approved."""
    await known_ticket(pool)
    review = await reviewed(pool, state="approved", until=LONG_AGO)
    await pool.execute("INSERT INTO live_grant VALUES ('g', $1, 'user-ann', $2)", review, LONG_AGO + 2 * KEEP)
    await purge(pool, RULES, now=LONG_AGO + KEEP + MOMENT)
    assert await left(pool, *PARTS, "live_grant") == [1] * 5


async def test_a_stop_goes_when_nothing_can_come_that_it_stops_and_not_before(pool: Pool) -> None:
    await known_ticket(pool)
    await stopped(pool, until=LONG_AGO + 2 * KEEP)
    await purge(pool, RULES, now=LONG_AGO + 2 * KEEP - MOMENT)
    assert await left(pool, "stop") == [1]
    await purge(pool, RULES, now=LONG_AGO + 2 * KEEP)
    assert await left(pool, "stop") == [0]


@pytest.mark.parametrize(("keeps", "kept"), [("a review", 1), ("a stop", 1), ("nothing", 0)])
async def test_the_row_of_a_ticket_goes_once_nothing_needs_it(pool: Pool, keeps: str, kept: int) -> None:
    await known_ticket(pool)
    if keeps == "a review":
        await reviewed(pool, state="open")
    elif keeps == "a stop":
        await stopped(pool, until=LONG_AGO + 2 * KEEP)
    await purge(pool, RULES, now=LONG_AGO + KEEP)
    assert await left(pool, "ticket") == [1]
    await purge(pool, RULES, now=LONG_AGO + KEEP + timedelta(milliseconds=1))
    assert await left(pool, "ticket") == [kept]
