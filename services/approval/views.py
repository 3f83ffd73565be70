"""Read-only SQL for lists and pages. What a row's reader may see is asked of the policy, row by row.

Rows are found by who was written down for them (a superset) and filtered before they are counted into a
page, so that pages do not shrink.
"""

from collections.abc import Awaitable, Callable

from services.approval.domain.review import Review, ReviewState
from shared.database.pool import Conn, planned_anew

Fetch = Callable[[str | None, int], Awaitable[list[Review]]]
"""Rows after an id, at most so many, in the list's order."""

LARGEST_BATCH = 200


async def review(conn: Conn, review_id: str) -> Review | None:
    whole = await conn.fetchval("SELECT whole FROM whole_review WHERE id = $1", review_id)
    return None if whole is None else Review.model_validate(whole)


async def reviews_of_ticket(conn: Conn, ticket_id: str) -> list[Review]:
    """Every review of a ticket, of earlier revisions and voided ones too, oldest first."""
    rows = await conn.fetch("SELECT whole FROM whole_review WHERE ticket_id = $1 ORDER BY id", ticket_id)
    return [Review.model_validate(row["whole"]) for row in rows]


async def waiting_for(conn: Conn, user_id: str, *, after: str | None, limit: int) -> list[Review]:
    """Open reviews whose open stage may wait for this person, oldest first."""
    async with planned_anew(conn):
        rows = await conn.fetch(
            """
            SELECT w.whole FROM review_approver a
            JOIN whole_review w ON w.id = a.review_id AND w.stage = a.stage
            WHERE a.user_id = $1 AND w.state = 'open' AND ($2::text IS NULL OR w.id > $2)
            ORDER BY w.id LIMIT $3
            """,
            user_id,
            after,
            limit,
        )
    return [Review.model_validate(row["whole"]) for row in rows]


async def reviews_with(
    conn: Conn, user_id: str, *, state: ReviewState | None, before: str | None, limit: int
) -> list[Review]:
    """Reviews this person is or was a party, an approver or a voter of, newest first."""
    async with planned_anew(conn):
        rows = await conn.fetch(
            """
            SELECT whole FROM whole_review
            WHERE id IN (
                    SELECT review_id FROM review_party WHERE user_id = $1
                    UNION SELECT review_id FROM review_approver WHERE user_id = $1
                    UNION SELECT review_id FROM review_voter WHERE person = $1
                )
                AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR id < $3)
            ORDER BY id DESC LIMIT $4
            """,
            user_id,
            state,
            before,
            limit,
        )
    return [Review.model_validate(row["whole"]) for row in rows]


async def all_reviews(
    conn: Conn, *, state: ReviewState | None, before: str | None, limit: int
) -> list[Review]:
    """Everybody's reviews, newest first; for those who may read every ticket."""
    async with planned_anew(conn):
        rows = await conn.fetch(
            """
            SELECT whole FROM whole_review
            WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR id < $2)
            ORDER BY id DESC LIMIT $3
            """,
            state,
            before,
            limit,
        )
    return [Review.model_validate(row["whole"]) for row in rows]


async def fill_page(
    fetch: Fetch, keep: Callable[[Review], bool], *, after: str | None, limit: int
) -> tuple[list[Review], str | None]:
    """A full page of what the reader may see, and the cursor of the next one (None at the end)."""
    page: list[Review] = []
    batch_size = min(limit * 2, LARGEST_BATCH)
    while True:
        batch = await fetch(after, batch_size)
        for found in batch:
            if not keep(found):
                continue
            if len(page) == limit:
                return page, page[-1].id
            page.append(found)
        if len(batch) < batch_size:
            return page, None
        after = batch[-1].id
