"""SQL of extensions. Those of a claim are saved with it (assignments.py), under its assignment's lock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from services.provisioner.domain.claims import SERVICE, Claim, ClaimExtension
from services.provisioner.store.claims import ClaimKey
from services.provisioner.store.commit_log import log_fact
from services.provisioner.store.rows import extension_of
from shared.contracts.access import AccessFact
from shared.contracts.change import Change
from shared.database.pool import Conn
from shared.database.unit_of_work import UnitOfWork
from shared.messaging import outbox


@dataclass(frozen=True, slots=True)
class Waits:
    """Whether any of a locked ticket's extensions waits, as the unit of work knows."""

    waits: bool


async def insert(work: UnitOfWork, extension: ClaimExtension) -> None:
    """The first one is kept: an extension said again, even with another end, changes nothing."""
    work.held(Waits)[extension.ticket_id] = Waits(True)
    await work.conn.execute(
        """
        INSERT INTO extension (subject_id, grant_id, ticket_id, target_id, revision, instance, user_id,
            account_id, set_id, ended_before, starts_at, ends_at, content_hash, requester, received_at,
            next_at, cause)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16)
        ON CONFLICT DO NOTHING
        """,
        extension.subject_id,
        extension.grant_id,
        extension.ticket_id,
        extension.target_id,
        extension.revision,
        extension.instance,
        extension.user_id,
        extension.account_id,
        extension.set_id,
        extension.ended_before,
        extension.starts_at,
        extension.ends_at,
        extension.content_hash,
        extension.requester,
        extension.received_at,
        extension.cause,
    )


async def update(conn: Conn, extension: ClaimExtension) -> None:
    """Decided: nothing follows."""
    await conn.execute(
        """
        UPDATE extension SET state = $3, code = $4, detail = $5, decided_at = $6
        WHERE subject_id = $1 AND grant_id = $2 AND state = 'waiting'
        """,
        extension.subject_id,
        extension.grant_id,
        extension.state.value,
        extension.code,
        extension.detail,
        extension.decided_at,
    )


async def save_without_claim(work: UnitOfWork, change: Change[ClaimExtension]) -> None:
    """One that is decided before there is a claim; the ticket is locked."""
    await update(work.conn, change.state)
    outbox.append(work, SERVICE, *change.events)
    work.alert(*change.alerts)
    for fact in change.events:
        if isinstance(fact, AccessFact):
            work.after_commit(partial(log_fact, fact))


async def waiting_for(conn: Conn, claim: Claim) -> tuple[ClaimExtension, ...]:
    """What waits for a claim that is not stored yet, the nearest end first, as whole_claim has it."""
    rows = await conn.fetch(
        """
        SELECT e AS whole FROM whole_extension e
        WHERE e.grant_id = $1 AND e.ticket_id = $2 AND e.target_id = $3 AND e.state = 'waiting'
        ORDER BY e.ends_at, e.subject_id
        """,
        claim.id,
        claim.ticket_id,
        claim.target_id,
    )
    return tuple(extension_of(row["whole"]) for row in rows)


async def claims_waited_for(conn: Conn, ticket_id: str) -> list[ClaimKey]:
    """The claims of a ticket that are there and that extensions wait for."""
    rows = await conn.fetch(
        """
        SELECT DISTINCT c.id, c.assignment_id FROM extension e
        JOIN claim c ON c.id = e.grant_id AND c.ticket_id = e.ticket_id AND c.target_id = e.target_id
        WHERE e.ticket_id = $1 AND e.state = 'waiting'
        """,
        ticket_id,
    )
    return [ClaimKey(row["id"], row["assignment_id"]) for row in rows]


async def find_waiting(work: UnitOfWork, ticket_ids: Sequence[str]) -> None:
    """Note in the unit for which of these tickets any waits. While they are locked none is added."""
    rows = await work.conn.fetch(
        "SELECT DISTINCT ticket_id FROM extension WHERE ticket_id = ANY($1) AND state = 'waiting'", ticket_ids
    )
    waiting = {row["ticket_id"] for row in rows}
    work.held(Waits).update({ticket_id: Waits(ticket_id in waiting) for ticket_id in ticket_ids})


async def any_waiting(work: UnitOfWork, ticket_id: str) -> bool:
    """Whether any of a ticket's waits for anything, or did when this unit locked it."""
    if ticket_id not in work.held(Waits):
        await find_waiting(work, [ticket_id])
    return work.held(Waits)[ticket_id].waits


async def without_claim(conn: Conn, ticket_id: str, *, received_by: datetime) -> list[ClaimExtension]:
    """Extensions that have waited for their claim for too long; another ticket's grant is none of theirs."""
    rows = await conn.fetch(
        """
        SELECT e AS whole FROM whole_extension e
        WHERE e.ticket_id = $1 AND e.state = 'waiting' AND e.received_at <= $2
            AND NOT EXISTS (
                SELECT 1 FROM claim c
                WHERE c.id = e.grant_id AND c.ticket_id = e.ticket_id AND c.target_id = e.target_id
            )
        ORDER BY e.grant_id
        """,
        ticket_id,
        received_by,
    )
    return [extension_of(row["whole"]) for row in rows]


async def grants_of(conn: Conn, subject_id: str) -> list[tuple[str, str]]:
    """(id, user) of every grant an extension is about: the claim's user, where the claim is there."""
    rows = await conn.fetch(
        """
        SELECT e.grant_id, coalesce(c.user_id, e.user_id) AS user_id
        FROM extension e
        LEFT JOIN claim c ON c.id = e.grant_id AND c.ticket_id = e.ticket_id AND c.target_id = e.target_id
        WHERE e.subject_id = $1
        """,
        subject_id,
    )
    return [(row["grant_id"], row["user_id"]) for row in rows]


async def due_tickets(conn: Conn, *, now: datetime) -> list[str]:
    """Some tickets with extensions that are to be looked at again, those first that waited longest."""
    rows = await conn.fetch(
        "SELECT ticket_id FROM extension WHERE state = 'waiting' AND next_at <= $1 ORDER BY next_at LIMIT 10",
        now,
    )
    return list(dict.fromkeys(row["ticket_id"] for row in rows))


async def postpone(conn: Conn, ticket_id: str, *, until: datetime) -> None:
    """What still waits is looked at again then, unless something comes before."""
    await conn.execute(
        "UPDATE extension SET next_at = $2 WHERE ticket_id = $1 AND state = 'waiting'", ticket_id, until
    )
