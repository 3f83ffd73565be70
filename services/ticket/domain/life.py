"""A ticket's life: birth, decisions, stops and what the provisioner reports. Pure functions on `Ticket`.

Targets move once, out of PENDING. Grants only ever move forward, so an old or repeated access fact
changes nothing, and a stop is never undone.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from services.ticket.domain.plan import Plan
from services.ticket.domain.window import Limits, pending_until
from shared.contracts import access
from shared.contracts.event import Revisions
from shared.contracts.people import Person
from shared.contracts.ticket import Grant, GrantState, Target, TargetState, Ticket, TicketState, Window
from shared.foundation.errors import Conflict

PartT = TypeVar("PartT", Target, Grant)

ORDER = {
    None: 0,
    GrantState.SCHEDULED: 1,
    GrantState.GRANTING: 2,
    GrantState.ACTIVE: 3,
    GrantState.REVOKING: 4,
    GrantState.REVOKED: 5,
    GrantState.RELEASED: 5,
    GrantState.FAILED: 5,
}
"""How far a grant has come; it never goes back, and the last three are final."""

FINAL = frozenset({GrantState.REVOKED, GrantState.RELEASED, GrantState.FAILED})
STOPPED = frozenset({"withdrawn", "terminated", "returned", "revoked_by_operator"})
"""Codes of grants that somebody ended, whether or not AWS had been asked already."""
DROPPABLE = frozenset({GrantState.SCHEDULED})
"""What the requester may still withdraw: approved, and nothing asked of AWS yet as far as is known."""


@dataclass(frozen=True)
class Ids:
    """Ids minted by the caller: the ticket's, and as many for targets and grants as the plan needs."""

    ticket: str
    targets: tuple[str, ...]
    grants: tuple[str, ...]


def submit(
    plan: Plan, *, ids: Ids, instance: str, revisions: Revisions, now: datetime, limits: Limits
) -> Ticket:
    """Give birth to a ticket out of a plan without problems."""
    targets = tuple(
        Target(
            id=target_id,
            account_id=planned.account.id,
            account_name=planned.account.name,
            set_id=planned.permission_set.id,
            set_name=planned.permission_set.name,
            set_digest=planned.permission_set.digest,
            set_group=planned.set_group,
            session_duration=planned.permission_set.session_duration,
        )
        for target_id, planned in zip(ids.targets, plan.targets, strict=True)
    )
    pairs = [(target, user) for target in targets for user in plan.beneficiaries]
    grants = tuple(
        Grant(id=grant_id, target_id=target.id, beneficiary=user.id)
        for grant_id, (target, user) in zip(ids.grants, pairs, strict=True)
    )
    return Ticket(
        id=ids.ticket,
        instance=instance,
        version=1,
        revision=1,
        requester=Person.of(plan.requester),
        beneficiaries=tuple(Person.of(user) for user in plan.beneficiaries),
        targets=targets,
        grants=grants,
        asked=plan.asked,
        reason=plan.reason,
        reference=plan.reference,
        submitted_at=now,
        expires_at=pending_until(plan.asked, now=now, limits=limits),
        state=TicketState.PENDING,
        revisions=revisions,
    )


# finding


def target_of(ticket: Ticket, target_id: str) -> Target | None:
    return next((target for target in ticket.targets if target.id == target_id), None)


def grant_of(ticket: Ticket, grant_id: str) -> Grant | None:
    return next((grant for grant in ticket.grants if grant.id == grant_id), None)


def parties(ticket: Ticket) -> frozenset[str]:
    """User ids of those it is for: who asked and who would get it."""
    return frozenset({ticket.requester.user_id, *(person.user_id for person in ticket.beneficiaries)})


def pending(ticket: Ticket) -> list[Target]:
    return [target for target in ticket.targets if target.state is TargetState.PENDING]


def live_grants(ticket: Ticket) -> list[Grant]:
    """Grants that were approved and have not reached an end."""
    return [grant for grant in ticket.grants if grant.state is not None and grant.state not in FINAL]


