"""What is known of a ticket: put together from its facts, each of which tells of some targets only. Pure.

Facts may come late and in another order than they were said, so each target is as old as the last fact of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from shared.contracts.ticket import Ticket


@dataclass(frozen=True)
class KnownTicket:
    """A ticket as far as its facts have told it."""

    ticket: Ticket
    """Its head by the newest fact; targets, grants and extensions by their ids, those that were told of."""
    versions: Mapping[str, int]
    """Target to the ticket's version that it was told with, its grants and extensions too."""

    @classmethod
    def by(cls, told: Ticket) -> Self:
        """By one fact alone."""
        return cls(_in_order(told), {target.id: told.version for target in told.targets})

    def version_of(self, target_id: str) -> int:
        """0 where the target is not known."""
        return self.versions.get(target_id, 0)


def merge(one: KnownTicket, other: KnownTicket) -> KnownTicket:
    """What both know of a ticket, by whichever is newer: its head, and each target with all that is its own.

    The same in whatever order and however often facts are merged. A target is taken whole, because a
    revision has other grants than the one before.
    """
    taken = {id_ for id_, version in other.versions.items() if version > one.version_of(id_)}
    kept = one.versions.keys() - taken
    mine, theirs = one.ticket.excerpt(kept), other.ticket.excerpt(taken)
    head = other.ticket if other.ticket.version > one.ticket.version else one.ticket
    put_together = head.model_copy(
        update={
            "targets": (*mine.targets, *theirs.targets),
            "grants": (*mine.grants, *theirs.grants),
            "extensions": (*mine.extensions, *theirs.extensions),
        }
    )
    return KnownTicket(
        _in_order(put_together), {**one.versions, **{id_: other.versions[id_] for id_ in taken}}
    )


def learn(known: KnownTicket | None, told: Ticket) -> KnownTicket:
    """What is known with what another fact tells."""
    more = KnownTicket.by(told)
    return more if known is None else merge(known, more)


def _in_order(ticket: Ticket) -> Ticket:
    """By ids, which are in the order of their making: a part alone does not say where it stands."""
    return ticket.model_copy(
        update={
            "targets": tuple(sorted(ticket.targets, key=lambda target: target.id)),
            "grants": tuple(sorted(ticket.grants, key=lambda grant: grant.id)),
            "extensions": tuple(sorted(ticket.extensions, key=lambda extension: extension.id)),
        }
    )


def needed_until(ticket: Ticket) -> datetime:
    """The latest moment the ticket names, as it is known: soon after it the last fact about it comes."""
    named = [
        ticket.submitted_at,
        ticket.credentials_until,
        *(target.expires_at for target in ticket.targets),
        *(target.asked.ends_at for target in ticket.targets),
        *(grant.ends_at for grant in ticket.grants),
        *(grant.credentials_until for grant in ticket.grants),
        *(extension.ends_at for extension in ticket.extensions),
    ]
    return max(moment for moment in named if moment is not None)
