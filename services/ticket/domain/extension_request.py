"""Asking for a later end of live access: who may, for which grants, and what it would need. Pure.

What becomes of it is in extensions.py.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.ticket.domain.draft import Draft, TargetAsked
from services.ticket.domain.extensions import EXTENDABLE
from services.ticket.domain.plan import Plan, decide
from services.ticket.domain.transition import transition
from services.ticket.domain.window import Limits, check_later_end, check_reason
from shared.contracts.change import Change, Origin
from shared.contracts.documents import PermissionSet, User
from shared.contracts.event import Revisions
from shared.contracts.extension import Extension, ExtensionState
from shared.contracts.people import Person
from shared.contracts.ticket import Grant, Target, Ticket, TicketExtensionRequested
from shared.contracts.windows import Window, WindowAsked
from shared.foundation.errors import Conflict, Denied, FieldError, Forbidden, Invalid
from shared.policy.snapshot import Snapshot

UNDECIDED: Final = frozenset({ExtensionState.PENDING, ExtensionState.APPROVED})
"""Before another later end of the same access can be asked for, this one has to have come to something."""


@dataclass(frozen=True)
class LaterEnd:
    """What is asked for: on one target, for everybody the caller may ask for."""

    target_id: str
    ends_at: datetime
    reason: str


@dataclass(frozen=True)
class Lasting:
    """Grants of one target whose end may move."""

    target: Target
    window: Window
    grants: tuple[Grant, ...]

    @property
    def ends(self) -> list[datetime]:
        """When they end as it is; one for each grant."""
        return [grant.ends_at for grant in self.grants if grant.ends_at is not None]


def lasting(ticket: Ticket, target_id: str, user_id: str, *, now: datetime) -> Lasting:
    """What the person may ask a later end for; an error says why there is nothing.

    The requester asks for all beneficiaries, a beneficiary for themself.
    """
    target = ticket.target(target_id)
    if target is None:
        raise Invalid(f"this ticket has no target {target_id}", code="target_unknown")
    if user_id not in ticket.parties:
        raise Forbidden(
            "only the requester and the beneficiaries ask for a later end",
            code="not_party",
            denied=Denied("extend", ticket.id, object_id=ticket.id),
        )
    everybody = user_id == ticket.requester.user_id
    grants = tuple(
        grant
        for grant in ticket.grants_of(target_id)
        if _lasts(grant, now) and (everybody or grant.beneficiary == user_id)
    )
    if target.window is None or not grants:
        raise Conflict("there is no access that lasts and could end later", code="nothing_to_extend")
    _require_none_undecided(ticket, grants)
    return Lasting(target, target.window, grants)


def _require_none_undecided(ticket: Ticket, grants: tuple[Grant, ...]) -> None:
    asked_for = {grant.id for grant in grants}
    if any(one.state in UNDECIDED and asked_for & set(one.grants) for one in ticket.extensions):
        raise Conflict(
            "a later end was asked for already; wait for what comes of it", code="extension_pending"
        )


def _lasts(grant: Grant, now: datetime) -> bool:
    return grant.state in EXTENDABLE and grant.ends_at is not None and now < grant.ends_at


def plan_extension(
    ticket: Ticket,
    found: Lasting,
    asked: LaterEnd,
    requester: User,
    snapshot: Snapshot,
    *,
    now: datetime,
    limits: Limits,
) -> Plan:
    """Decided like a new request for the whole time from the first start to the new end."""
    target = found.target
    draft = Draft(
        requester=requester,
        beneficiaries=tuple(grant.beneficiary for grant in found.grants),
        targets=(TargetAsked(target.account_id, target.set_id),),
        asked=WindowAsked(starts_at=found.window.starts_at, ends_at=asked.ends_at),
        reason=asked.reason,
        description=ticket.description(),
        other_parties=ticket.parties,
    )
    problems = [
        *check_reason(asked.reason, limits),
        *check_later_end(found.window, asked.ends_at, ends_now=max(found.ends), limits=limits),
        *_check_set(target, snapshot),
    ]
    return decide(draft, problems, snapshot, now=now, limits=limits)


def _check_set(target: Target, snapshot: Snapshot) -> list[FieldError]:
    permission_set = snapshot.get(PermissionSet, target.set_id)
    if permission_set is None or permission_set.digest == target.set_digest:
        return []
    sentence = f"{target.set_name} allows something else since it was approved; ask for it in another ticket"
    return [FieldError("/targets/0", "set_changed", sentence)]


def request(
    ticket: Ticket,
    found: Lasting,
    plan: Plan,
    asked: LaterEnd,
    *,
    extension_id: str,
    revisions: Revisions,
    origin: Origin,
) -> Change[Ticket]:
    """The extension waits for its review; the plan has no problems."""
    extension = Extension(
        id=extension_id,
        target_id=found.target.id,
        revision=found.target.revision,
        grants=tuple(grant.id for grant in found.grants),
        requested_by=Person.of(plan.requester),
        ends_at=asked.ends_at,
        reason=plan.reason,
        submitted_at=origin.at,
        expires_at=min(found.ends),
    )
    changed = ticket.model_copy(
        update={"extensions": (*ticket.extensions, extension), "revisions": revisions}
    )
    return transition(
        changed,
        TicketExtensionRequested,
        origin.because(plan.reason),
        targets=[extension.target_id],
        grants=extension.grants,
        extension_id=extension.id,
    )
