"""A ticket as rows: what is written of it, and nothing that a change left as it was. Used by tickets.py.

Everything about a ticket is written under the lock of its row, and that row guards the version for all.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from services.ticket.domain.endings import closes_at, times_out_at
from shared.contracts.event import Contract
from shared.contracts.extension import Extension
from shared.contracts.ticket import Grant, Target, Ticket
from shared.database.pool import Conn
from shared.foundation.errors import Bug

PartT = TypeVar("PartT", Target, Grant, Extension)


def changed(before: Sequence[PartT], after: Sequence[PartT]) -> list[PartT]:
    """The parts that are new or different, found by their ids."""
    known = {part.id: part for part in before}
    return [part for part in after if known.get(part.id) != part]


async def insert_ticket(conn: Conn, ticket: Ticket) -> None:
    await conn.execute(
        """
        INSERT INTO ticket
            (id, version, state, credentials_until, closed_at, revisions, times_out_at, closes_at,
             instance, requester, requester_named, beneficiaries, description, submitted_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        """,
        *_changing(ticket),
        ticket.instance,
        ticket.requester.user_id,
        _json(ticket.requester),
        [_json(person) for person in ticket.beneficiaries],
        _json(ticket.description()),
        ticket.submitted_at,
    )


async def update_ticket(conn: Conn, before: Ticket, ticket: Ticket) -> None:
    """A writer that did not hold the lock finds no row to update."""
    status = await conn.execute(
        """
        UPDATE ticket
        SET version = $2, state = $3, credentials_until = $4, closed_at = $5, revisions = $6,
            times_out_at = $7, closes_at = $8
        WHERE id = $1 AND version = $9
        """,
        *_changing(ticket),
        before.version,
    )
    if status != "UPDATE 1":
        raise Bug(f"ticket {ticket.id} changed under its lock; this is a bug", code="ticket_version")


def _changing(ticket: Ticket) -> tuple[Any, ...]:
    """The id and what of the ticket's own row may change."""
    return (
        ticket.id,
        ticket.version,
        ticket.state,
        ticket.credentials_until,
        ticket.closed_at,
        _json(ticket.revisions),
        times_out_at(ticket),
        closes_at(ticket),
    )


async def write_parts(conn: Conn, before: Ticket | None, ticket: Ticket) -> None:
    """Parties, targets, grants and extensions that are new or different; earlier revisions stay."""
    await _write_parties(conn, before, ticket)
    targets = changed(before.targets if before else (), ticket.targets)
    await _write_targets(conn, ticket, targets)
    await _write_revisions(conn, targets)
    await _write_grants(conn, ticket, changed(before.grants if before else (), ticket.grants))
    await _write_extensions(conn, ticket, changed(before.extensions if before else (), ticket.extensions))


async def _write_parties(conn: Conn, before: Ticket | None, ticket: Ticket) -> None:
    was, now = _parties(before) if before else set(), _parties(ticket)
    if gone := was - now:
        await conn.executemany(
            "DELETE FROM ticket_party WHERE user_id = $1 AND benefits = $2 AND ticket_id = $3",
            [(*party, ticket.id) for party in sorted(gone)],
        )
    await conn.executemany(
        "INSERT INTO ticket_party (user_id, benefits, ticket_id) VALUES ($1, $2, $3)",
        [(*party, ticket.id) for party in sorted(now - was)],
    )


def _parties(ticket: Ticket) -> set[tuple[str, bool]]:
    """User ids, with whether the access would be theirs."""
    holders = {person.user_id for person in ticket.beneficiaries}
    return {(user_id, user_id in holders) for user_id in ticket.parties}


async def _write_targets(conn: Conn, ticket: Ticket, targets: Sequence[Target]) -> None:
    """What a target is about; a later revision is asked for under the names of its day."""
    places = _places(ticket.targets)
    await conn.executemany(
        """
        INSERT INTO ticket_target
            (id, ticket_id, position, account_id, account_name, set_id, set_name, set_group, revision)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (id) DO UPDATE
        SET account_name = excluded.account_name, set_name = excluded.set_name, revision = excluded.revision
        WHERE ticket_target.revision <> excluded.revision
        """,
        [
            (
                target.id,
                ticket.id,
                places[target.id],
                target.account_id,
                target.account_name,
                target.set_id,
                target.set_name,
                target.set_group,
                target.revision,
            )
            for target in targets
        ],
    )


async def _write_revisions(conn: Conn, targets: Sequence[Target]) -> None:
    """The current revision of each; what was asked never changes, what became of it does."""
    await conn.executemany(
        """
        INSERT INTO target_revision
            (target_id, revision, subject_id, set_digest, session_duration, asked, reason, submitted_at,
             expires_at, state, approved_window, decided_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (target_id, revision) DO UPDATE
        SET state = excluded.state, approved_window = excluded.approved_window,
            decided_at = excluded.decided_at
        """,
        [
            (
                target.id,
                target.revision,
                target.subject_id,
                target.set_digest,
                target.session_duration,
                _json(target.asked),
                target.reason,
                target.submitted_at,
                target.expires_at,
                target.state,
                _json(target.window),
                target.decided_at,
            )
            for target in targets
        ],
    )


async def _write_grants(conn: Conn, ticket: Ticket, grants: Sequence[Grant]) -> None:
    """With account and set beside the beneficiary: a stop finds every claim of the three in one index."""
    places, targets = _places(ticket.grants), {target.id: target for target in ticket.targets}
    await conn.executemany(
        """
        INSERT INTO ticket_grant
            (id, ticket_id, target_id, revision, position, instance, beneficiary, account_id, set_id,
             live, ends_at, state, code, detail, granted_at, ended_at, kept_by, already_held,
             credentials_until)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
        ON CONFLICT (id) DO UPDATE
        SET live = excluded.live, ends_at = excluded.ends_at, state = excluded.state, code = excluded.code,
            detail = excluded.detail, granted_at = excluded.granted_at, ended_at = excluded.ended_at,
            kept_by = excluded.kept_by, already_held = excluded.already_held,
            credentials_until = excluded.credentials_until
        """,
        [
            (*_identity(grant, ticket, targets[grant.target_id], places[grant.id]), *_progress(grant))
            for grant in grants
        ],
    )


def _identity(grant: Grant, ticket: Ticket, target: Target, place: int) -> tuple[Any, ...]:
    """What of a grant never changes."""
    return (
        grant.id,
        ticket.id,
        target.id,
        grant.revision,
        place,
        ticket.instance,
        grant.beneficiary,
        target.account_id,
        target.set_id,
    )


def _progress(grant: Grant) -> tuple[Any, ...]:
    """How far a grant has come."""
    return (
        grant.is_live,
        grant.ends_at,
        grant.state,
        grant.code,
        grant.detail,
        grant.granted_at,
        grant.ended_at,
        list(grant.kept_by),
        grant.already_held,
        grant.credentials_until,
    )


async def _write_extensions(conn: Conn, ticket: Ticket, extensions: Sequence[Extension]) -> None:
    places = _places(ticket.extensions)
    await conn.executemany(
        """
        INSERT INTO ticket_extension
            (id, ticket_id, position, target_id, revision, grants, requested_by, ends_at, reason,
             submitted_at, expires_at, state, code, approved_window, decided_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        ON CONFLICT (id) DO UPDATE
        SET state = excluded.state, code = excluded.code, approved_window = excluded.approved_window,
            decided_at = excluded.decided_at
        """,
        [
            (
                extension.id,
                ticket.id,
                places[extension.id],
                extension.target_id,
                extension.revision,
                list(extension.grants),
                _json(extension.requested_by),
                extension.ends_at,
                extension.reason,
                extension.submitted_at,
                extension.expires_at,
                extension.state,
                extension.code,
                _json(extension.window),
                extension.decided_at,
            )
            for extension in extensions
        ],
    )


def _places(parts: Sequence[PartT]) -> dict[str, int]:
    return {part.id: place for place, part in enumerate(parts)}


def _json(part: Contract | None) -> Any:
    return None if part is None else part.model_dump(mode="json")
