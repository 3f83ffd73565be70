"""SQL of mails: facts are gathered into them, senders claim them, and what became of each is saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.notifier.domain.delivery import Again, Delivery, GivenUp, Sent, Settled, Settlement, State
from services.notifier.domain.facts import alerts_of, facts_of
from services.notifier.domain.notice import URGENT, Notice, Recipient, Template
from services.notifier.store import notices
from shared.contracts.change import Origin
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.foundation.errors import Conflict
from shared.messaging import outbox

SERVICE = "notifier"


@dataclass(frozen=True)
class NewMail:
    """A mail for a person that is made unless one of its kind still gathers."""

    id: str
    recipient: Recipient
    message_id: str
    due_at: datetime


@dataclass(frozen=True)
class Gathering:
    """A fact with the mails that it goes into."""

    notice: Notice
    is_new: bool
    """It has still to be kept; else it has waited."""
    template: Template
    mails: Sequence[NewMail]
    give_up_at: datetime


@dataclass(frozen=True)
class Backlog:
    """How mail stands: what is pending, and what of it has already been refused or could not be sent."""

    pending: int
    struggling: int
    oldest: datetime | None
    """When the oldest struggling one was written."""
    last_error: str


def gather(work: UnitOfWork, gathering: Gathering, *, longest: timedelta, now: datetime) -> None:
    """Put a fact into one mail for each person; all of a unit are written together.

    A mail takes further facts of its kind until a sender claims it; each sets its time anew, up to `longest`
    after the first. Who was already mailed about this fact is left out.
    """
    work.collect(_gather, (gathering, longest, now))


async def _gather(work: UnitOfWork, collected: Sequence[tuple[Gathering, timedelta, datetime]]) -> None:
    """The fact comes before what links mails to it, in whatever order the unit collected."""
    if new := [(one.notice, now) for one, _, now in collected if one.is_new]:
        await notices.insert(work.conn, new, held=False)
    _, longest, now = collected[-1]
    each = [(one, mail) for one, _, _ in collected for mail in one.mails]
    await work.conn.execute(
        """
        WITH wanted AS (
            SELECT one.id, one.notice_id, one.ticket_id, one.template, one.recipient, one.snapshot,
                   one.message_id, one.happened_at, one.due_at, one.give_up_at, one.n,
                   CASE WHEN one.ticket_id IS NULL THEN one.id END AS alone
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                        $8::timestamptz[], $9::timestamptz[], $10::timestamptz[]) WITH ORDINALITY
                AS one (id, notice_id, ticket_id, template, recipient, snapshot, message_id, happened_at,
                        due_at, give_up_at, n)
            WHERE NOT EXISTS (
                SELECT FROM delivery_notice AS link
                WHERE link.notice_id = one.notice_id AND link.recipient = one.recipient
            )
        ), mail AS (
            INSERT INTO delivery AS d (id, ticket_id, template, recipient, snapshot, message_id, happened_at,
                                       next_attempt_at, give_up_at, created_at)
            SELECT (array_agg(id ORDER BY n))[1], ticket_id, template, recipient,
                   (array_agg(snapshot ORDER BY n) FILTER (WHERE snapshot IS NOT NULL))[1],
                   (array_agg(message_id ORDER BY n))[1], min(happened_at),
                   (array_agg(due_at ORDER BY n DESC))[1], (array_agg(give_up_at ORDER BY n))[1], $12
            FROM wanted GROUP BY ticket_id, template, recipient, alone
            ORDER BY ticket_id, template, recipient
            ON CONFLICT (ticket_id, recipient, template) WHERE state = 'pending' AND gathers
            DO UPDATE SET next_attempt_at = least(excluded.next_attempt_at, d.created_at + $11::interval),
                          happened_at = least(d.happened_at, excluded.happened_at),
                          snapshot = coalesce(d.snapshot, excluded.snapshot)
            RETURNING d.id, d.ticket_id, d.template, d.recipient
        )
        INSERT INTO delivery_notice (notice_id, recipient, delivery_id)
        SELECT w.notice_id, w.recipient, mail.id FROM wanted AS w JOIN mail
            ON w.ticket_id = mail.ticket_id AND w.template = mail.template AND w.recipient = mail.recipient
            OR w.alone = mail.id
        """,
        [mail.id for _, mail in each],
        [one.notice.id for one, _ in each],
        [one.notice.ticket_id for one, _ in each],
        [one.template.value for one, _ in each],
        [mail.recipient.user_id for _, mail in each],
        [mail.recipient.address for _, mail in each],
        [mail.message_id for _, mail in each],
        [one.notice.event.at for one, _ in each],
        [mail.due_at for _, mail in each],
        [one.give_up_at for one, _ in each],
        longest,
        now,
    )


async def claim(conn: Conn, *, now: datetime, leased_until: datetime, most: int) -> list[Delivery]:
    """The next deliveries that are due and nobody's. From now on they take no further facts.

    SKIP LOCKED: two senders never wait for each other. NOT EXISTS: no mail overtakes an earlier one of
    the same ticket to the same person, also not while that one waits for its next attempt; urgent ones do.
    """
    rows = await conn.fetch(
        """
        UPDATE delivery AS d SET leased_until = $2, attempts = d.attempts + 1, gathers = false
        WHERE d.id IN (
            SELECT due.id FROM delivery AS due
            WHERE due.state = 'pending' AND due.next_attempt_at <= $1
              AND (due.leased_until IS NULL OR due.leased_until <= $1)
              AND (due.template = ANY($3) OR NOT EXISTS (
                  SELECT 1 FROM delivery AS earlier
                  WHERE earlier.ticket_id = due.ticket_id AND earlier.recipient = due.recipient
                    AND earlier.state = 'pending'
                    AND (earlier.happened_at, earlier.id) < (due.happened_at, due.id)
              ))
            ORDER BY due.next_attempt_at, due.id LIMIT $4 FOR UPDATE OF due SKIP LOCKED
        )
        RETURNING d.id, d.ticket_id, d.template, d.recipient, d.snapshot, d.message_id, d.attempts,
                  d.give_up_at, d.retried_by, d.happened_at
        """,
        now,
        leased_until,
        [template.value for template in URGENT],
        most,
    )
    # A statement of its own: it sees what was gathered until the rows were ours, the one above may not.
    about = await notices.of_deliveries(conn, [row["id"] for row in rows])
    return [
        _delivery(row, about[row["id"]])
        for row in sorted(rows, key=lambda row: (row["happened_at"], row["id"]))
    ]


async def give_back(conn: Conn, deliveries: Sequence[Delivery]) -> None:
    """They were not tried: they are due as before, and this was no attempt. What came since has its mail."""
    await conn.execute(
        """
        UPDATE delivery AS d SET leased_until = NULL, attempts = d.attempts - 1
        FROM unnest($1::uuid[], $2::int[]) AS given (id, attempt)
        WHERE d.id = given.id AND d.attempts = given.attempt AND d.state = 'pending'
        """,
        [one.id for one in deliveries],
        [one.attempt for one in deliveries],
    )


async def save(work: UnitOfWork, settled: Sequence[Settled], *, origin: Origin) -> list[Settled]:
    """Record what became of attempts, and say it of all together.

    Those whose lease was lost to another sender: that one's record stands, and it has said so.
    """
    rows = await work.conn.fetch(
        """
        UPDATE delivery AS d
        SET state = given.state, leased_until = NULL,
            next_attempt_at = coalesce(given.next_at, d.next_attempt_at),
            address = given.address, smtp_code = given.smtp_code, detail = given.detail,
            settled_at = CASE WHEN given.state = 'pending' THEN NULL ELSE $8::timestamptz END
        FROM unnest($1::uuid[], $2::int[], $3::text[], $4::timestamptz[], $5::text[], $6::int[], $7::text[])
            AS given (id, attempt, state, next_at, address, smtp_code, detail)
        WHERE d.id = given.id AND d.attempts = given.attempt AND d.state = 'pending'
        RETURNING d.id
        """,
        [one.delivery.id for one in settled],
        [one.delivery.attempt for one in settled],
        [_state_after(one.settlement).value for one in settled],
        [one.settlement.at if isinstance(one.settlement, Again) else None for one in settled],
        [one.address for one in settled],
        [failure.code if (failure := _failure(one.settlement)) else None for one in settled],
        [failure.detail if (failure := _failure(one.settlement)) else "" for one in settled],
        origin.at,
    )
    ours = {str(row["id"]) for row in rows}
    kept = [one for one in settled if one.delivery.id in ours]
    outbox.append(work, SERVICE, *facts_of(kept, origin))
    work.alert(*alerts_of(kept))
    return [one for one in settled if one.delivery.id not in ours]


async def lock_state(conn: Conn, delivery_id: str) -> State | None:
    """For an operator's decision about one delivery; None where there is none."""
    state = await conn.fetchval("SELECT state FROM delivery WHERE id = $1 FOR UPDATE", delivery_id)
    return None if state is None else State(state)