# deciding


def is_open(ticket: Ticket, target_id: str, revision: int) -> bool:
    """Whether a review's outcome for this target and revision still matters; stale ones do not."""
    target = target_of(ticket, target_id)
    return target is not None and target.state is TargetState.PENDING and target.revision == revision


def approve(ticket: Ticket, target_id: str, *, window: Window, at: datetime) -> Ticket:
    """One target is approved for a window: its grants are scheduled."""
    ticket = _with_targets(
        ticket,
        {target_id},
        lambda target: target.model_copy(
            update={"state": TargetState.APPROVED, "window": window, "decided_at": at}
        ),
    )
    return _with_grants(
        ticket,
        {grant.id for grant in ticket.grants if grant.target_id == target_id},
        lambda grant: grant.model_copy(update={"state": GrantState.SCHEDULED}),
    )


def settle(ticket: Ticket, target_ids: Collection[str], state: TargetState, *, at: datetime) -> Ticket:
    """Pending targets end without approval: rejected, timed out or withdrawn. Others stay as they are."""
    wanted = {target.id for target in pending(ticket)} & set(target_ids)
    return _with_targets(
        ticket, wanted, lambda target: target.model_copy(update={"state": state, "decided_at": at})
    )


def due_for_time_out(ticket: Ticket, now: datetime) -> list[str]:
    return [target.id for target in pending(ticket)] if now >= ticket.expires_at else []


def stop(ticket: Ticket, grant_ids: Collection[str], *, code: str) -> Ticket:
    """Live grants begin to end, whatever they are doing; the provisioner says when they have."""
    wanted = {grant.id for grant in live_grants(ticket)} & set(grant_ids)
    return _with_grants(
        ticket,
        wanted,
        lambda grant: grant.model_copy(update={"state": GrantState.REVOKING, "code": code}),
    )


def withdrawable(ticket: Ticket) -> tuple[list[str], list[str]]:
    """Targets and grants the requester can still drop; `Conflict` when there is nothing left to drop."""
    targets = [target.id for target in pending(ticket)]
    grants = [grant.id for grant in ticket.grants if grant.state in DROPPABLE]
    if not targets and not grants:
        raise Conflict(
            f"nothing of this ticket can be withdrawn any more, it is {ticket.state}; "
            "a beneficiary can return access that was granted",
            code="nothing_to_withdraw",
        )
    return targets, grants


def returnable(ticket: Ticket, user_id: str) -> list[str]:
    """The caller's own live grants; `Conflict` when there are none."""
    grants = [grant.id for grant in live_grants(ticket) if grant.beneficiary == user_id]
    if not grants:
        raise Conflict(
            f"you have no access from this ticket to return, it is {ticket.state}", code="nothing_to_return"
        )
    return grants


# what the provisioner reports


def apply_access(ticket: Ticket, fact: access.AccessFact) -> Ticket | None:
    """The ticket after an access fact; None when it changes nothing (old, repeated, unknown grant)."""
    grant = grant_of(ticket, fact.grant_id)
    if grant is None:
        return None
    changes = _changes(fact)
    if changes is None or ORDER[changes["state"]] <= ORDER[grant.state]:
        return None
    changed = _with_grants(ticket, {grant.id}, lambda one: one.model_copy(update=changes))
    return changed.model_copy(update={"credentials_until": _latest_credentials(changed)})


