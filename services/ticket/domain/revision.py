"""Asking again for what was rejected or timed out: new revisions with subjects and grants of their own.

The earlier revisions stay as they ended. What is approved is frozen, and what is pending is decided first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.ticket.domain.draft import Draft, TargetAsked
from services.ticket.domain.plan import Plan, PlannedTarget
from services.ticket.domain.transition import transition
from services.ticket.domain.window import Limits, pending_until
from shared.contracts.change import Change, Origin
from shared.contracts.documents import User
from shared.contracts.event import Revisions
from shared.contracts.ticket import Grant, Target, TargetState, Ticket, TicketRevised
from shared.contracts.windows import WindowAsked
from shared.foundation.errors import Conflict, Denied, Forbidden, Invalid

REVISABLE: Final = frozenset({TargetState.REJECTED, TargetState.TIMED_OUT})


@dataclass(frozen=True)
class AskedAgain:
    """What the requester asks for now; without named targets, for all that may be asked for again."""

    asked: WindowAsked
    reason: str
    target_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class RevisionIds:
    """Minted by the caller: a subject for each revised target, and a grant for each person on each."""

    subjects: tuple[str, ...]
    grants: tuple[str, ...]


def revisable(ticket: Ticket, again: AskedAgain, user_id: str) -> tuple[Target, ...]:
    """The targets that are asked for again, never none; an error says why this cannot be."""
    if ticket.requester.user_id != user_id:
        raise Forbidden(
            "only the requester asks again for what a ticket named",
            code="not_requester",
            denied=Denied("revise", ticket.id, object_id=ticket.id),
        )
    if unknown := [one for one in again.target_ids if ticket.target(one) is None]:
        raise Invalid(f"this ticket has no target {', '.join(unknown)}", code="target_unknown")
    if ticket.closed_at is not None:
        raise Conflict("this ticket is closed; submit another", code="ticket_closed")
    wanted = [one for one in ticket.targets if not again.target_ids or one.id in again.target_ids]
    targets = tuple(target for target in wanted if target.state in REVISABLE)
    if not targets or (again.target_ids and len(targets) != len(wanted)):
        states = ", ".join(sorted({target.state.value for target in wanted}))
        raise Conflict(
            f"only what was rejected or timed out can be asked for again, and this is {states}",
            code="nothing_to_revise",
        )
    return targets


def draft_of(ticket: Ticket, targets: Sequence[Target], again: AskedAgain, requester: User) -> Draft:
    """The same people, accounts and sets, with another window and reason: decided as if it were new."""
    return Draft(
        requester=requester,
        beneficiaries=tuple(person.user_id for person in ticket.beneficiaries),
        targets=tuple(TargetAsked(target.account_id, target.set_id) for target in targets),
        asked=again.asked,
        reason=again.reason,
        description=ticket.description(),
    )


def revise(
    ticket: Ticket,
    targets: Sequence[Target],
    plan: Plan,
    *,
    ids: RevisionIds,
    revisions: Revisions,
    limits: Limits,
    origin: Origin,
) -> Change[Ticket]:
    """The targets in their next revision; the plan is of exactly these and has no problems."""
    revised = {
        target.id: _next(target, planned, plan, subject_id, limits, origin)
        for target, planned, subject_id in zip(targets, plan.targets, ids.subjects, strict=True)
    }
    grants = _new_grants(ticket, revised, ids)
    changed = ticket.model_copy(
        update={
            "targets": tuple(revised.get(target.id, target) for target in ticket.targets),
            "grants": tuple(grants.get(grant.id, grant) for grant in ticket.grants),
            "revisions": revisions,
        }
    )
    return transition(changed, TicketRevised, origin.because(plan.reason), targets=list(revised))


def _next(
    target: Target, planned: PlannedTarget, plan: Plan, subject_id: str, limits: Limits, origin: Origin
) -> Target:
    """What was said about the earlier revision is gone, and the set is as it is now."""
    return Target(
        id=target.id,
        account_id=target.account_id,
        account_name=planned.account.name,
        set_id=target.set_id,
        set_name=planned.permission_set.name,
        set_group=target.set_group,
        revision=target.revision + 1,
        subject_id=subject_id,
        set_digest=planned.permission_set.digest,
        session_duration=planned.permission_set.session_duration,
        asked=plan.asked,
        reason=plan.reason,
        submitted_at=origin.at,
        expires_at=pending_until(plan.asked, now=origin.at, limits=limits),
    )


def _new_grants(ticket: Ticket, revised: dict[str, Target], ids: RevisionIds) -> dict[str, Grant]:
    """Old grant's id to the one that takes its place."""
    replaced = [grant for grant in ticket.grants if grant.target_id in revised]
    return {
        old.id: Grant(
            id=grant_id,
            target_id=old.target_id,
            revision=revised[old.target_id].revision,
            beneficiary=old.beneficiary,
        )
        for old, grant_id in zip(replaced, ids.grants, strict=True)
    }
