"""SQL about what an approver should know besides the ticket: other live grants, earlier rejections."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from services.approval.domain.review import Background, Review
from shared.contracts.approval import EarlierRejection, OtherGrant
from shared.contracts.people import Person
from shared.contracts.subject import ApprovalSubject, SubjectGrant, SubjectKind
from shared.database.pool import Conn

MOST_LISTED: Final = 5
"""Other grants and earlier rejections that one event names; the others are counted."""


async def load(conn: Conn, subject: ApprovalSubject, *, now: datetime) -> Background:
    """Counts, and a few of what was counted: how often says less than what and until when."""
    people = {person.user_id: person for person in subject.beneficiaries}
    other_grants, listed = await _other_grants(conn, people, target_id=subject.target_id, now=now)
    rejections, rejections_listed = await _rejections(conn, subject)
    return Background(
        other_grants=other_grants,
        earlier_rejections=rejections,
        other_grants_listed=listed,
        earlier_rejections_listed=rejections_listed,
    )


def new_grants(review: Review) -> tuple[SubjectGrant, ...]:
    """Grants that go live with this review: none unless it was approved; those of an extension are live."""
    new = review.approved_window is not None and review.subject.kind is not SubjectKind.EXTENSION
    return review.subject.grants if new else ()


async def add_live_grants(conn: Conn, review: Review) -> None:
    """Write down the grants of a review that was approved as it opened; later its closing does."""
    grants = new_grants(review)
    if review.approved_window is None or not grants:
        return
    await conn.execute(
        """
        INSERT INTO live_grant (grant_id, review_id, beneficiary, ends_at)
        SELECT id, $1, beneficiary, $2 FROM unnest($3::text[], $4::text[]) AS granted (id, beneficiary)
        ON CONFLICT (grant_id) DO NOTHING
        """,
        review.id,
        review.approved_window.ends_at,
        [grant.id for grant in grants],
        [grant.beneficiary for grant in grants],
    )


async def move_ends(conn: Conn, review: Review) -> None:
    """Write down the later end of grants whose extension was approved; nothing for any other review.

    Only of grants that are there: one that was stopped does not come back.
    """
    if review.approved_window is None or review.subject.kind is not SubjectKind.EXTENSION:
        return
    await conn.execute(
        "UPDATE live_grant SET ends_at = $2 WHERE grant_id = ANY($1) AND ends_at < $2",
        [grant.id for grant in review.subject.grants],
        review.approved_window.ends_at,
    )


async def drop_live_grants(conn: Conn, grant_ids: Collection[str]) -> None:
    """Forget grants that were stopped."""
    await conn.execute("DELETE FROM live_grant WHERE grant_id = ANY($1)", list(grant_ids))


async def drop_ended_grants(conn: Conn, *, now: datetime) -> None:
    await conn.execute("DELETE FROM live_grant WHERE ends_at <= $1", now)


async def _other_grants(
    conn: Conn, beneficiaries: Mapping[str, Person], *, target_id: str, now: datetime
) -> tuple[int, tuple[OtherGrant, ...]]:
    """How many live grants on other targets they have, and those of them that last longest."""
    rows = await conn.fetch(
        """
        SELECT g.beneficiary, g.ends_at, r.subject, count(*) OVER () AS total
        FROM live_grant g JOIN review r ON r.id = g.review_id
        WHERE g.beneficiary = ANY($1) AND g.ends_at > $3 AND r.target_id <> $2
        ORDER BY g.ends_at DESC, g.grant_id LIMIT $4
        """,
        list(beneficiaries),
        target_id,
        now,
        MOST_LISTED,
    )
    listed = tuple(
        OtherGrant(
            beneficiary=beneficiaries[row["beneficiary"]],
            account_id=row["subject"]["account_id"],
            account_name=row["subject"]["account_name"],
            set_name=row["subject"]["set_name"],
            ends_at=row["ends_at"],
        )
        for row in rows
    )
    return (rows[0]["total"] if rows else 0), listed


async def _rejections(conn: Conn, subject: ApprovalSubject) -> tuple[int, tuple[EarlierRejection, ...]]:
    """How often approvers said no to this requester for the same account and set, and the newest of it.

    Each with the comment of the last voter.
    """
    rows = await conn.fetch(
        """
        SELECT closed_at AS at, count(*) OVER () AS total, (
            SELECT v.body ->> 'comment' FROM vote v
            WHERE v.review_id = review.id ORDER BY v.number DESC LIMIT 1
        ) AS comment
        FROM review
        WHERE requester = $1 AND account_id = $2 AND set_id = $3 AND code = 'rejected'
        ORDER BY id DESC LIMIT $4
        """,
        subject.requester.user_id,
        subject.account_id,
        subject.set_id,
        MOST_LISTED,
    )
    listed = tuple(EarlierRejection(at=row["at"], comment=row["comment"] or "") for row in rows)
    return (rows[0]["total"] if rows else 0), listed