async def make_due(conn: Conn, delivery_id: str, *, by: str, give_up_at: datetime, now: datetime) -> None:
    """Try again now. A sender at work keeps its lease."""
    row = await conn.fetchval(
        """
        UPDATE delivery
        SET state = 'pending', next_attempt_at = $2, give_up_at = $3, retried_by = $4, settled_at = NULL
        WHERE id = $1 AND state IN ('pending', 'failed') RETURNING id
        """,
        delivery_id,
        now,
        give_up_at,
        by,
    )
    if row is None:
        raise Conflict("this mail has just been sent; there is nothing to try again", code="already_sent")


async def backlog(conn: Conn, *, struggling_from: int) -> Backlog:
    """Pending mail; `struggling_from` attempts on it counts as struggling."""
    row = await conn.fetchrow(
        """
        SELECT count(*) AS pending,
               count(*) FILTER (WHERE attempts >= $1 AND detail <> '') AS struggling,
               min(created_at) FILTER (WHERE attempts >= $1 AND detail <> '') AS oldest,
               max(detail) FILTER (WHERE attempts >= $1) AS last_error
        FROM delivery WHERE state = 'pending'
        """,
        struggling_from,
    )
    assert row is not None, "an aggregate without GROUP BY has one row"  # noqa: S101
    return Backlog(row["pending"], row["struggling"], row["oldest"], row["last_error"] or "")


def _failure(settlement: Settlement) -> Again | GivenUp | None:
    return None if isinstance(settlement, Sent) else settlement


def _state_after(settlement: Settlement) -> State:
    if isinstance(settlement, Again):
        return State.PENDING
    return State.FAILED if isinstance(settlement, GivenUp) else State.SENT


def _delivery(row: Any, about: Sequence[Notice]) -> Delivery:
    return Delivery(
        id=str(row["id"]),
        ticket_id=row["ticket_id"],
        template=Template(row["template"]),
        recipient=Recipient(row["recipient"], row["snapshot"]),
        message_id=row["message_id"],
        attempt=row["attempts"],
        give_up_at=row["give_up_at"],
        retried_by=row["retried_by"],
        notices=tuple(about),
    )
