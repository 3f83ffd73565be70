"""A ticket as rows: what is written of it, and nothing that a change left as it was. Used by tickets.py.

Everything about a ticket is written under the lock of its row, and that row guards the version for all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Saved:
    """A ticket as it is to be stored, and as it is stored; None where it is new."""

    before: Ticket | None
    now: Ticket

    def changed(self, parts: Callable[[Ticket], Sequence[PartT]]) -> list[tuple[int, PartT]]:
        """The parts that are new or different, with their places in the ticket; earlier revisions stay."""
        now = parts(self.now)
        places = {part.id: place for place, part in enumerate(now)}
        before = parts(self.before) if self.before else ()
        return [(places[part.id], part) for part in changed(before, now)]


async def add(conn: Conn, ticket: Ticket) -> None:
    """A new ticket with all its rows."""
    await _insert_ticket(conn, ticket)
    await _write_parts(conn, [Saved(None, ticket)])


async def save(conn: Conn, saved: Sequence[Saved]) -> None:
    """What changed of these tickets, each of them once, in as few statements as for one."""
    if saved:
        await _update_tickets(conn, saved)
        await _write_parts(conn, saved)


async def _write_parts(conn: Conn, saved: Sequence[Saved]) -> None:
    """Parties, targets, grants and extensions that are new or different."""
    await _write_parties(conn, saved)
    await _write_targets(conn, saved)
    await _write_revisions(conn, saved)
    await _write_grants(conn, saved)
    await _write_extensions(conn, saved)


async def _insert_ticket(conn: Conn, ticket: Ticket) -> None:
    await conn.execute(
        """
        INSERT INTO ticket
            (id, version, state, credentials_until, closed_at, revisions, times_out_at, closes_at,
             instance, requester, requester_named, beneficiaries, description, submitted_at)
        VALUES ($1, $2, $3, $4, $5, ($6::text)::jsonb, $7, $8, $9, $10, $11, $12, $13, $14)
        """,
        *_changing(ticket),
        ticket.instance,
        ticket.requester.user_id,
        _json(ticket.requester),
        [_json(person) for person in ticket.beneficiaries],
        _json(ticket.description()),
        ticket.submitted_at,
    )


async def _update_tickets(conn: Conn, saved: Sequence[Saved]) -> None:
    """A writer that did not hold the lock finds no row to update."""
    status = await conn.execute(
        """
        UPDATE ticket
        SET version = given.version, state = given.state, credentials_until = given.credentials_until,
            closed_at = given.closed_at, revisions = given.revisions::jsonb,
            times_out_at = given.times_out_at, closes_at = given.closes_at
        FROM unnest(
            $1::uuid[], $2::integer[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::text[],
            $7::timestamptz[], $8::timestamptz[], $9::integer[]
        ) AS given (
            id, version, state, credentials_until, closed_at, revisions, times_out_at, closes_at, before
        )
        WHERE ticket.id = given.id AND ticket.version = given.before
        """,
        *zip(*((*_changing(one.now), one.before.version) for one in saved if one.before), strict=True),
    )
    if status != f"UPDATE {len(saved)}":
        ids = ", ".join(one.now.id for one in saved)
        raise Bug(f"of {ids} one changed under its lock; this is a bug", code="ticket_version")


def _changing(ticket: Ticket) -> tuple[Any, ...]:
    """The id and what of the ticket's own row may change."""
    return (
        ticket.id,
        ticket.version,
        ticket.state,
        ticket.credentials_until,
        ticket.closed_at,
        ticket.revisions.model_dump_json(),
        times_out_at(ticket),
        closes_at(ticket),
    )


async def _write_parties(conn: Conn, saved: Sequence[Saved]) -> None:
    gone, new = [], []
    for one in saved:
        was, now = _parties(one.before) if one.before else set(), _parties(one.now)
        gone += [(*party, one.now.id) for party in sorted(was - now)]
        new += [(*party, one.now.id) for party in sorted(now - was)]
    await conn.executemany(
        "DELETE FROM ticket_party WHERE user_id = $1 AND benefits = $2 AND ticket_id = $3", gone
    )
    await conn.executemany("INSERT INTO ticket_party (user_id, benefits, ticket_id) VALUES ($1, $2, $3)", new)


def _parties(ticket: Ticket) -> set[tuple[str, bool]]:
    """User ids, with whether the access would be theirs."""
    holders = {person.user_id for person in ticket.beneficiaries}
    return {(user_id, user_id in holders) for user_id in ticket.parties}


async def _write_targets(conn: Conn, saved: Sequence[Saved]) -> None:
    """What a target is about; a later revision is asked for under the names of its day."""
    await conn.executemany(
        """
        INSERT INTO ticket_target
            (id, ticket_id, position, account_id, account_name, set_id, set_name, set_group, revision)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (id) DO UPDATE
        SET account_name = excluded.account_name, set_name = excluded.set_name, revision = excluded.revision
        """,
        [row for one in saved for row in _asked_for_anew(one)],
    )


def _asked_for_anew(saved: Saved) -> list[tuple[Any, ...]]:
    """Targets that are new or have a new revision; what becomes of one is in its revision's row."""
    known = {target.id: target.revision for target in saved.before.targets} if saved.before else {}
    return [
        (
            target.id,
            saved.now.id,
            place,
            target.account_id,
            target.account_name,
            target.set_id,
            target.set_name,
            target.set_group,
            target.revision,
        )
        for place, target in enumerate(saved.now.targets)
        if known.get(target.id) != target.revision
    ]


async def _write_revisions(conn: Conn, saved: Sequence[Saved]) -> None:
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
            for one in saved
            for _, target in one.changed(lambda ticket: ticket.targets)
        ],
    )


async def _write_grants(conn: Conn, saved: Sequence[Saved]) -> None:
    """With account and set beside the beneficiary: a stop finds every claim of the three in one index."""
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
            (*_identity(grant, place, one.now), *_progress(grant))
            for one in saved
            for place, grant in one.changed(lambda ticket: ticket.grants)
        ],
    )


def _identity(grant: Grant, place: int, ticket: Ticket) -> tuple[Any, ...]:
    """What of a grant never changes."""
    [target] = [target for target in ticket.targets if target.id == grant.target_id]
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


async def _write_extensions(conn: Conn, saved: Sequence[Saved]) -> None:
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
                one.now.id,
                place,
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
            for one in saved
            for place, extension in one.changed(lambda ticket: ticket.extensions)
        ],
    )


def _json(part: Contract | None) -> Any:
    return None if part is None else part.model_dump(mode="json")