def _changes(fact: access.AccessFact) -> dict[str, Any] | None:
    match fact:
        case access.AccessScheduled():
            return {"state": GrantState.SCHEDULED}
        case access.AccessGranting():
            return {"state": GrantState.GRANTING}
        case access.AccessGranted():
            return {
                "state": GrantState.ACTIVE,
                "granted_at": fact.at,
                "already_held": fact.already_held,
                "credentials_until": fact.credentials_until,
            }
        case access.AccessFailed():
            return {
                "state": GrantState.FAILED,
                "code": fact.code,
                "detail": fact.detail,
                "ended_at": fact.at,
                "kept_by": fact.kept_by,
                "credentials_until": fact.credentials_until,
            }
        case access.AccessRevokeDue():
            return {"state": GrantState.REVOKING, "code": fact.cause_of_end}
        case access.AccessRevoked():
            return {
                "state": GrantState.REVOKED,
                "code": fact.cause_of_end,
                "ended_at": fact.at,
                "credentials_until": fact.credentials_until,
            }
        case access.AccessReleased():
            return {
                "state": GrantState.RELEASED,
                "code": fact.cause_of_end,
                "ended_at": fact.at,
                "kept_by": fact.kept_by,
                "credentials_until": fact.credentials_until,
            }
        case _:
            return None


def _latest_credentials(ticket: Ticket) -> datetime | None:
    return max((grant.credentials_until for grant in ticket.grants if grant.credentials_until), default=None)


def closes_at(ticket: Ticket) -> datetime | None:
    """When no credential of this ticket can live any more; None while anything is undecided or live."""
    if ticket.closed_at is not None or pending(ticket) or live_grants(ticket):
        return None
    ends = [grant.credentials_until or grant.ended_at for grant in ticket.grants]
    return max([end for end in ends if end is not None], default=ticket.submitted_at)


def close(ticket: Ticket, *, at: datetime) -> Ticket:
    return ticket.model_copy(update={"closed_at": at})


def next_version(ticket: Ticket) -> Ticket:
    """The ticket with its version raised and its display state derived; what is stored and told."""
    return ticket.model_copy(update={"version": ticket.version + 1, "state": display_state(ticket)})


def display_state(ticket: Ticket) -> TicketState:
    """One word for a ticket of many parts: what is still to be waited for comes first."""
    grants = {grant.state for grant in ticket.grants if grant.state is not None}
    targets = {target.state for target in ticket.targets}
    for grant_state, shown in _GRANTS_SHOWN:
        if grant_state in grants:
            return shown
    if TargetState.PENDING in targets:
        return TicketState.PENDING
    if grants & FINAL:
        ended = _how_it_ended(ticket)
        return TicketState.CLOSED if ticket.closed_at is not None and ended is TicketState.ENDED else ended
    for target_state, shown in _TARGETS_SHOWN:
        if target_state in targets:
            return shown
    return TicketState.PENDING


def _how_it_ended(ticket: Ticket) -> TicketState:
    """A grant that never came because somebody stopped it did not fail."""
    reached = [grant for grant in ticket.grants if grant.state is not None]
    if any(grant.state is not GrantState.FAILED for grant in reached):
        return TicketState.ENDED
    codes = {grant.code for grant in reached}
    if codes == {"withdrawn"}:
        return TicketState.WITHDRAWN
    return TicketState.ENDED if codes <= STOPPED else TicketState.FAILED


_GRANTS_SHOWN = (
    (GrantState.ACTIVE, TicketState.ACTIVE),
    (GrantState.REVOKING, TicketState.REVOKING),
    (GrantState.GRANTING, TicketState.GRANTING),
    (GrantState.SCHEDULED, TicketState.SCHEDULED),
)
_TARGETS_SHOWN = (
    (TargetState.REJECTED, TicketState.REJECTED),
    (TargetState.TIMED_OUT, TicketState.TIMED_OUT),
    (TargetState.WITHDRAWN, TicketState.WITHDRAWN),
)


def _with_targets(ticket: Ticket, ids: Collection[str], change: Callable[[Target], Target]) -> Ticket:
    return ticket.model_copy(update={"targets": _changed(ticket.targets, ids, change)})


def _with_grants(ticket: Ticket, ids: Collection[str], change: Callable[[Grant], Grant]) -> Ticket:
    return ticket.model_copy(update={"grants": _changed(ticket.grants, ids, change)})


def _changed(
    parts: tuple[PartT, ...], ids: Collection[str], change: Callable[[PartT], PartT]
) -> tuple[PartT, ...]:
    return tuple(change(part) if part.id in ids else part for part in parts)
