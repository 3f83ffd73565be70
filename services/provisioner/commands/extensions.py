"""Extensions that ticket says were approved: stored, and carried out as soon as all that is needed is here.

That is the claim, with its own approval judged; approval's witness for the extension; and a policy that is
ready. Whichever comes last has them judged again, and so does the expiry producer from time to time.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from services.provisioner.commands.rechecks import known_of_extended
from services.provisioner.domain.claims import ClaimExtension
from services.provisioner.domain.extensions import Waiting, fail_without_claim, judge
from services.provisioner.store import assignments, claims, extensions, witnesses
from shared.context import Context
from shared.contracts.change import Origin
from shared.contracts.ticket import TicketExtensionApproved
from shared.database.unit_of_work import UnitOfWork
from shared.messaging.envelope import Received
from shared.observability.logs import logger

_AGAIN: Final = timedelta(seconds=5)
_AGAIN_AFTER_A_BUG: Final = timedelta(minutes=1)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)

log = logger("extensions")


async def record_extension(
    context: Context, work: UnitOfWork, received: Received[TicketExtensionApproved]
) -> None:
    """Store the later end for every grant it names, and carry out what can be."""
    ticket_id = received.event.ticket.id
    await witnesses.lock_tickets(work, [ticket_id])
    origin = context.origin(received)
    for extension in _approved(received.event, origin):
        await extensions.insert(work, extension)
    await judge_extensions(context, work, ticket_id, cause=received.id)
    work.after_commit(context.nudge)


async def judge_extensions(
    context: Context, work: UnitOfWork, ticket_id: str, *, cause: str | None, overdue: datetime = _NEVER
) -> None:
    """Those of a ticket that wait and whose claim is here. The ticket is locked; this locks the rest.

    The time is read after the locks: a claim may have ended while one of them was waited for.
    """
    conn = work.conn
    keys = await extensions.claims_waited_for(conn, ticket_id)
    for locked in await assignments.lock(conn, [key.assignment_id for key in keys]):
        closed = await claims.closed_with_extensions(conn, locked.id, ticket_id=ticket_id)
        before = replace(locked, claims=(*locked.claims, *closed))
        origin = Origin(context.actor, context.clock.now(), cause)
        known = await known_of_extended(context, conn, before, origin.at)
        change = judge(before, Waiting(origin, known, overdue))
        await assignments.save(work, before, change)
        if change.events:
            work.after_commit(context.nudge)
    await extensions.postpone(conn, ticket_id, until=context.clock.now() + _AGAIN)


async def retry_extensions(context: Context, work: UnitOfWork, ticket_id: str, *, wait: timedelta) -> None:
    """Once more, for time has passed: what has waited for so long for a witness or a claim has failed."""
    await witnesses.lock_tickets(work, [ticket_id])
    origin = context.origin()
    overdue = origin.at - wait
    await judge_extensions(context, work, ticket_id, cause=None, overdue=overdue)
    for extension in await extensions.without_claim(work.conn, ticket_id, received_by=overdue):
        await extensions.save_without_claim(work, fail_without_claim(extension, origin))


async def postpone_broken(context: Context, work: UnitOfWork, ticket_id: str) -> None:
    """Those of a ticket that cannot be worked on let all others go first."""
    await extensions.postpone(work.conn, ticket_id, until=context.clock.now() + _AGAIN_AFTER_A_BUG)


def _approved(event: TicketExtensionApproved, origin: Origin) -> list[ClaimExtension]:
    """One per grant. What makes no sense is left out: nothing ends later by it."""
    ticket, extension = event.ticket, event.extension
    target = ticket.target(extension.target_id) if extension else None
    window = extension.window if extension else None
    if extension is None or target is None or window is None or window.ends_at <= window.starts_at:
        log.error("extension without a window", ticket=ticket.id, extension=event.extension_id)
        return []
    named = [grant for grant in ticket.grants if grant.id in extension.grants]
    return [
        ClaimExtension(
            subject_id=extension.id,
            grant_id=grant.id,
            ticket_id=ticket.id,
            target_id=target.id,
            revision=extension.revision,
            instance=ticket.instance,
            user_id=grant.beneficiary,
            account_id=target.account_id,
            set_id=target.set_id,
            ended_before=grant.ends_at or extension.expires_at,
            starts_at=window.starts_at,
            ends_at=window.ends_at,
            content_hash=event.content_hash,
            requester=extension.requested_by.user_id,
            received_at=origin.at,
            cause=origin.cause,
        )
        for grant in named
    ]
