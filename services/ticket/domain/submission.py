"""The birth of a ticket out of a plan. Only here: a stored ticket is loaded without these rules."""

from dataclasses import dataclass
from datetime import datetime

from services.ticket.domain.plan import Plan
from services.ticket.domain.window import Limits, pending_until
from shared.contracts.change import Change, Origin
from shared.contracts.event import Revisions
from shared.contracts.people import Person
from shared.contracts.ticket import Grant, Target, Ticket, TicketState, TicketSubmitted
from shared.foundation.errors import Denied, Invalid


@dataclass(frozen=True)
class Ids:
    """Minted by the caller: the ticket's, a target and a subject for each planned one, and their grants."""

    ticket: str
    targets: tuple[str, ...]
    subjects: tuple[str, ...]
    grants: tuple[str, ...]


def require_acceptable(plan: Plan) -> None:
    """`Invalid` with all the problems of a plan, if it has any."""
    if plan.problems:
        raise Invalid(
            f"{len(plan.problems)} problem(s) with this request; see errors",
            code="ticket_invalid",
            fields=plan.problems,
            denied=_denied_by(plan),
        )


def _denied_by(plan: Plan) -> Denied | None:
    """A request somebody has no right to is a fact; a typing error is not."""
    refused = any(problem.code in {"denied", "not_permitted"} for problem in plan.problems)
    if not refused and not plan.strangers:
        return None
    targets = ", ".join(f"{target.permission_set.id} on {target.account.id}" for target in plan.targets)
    return Denied("request", plan.requester.id, object_id=targets)


def submit(
    plan: Plan, *, ids: Ids, instance: str, revisions: Revisions, limits: Limits, origin: Origin
) -> Change[Ticket]:
    """A new ticket; the plan has no problems."""
    targets = _targets(plan, ids, limits, at=origin.at)
    ticket = Ticket(
        id=ids.ticket,
        instance=instance,
        version=1,
        requester=Person.of(plan.requester),
        beneficiaries=tuple(Person.of(user) for user in plan.beneficiaries),
        targets=targets,
        grants=_grants(plan, targets, ids),
        submitted_at=origin.at,
        state=TicketState.PENDING,
        revisions=revisions,
        **dict(plan.description),
    )
    return Change(ticket, events=(_submitted(ticket, plan, origin),))


def _targets(plan: Plan, ids: Ids, limits: Limits, *, at: datetime) -> tuple[Target, ...]:
    expires_at = pending_until(plan.asked, now=at, limits=limits)
    return tuple(
        Target(
            id=target_id,
            subject_id=subject_id,
            account_id=planned.account.id,
            account_name=planned.account.name,
            set_id=planned.permission_set.id,
            set_name=planned.permission_set.name,
            set_digest=planned.permission_set.digest,
            set_group=planned.set_group,
            session_duration=planned.permission_set.session_duration,
            asked=plan.asked,
            reason=plan.reason,
            submitted_at=at,
            expires_at=expires_at,
        )
        for target_id, subject_id, planned in zip(ids.targets, ids.subjects, plan.targets, strict=True)
    )


def _grants(plan: Plan, targets: tuple[Target, ...], ids: Ids) -> tuple[Grant, ...]:
    """One for each beneficiary on each target."""
    pairs = [(target, user) for target in targets for user in plan.beneficiaries]
    return tuple(
        Grant(id=grant_id, target_id=target.id, beneficiary=user.id)
        for grant_id, (target, user) in zip(ids.grants, pairs, strict=True)
    )


def _submitted(ticket: Ticket, plan: Plan, origin: Origin) -> TicketSubmitted:
    return TicketSubmitted(
        subject=ticket.id,
        version=ticket.version,
        ticket=ticket,
        allowed_by=tuple(sorted({rule for target in plan.targets for rule in target.allowed_by})),
        **origin.because(plan.reason).fields(),
    )
