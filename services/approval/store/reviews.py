"""All SQL that writes reviews or loads them for a decision. The rules are in domain/, lists in views.py.

Everything about one ticket is written under the lock of its row, so that the order of events in the
outbox is the order of commits. A change of a review is saved and published by `add` and `save` only.
"""

from collections.abc import Collection
from datetime import datetime
from functools import partial
from typing import Any, Final

import asyncpg

from services.approval.domain.review import Review, people_of
from services.approval.store import history
from shared.contracts.approval import ReviewFact, ReviewStageOpened, Vote
from shared.contracts.change import Change
from shared.contracts.event import Contract
from shared.contracts.subject import ApprovalSubject
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.errors import Bug, Conflict
from shared.messaging import outbox
from shared.observability.logs import logger

SERVICE: Final = "approval"

log = logger("reviews")

# tickets and subjects


async def lock_ticket(conn: Conn, ticket_id: str, *, version: int = 0) -> None:
    """Lock a ticket's row, made where this is the first event about it; the newest version is kept.

    A stop gives none: what is older than it may still come, about something else.
    """
    await conn.execute(
        """
        INSERT INTO ticket (id, version) VALUES ($1, $2)
        ON CONFLICT (id) DO UPDATE SET version = greatest(ticket.version, excluded.version)
        """,
        ticket_id,
        version,
    )


async def is_reviewed(conn: Conn, subject: ApprovalSubject) -> bool:
    """Whether a subject has or had a review, or a later revision of its target has."""
    reviewed: bool = await conn.fetchval(
        """
        SELECT EXISTS (SELECT 1 FROM review WHERE subject_id = $1)
            OR EXISTS (SELECT 1 FROM review WHERE target_id = $2 AND revision > $3)
        """,
        subject.id,
        subject.target_id,
        subject.revision,
    )
    return reviewed


# loading for a decision


async def lock_review(conn: Conn, review_id: str) -> Review | None:
    """The review, with its ticket's row locked: a second vote waits here and then sees the first."""
    whole = await conn.fetchval("SELECT whole FROM locked_review($1)", review_id)
    return None if whole is None else Review.model_validate(whole)


async def open_reviews_of(conn: Conn, ticket_id: str) -> list[Review]:
    """Open reviews of a ticket. Needs its lock."""
    rows = await conn.fetch(
        "SELECT whole FROM whole_review WHERE ticket_id = $1 AND state = 'open' ORDER BY id", ticket_id
    )
    return [Review.model_validate(row["whole"]) for row in rows]


async def open_reviews_with_approvers(
    conn: Conn, *, after: str, limit: int
) -> list[tuple[Review, frozenset[str]]]:
    """Open reviews by id, without a lock, each with who was written down as able to vote in its open stage.

    One question for all: to find those that a change of the documents concerns.
    """
    rows = await conn.fetch(
        """
        SELECT whole,
            ARRAY(SELECT user_id FROM review_person p WHERE p.review_id = w.id AND p.waits) AS approvers
        FROM whole_review w WHERE w.state = 'open' AND w.id > $1 ORDER BY w.id LIMIT $2
        """,
        after,
        limit,
    )
    return [(Review.model_validate(row["whole"]), frozenset(row["approvers"])) for row in rows]


async def unapprovable_reviews(conn: Conn, *, now: datetime) -> list[Review]:
    """Open reviews that lack people who could approve them, and whose time is not over."""
    rows = await conn.fetch(
        """
        SELECT w.whole FROM whole_review w JOIN review r ON r.id = w.id
        WHERE r.unapprovable_since IS NOT NULL AND r.expires_at > $1 ORDER BY r.id
        """,
        now,
    )
    return [Review.model_validate(row["whole"]) for row in rows]


# saving


async def add(work: UnitOfWork, change: Change[Review]) -> None:
    """Store a review that has just begun, and publish how it began."""
    review = change.state
    await _insert_review(work.conn, review)
    await _add_people(work.conn, review, review.subject.parties)
    await history.add_live_grants(work.conn, review)
    await history.move_ends(work.conn, review)
    await _publish(work, change)


async def save(work: UnitOfWork, before: Review, change: Change[Review]) -> None:
    """Store what a step has changed of a review; publish its events and alerts, also where no row differs.

    Raises Conflict when somebody has voted already, and Bug if the review is not open in the version that
    was loaded. Both are decided earlier under the ticket's lock; here the database makes sure.
    """
    review = change.state
    if review != before:
        for number, vote in enumerate(review.votes[len(before.votes) :], start=len(before.votes) + 1):
            await _add_vote(work.conn, review, number, vote)
        await _update_review(work.conn, before, review)
        await history.move_ends(work.conn, review)
    await _publish(work, change)


async def replace_approvers(conn: Conn, review_id: str, user_ids: Collection[str]) -> None:
    """Write down who may vote in the open stage, in place of what was written before.

    Only rows that differ are written.
    """
    await conn.execute(
        """
        WITH others AS (
            UPDATE review_person SET waits = false WHERE review_id = $1 AND waits AND user_id <> ALL ($2)
        )
        INSERT INTO review_person AS known (user_id, review_id, waits)
        SELECT user_id, $1, true FROM unnest($2::text[]) AS user_id ORDER BY user_id
        ON CONFLICT (user_id, review_id) DO UPDATE SET waits = true WHERE NOT known.waits
        """,
        review_id,
        list(user_ids),
    )


