"""Read-only SQL for lists and pages. What a row's reader may see is asked of the policy, row by row.

Rows are found by who was written down for them (a superset) and filtered before they are counted into a
page, so that pages do not shrink.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, LiteralString

from services.approval.domain.review import Review, ReviewState
from shared.database.filters import given, one_of, query
from shared.database.pool import Conn

Fetch = Callable[[str | None, int], Awaitable[list[Review]]]
"""Rows after an id, at most so many, in the list's order."""


async def review(conn: Conn, review_id: str) -> Review | None:
    whole = await conn.fetchval("SELECT whole FROM whole_review WHERE id = $1", review_id)
    return None if whole is None else Review.model_validate(whole)


async def reviews_of_ticket(conn: Conn, ticket_id: str) -> list[Review]:
    """Every review of a ticket, of earlier revisions and voided ones too, oldest first."""
    rows = await conn.fetch("SELECT whole FROM whole_review WHERE ticket_id = $1 ORDER BY id", ticket_id)
    return [Review.model_validate(row["whole"]) for row in rows]


async def waiting_for(conn: Conn, user_id: str, *, after: str | None, limit: int) -> list[Review]:
    """Open reviews whose open stage may wait for this person, oldest first."""
    rows = await conn.fetch(*_waiting(user_id, after, limit))
    return [Review.model_validate(row["whole"]) for row in rows]


def _waiting(user_id: str, after: str | None, limit: int) -> tuple[str, *tuple[object, ...]]:
    wanted = given(
        ("(user_id, review_id) > ({}, {})", user_id, after or ""),
        ("(user_id, review_id) < ({}, {})", user_id, _END),
    )
    return query(_WAITING, wanted, limit=limit)


async def all_reviews(
    conn: Conn, *, user_id: str | None, state: ReviewState | None, before: str | None, limit: int
) -> list[Review]:
    """Those this person is or was a party, an approver or a voter of, newest first; without one, all."""
    rows = await conn.fetch(*_page(user_id, state, before, limit))
    return [Review.model_validate(row["whole"]) for row in rows]


def _page(
    user_id: str | None, state: ReviewState | None, before: str | None, limit: int
) -> tuple[str, *tuple[object, ...]]:
    if user_id is None:
        return query(_ALONG_REVIEWS, given(("id < {}", before), one_of(_IN_STATE, state)), limit=limit)
    wanted = given(
        ("(user_id, review_id) < ({}, {})", user_id, before or _END),
        ("(user_id, review_id) > ({}, '')", user_id),
        one_of(_IN_STATE, state),
    )
    return query(_ALONG_PERSON, wanted, limit=limit)


_WAITING: Final = """
    WITH page AS (
        SELECT review_id AS id FROM review_person WHERE {where} AND waits
        ORDER BY user_id, review_id LIMIT {limit}
    )
    SELECT (SELECT whole FROM whole_review WHERE whole_review.id = page.id) AS whole FROM page ORDER BY id
"""
# The whole review is looked up for each row and not joined: PostgreSQL takes a page for a tenth of all rows.
# A person's bounds are compared as rows, which no index is in the order of but the ones by person.
_ALONG_REVIEWS: Final = """
    WITH page AS (SELECT id FROM review WHERE {where} ORDER BY id DESC LIMIT {limit})
    SELECT (SELECT whole FROM whole_review WHERE whole_review.id = page.id) AS whole
    FROM page ORDER BY id DESC
"""
_END: Final = "zzzz"
"""Behind every id: where the first page of a person begins."""
_ALONG_PERSON: Final = """
    WITH page AS (
        SELECT review_id AS id FROM review_person WHERE {where}
        ORDER BY user_id DESC, review_id DESC LIMIT {limit}
    )
    SELECT (SELECT whole FROM whole_review WHERE whole_review.id = page.id) AS whole
    FROM page ORDER BY id DESC
"""
_IN_STATE: Final[Mapping[str, LiteralString]] = {
    ReviewState.OPEN: "state = 'open'",
    ReviewState.APPROVED: "state = 'approved'",
    ReviewState.REJECTED: "state = 'rejected'",
    ReviewState.VOIDED: "state = 'voided'",
}
"""Nearly all reviews are closed, most of them approved."""


async def fill_page(
    fetch: Fetch, keep: Callable[[Review], bool], *, after: str | None, limit: int
) -> tuple[list[Review], str | None]:
    """A full page of what the reader may see, and the cursor of the next one (None at the end)."""
    page: list[Review] = []
    batch_size = limit + 1  # nearly always nothing is left out
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
