"""How a ticket changes: its parts are replaced, its version is raised, the event of it is built.

The other modules of this folder decide what changes and end here; nothing else makes a `Change` with events.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, TypeVar

from services.ticket.domain.display import display_state
from shared.contracts.access import EndCause
from shared.contracts.change import Change, Origin
from shared.contracts.extension import Extension
from shared.contracts.stop import StopFact, StoppedTarget
from shared.contracts.ticket import Grant, GrantState, Part, Target, TargetState, Ticket, TicketFact

PartT = TypeVar("PartT", Target, Grant, Extension)


def transition(
    changed: Ticket,
    event: type[TicketFact],
    origin: Origin,
    *,
    targets: Collection[str] = (),
    grants: Collection[str] = (),
    **content: Any,
) -> Change[Ticket]:
    """The next version of a ticket whose parts were changed, and the event of it.

    `targets` and `grants` are the ids that the event is about; `content` are fields of its own. It carries no
    more of the ticket than that, else a wide ticket would be sent whole as often as it has targets.
    """
    ticket = next_version(changed)
    return Change(
        ticket,
        events=(
            event(
                subject=ticket.id,
                version=ticket.version,
                ticket=ticket.as_told(targets, grants),
                target_ids=tuple(targets),
                grant_ids=tuple(grants),
                **origin.fields(),
                **content,
            ),
        ),
    )


def stop_transition(
    changed: Ticket,
    event: type[StopFact],
    origin: Origin,
    *,
    targets: Collection[str] = (),
    grants: Collection[str] = (),
) -> Change[Ticket]:
    """The same, where somebody took access away: the stop names every grant of what `targets` names, too."""
    ticket = next_version(changed)
    part = ticket.part(targets, grants)
    stop_fact = event(
        subject=ticket.id,
        version=ticket.version,
        ticket_id=ticket.id,
        grant_ids=tuple(grant.id for grant in part.grants),
        targets=_whole(ticket, part),
        ends_by=ticket.last_end,
        ticket=ticket.as_told(targets, grants),
        **origin.fields(),
    )
    return Change(ticket, events=(stop_fact,))


def _whole(ticket: Ticket, part: Part) -> tuple[StoppedTarget, ...]:
    """The targets of which the part holds every grant."""
    stopped = {grant.id for grant in part.grants}
    return tuple(
        StoppedTarget(id=target.id, revision=target.revision)
        for target in part.targets
        if stopped.issuperset(grant.id for grant in ticket.grants_of(target.id))
    )


def next_version(changed: Ticket) -> Ticket:
    """The ticket with its version raised and its display state derived."""
    return changed.model_copy(update={"version": changed.version + 1, "state": display_state(changed)})


def with_latest_credentials(changed: Ticket) -> Ticket:
    """The ticket with the last moment at which a credential of any of its grants can live."""
    latest = max((one.credentials_until for one in changed.grants if one.credentials_until), default=None)
    return changed.model_copy(update={"credentials_until": latest})


def settle(ticket: Ticket, target_ids: Collection[str], state: TargetState, *, at: datetime) -> Ticket:
    """Pending targets end without approval: rejected, timed out or withdrawn. Others stay as they are."""
    wanted = {target.id for target in ticket.pending} & set(target_ids)
    return with_targets(ticket, wanted, state=state, decided_at=at)


def stop(ticket: Ticket, grant_ids: Collection[str], cause: EndCause) -> Ticket:
    """Live grants begin to end, whatever they are doing; the provisioner says when they have."""
    wanted = {grant.id for grant in ticket.live} & set(grant_ids)
    return with_grants(ticket, wanted, state=GrantState.REVOKING, code=cause.value)


def with_targets(ticket: Ticket, ids: Collection[str], **fields: Any) -> Ticket:
    targets = _changed(ticket.targets, ids, lambda target: target.model_copy(update=fields))
    return ticket.model_copy(update={"targets": targets})


def with_grants(ticket: Ticket, ids: Collection[str], **fields: Any) -> Ticket:
    grants = _changed(ticket.grants, ids, lambda grant: grant.model_copy(update=fields))
    return ticket.model_copy(update={"grants": grants})


def with_extension(ticket: Ticket, extension_id: str, **fields: Any) -> Ticket:
    extensions = _changed(ticket.extensions, {extension_id}, lambda one: one.model_copy(update=fields))
    return ticket.model_copy(update={"extensions": extensions})


def _changed(
    parts: tuple[PartT, ...], ids: Collection[str], change: Callable[[PartT], PartT]
) -> tuple[PartT, ...]:
    return tuple(change(part) if part.id in ids else part for part in parts)