async def _add_people(conn: Conn, review: Review, user_ids: Collection[str]) -> None:
    """Who has to do with a review besides those that it waits for."""
    await conn.execute(
        """
        INSERT INTO review_person (user_id, review_id, waits, state)
        SELECT user_id, $1, false, $3 FROM unnest($2::text[]) AS user_id ORDER BY user_id
        ON CONFLICT (user_id, review_id) DO NOTHING
        """,
        review.id,
        list(user_ids),
        review.state,
    )


async def _insert_review(conn: Conn, review: Review) -> None:
    subject = review.subject
    await conn.execute(
        """
        INSERT INTO review (
            id, ticket_id, target_id, revision, subject_id, subject_kind, ticket_version, requester,
            account_id, set_id, subject, stages, revisions, state, version, stage, auto_approved_by, code,
            approved_window, content_hash, opened_at, expires_at, closed_at
        ) VALUES (
            $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
            $22, $23
        )
        """,
        review.id,
        subject.ticket_id,
        subject.target_id,
        subject.revision,
        subject.id,
        subject.kind,
        review.ticket_version,
        subject.requester.user_id,
        subject.account_id,
        subject.set_id,
        _json(subject),
        [_json(stage) for stage in review.stages],
        _json(review.revisions),
        review.state,
        review.version,
        review.stage,
        review.auto_approved_by,
        review.code,
        _json(review.approved_window),
        review.content_hash,
        review.opened_at,
        review.expires_at,
        review.closed_at,
    )


async def _update_review(conn: Conn, before: Review, review: Review) -> None:
    """The review, and where it is closed what hangs on that: nobody waits for it, and its grants begin.

    The row of a voter has to be there already: the parts of one statement see nothing of each other.
    """
    grants = history.new_grants(review)
    status = await conn.execute(
        """
        WITH people AS (
            UPDATE review_person SET state = $3, waits = false WHERE review_id = $1 AND $3 <> 'open'
        ), grants AS (
            INSERT INTO live_grant (grant_id, review_id, beneficiary, ends_at)
            SELECT id, $1, beneficiary, $11
            FROM unnest($12::text[], $13::text[]) AS granted (id, beneficiary)
            ON CONFLICT (grant_id) DO NOTHING
        )
        UPDATE review SET state = $3, version = $4, stage = $5, code = $6, approved_window = $7,
            content_hash = $8, closed_at = $9, unapprovable_since = $10
        WHERE id = $1 AND version = $2 AND state = 'open'
        """,
        review.id,
        before.version,
        review.state,
        review.version,
        review.stage,
        review.code,
        _json(review.approved_window),
        review.content_hash,
        review.closed_at,
        review.unapprovable_since,
        review.approved_window.ends_at if review.approved_window else None,
        [grant.id for grant in grants],
        [grant.beneficiary for grant in grants],
    )
    if status != "UPDATE 1":
        raise _lock_missed(review)


async def _add_vote(conn: Conn, review: Review, number: int, vote: Vote) -> None:
    """A vote, whom it uses up, and that they have to do with the review.

    The vote's own row asks for all of whom it uses up, so that those are written first: of two keys that say
    no the one that says "each of them once" is to answer.
    """
    try:
        await conn.execute(
            """
            WITH used_up AS (
                INSERT INTO review_voter (review_id, person, vote_id)
                SELECT $1, person, $2 FROM unnest($3::text[]) AS person ORDER BY person
                RETURNING person
            ), known AS (
                INSERT INTO review_person (user_id, review_id, waits)
                SELECT person, $1, false FROM used_up
                ON CONFLICT (user_id, review_id) DO NOTHING
            )
            INSERT INTO vote (id, review_id, number, body, at)
            SELECT $2, $1, $4, $5, $6 WHERE (SELECT count(*) FROM used_up) > 0
            """,
            review.id,
            vote.id,
            people_of(vote),
            number,
            _json(vote),
            vote.at,
        )
    except asyncpg.UniqueViolationError as error:
        if error.table_name != "review_voter":
            raise _lock_missed(review) from error
        raise Conflict(
            "this person has voted in this review already; a person counts once, over all its stages",
            code="already_acted",
        ) from None


def _lock_missed(review: Review) -> Bug:
    return Bug(
        f"review {review.id} changed under its ticket's lock: this is a bug", code="review_lock_missed"
    )


async def _publish(work: UnitOfWork, change: Change[Review]) -> None:
    """Append the events, write down whom they name as approvers, and log each once it is committed."""
    outbox.append(work, SERVICE, *change.events)
    work.alert(*change.alerts)
    for event in change.events:
        if isinstance(event, ReviewStageOpened):
            people = [person.user_id for person in event.approvers]
            await replace_approvers(work.conn, event.review_id, people)
        if isinstance(event, ReviewFact):
            work.after_commit(partial(_log, event))


def _log(event: ReviewFact) -> None:
    """`review opened`, `review decided`, `review approved`: what happened, and to which review."""
    what = event.TYPE.rsplit(".", 1)[0].replace(".", " ").replace("_", " ")
    log.info(
        what,
        service=SERVICE,
        ticket=event.ticket_id,
        review=event.review_id,
        target=event.target_id,
        kind=event.subject_kind.value,
        version=event.version,
    )


def _json(value: Contract | None) -> Any:
    return None if value is None else value.model_dump(mode="json")
