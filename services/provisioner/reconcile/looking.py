"""What AWS says about one assignment at this moment. Reads, decides nothing.

NOT_FOUND is no absence by itself: see `_holders`.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from services.provisioner.domain.assignments import Assignment, Observed
from services.provisioner.domain.claims import ClaimState
from services.provisioner.domain.rechecks import Live
from services.provisioner.driver import AwsPrincipal, DriverError, DriverProblem, Priority
from services.provisioner.reconcile.parts import EngineParts
from shared.contracts.documents import PermissionSet
from shared.foundation.errors import Bug

_PERHAPS_MADE: Final = frozenset({Observed.CREATED, Observed.DOUBTFUL, Observed.UNKNOWN})


FirstT = TypeVar("FirstT")
SecondT = TypeVar("SecondT")


async def together(first: Awaitable[FirstT], second: Awaitable[SecondT]) -> tuple[FirstT, SecondT]:
    """Both at once; an error of either is raised once both have ended, so that no call is left alone."""
    one, other = await asyncio.gather(first, second, return_exceptions=True)
    if isinstance(one, BaseException):
        raise one
    if isinstance(other, BaseException):
        raise other
    return one, other


@dataclass(frozen=True, slots=True)
class Seen:
    """What AWS said in this visit."""

    found: bool
    live: Live | None
    """Asked only where a claim is about to begin."""
    groups: frozenset[str] = frozenset()
    """Ids of the groups that hold the set on the account."""


async def look(parts: EngineParts, assignment: Assignment, *, beginning: bool) -> Seen:
    """Read AWS. Raises DriverError where it cannot be told who holds the set on the account."""
    holders = _holders(parts, assignment, priority=_priority(assignment, beginning=beginning))
    live = None
    if beginning:
        principals, live = await together(holders, _live(parts, assignment))
    else:
        principals = await holders
    groups = frozenset(principal.id for principal in principals if principal.kind == "GROUP")
    return Seen(AwsPrincipal("USER", assignment.user_id) in principals, live, groups)


def set_arn(parts: EngineParts, assignment: Assignment) -> str:
    """As it was at the first granting; revoking needs no tables."""
    if assignment.set_arn is not None:
        return assignment.set_arn
    permission_set = parts.context.policy.known().get(PermissionSet, assignment.set_id)
    if permission_set is None:
        raise Bug(
            f"permission set {assignment.set_id} passed its re-check and is unknown; this is a bug",
            code="arn_missing",
        )
    return permission_set.arn


async def _holders(
    parts: EngineParts, assignment: Assignment, *, priority: Priority
) -> frozenset[AwsPrincipal]:
    """Nobody, where AWS finds no such set or account and says so again when asked for that alone.

    Any other NOT_FOUND (the wrong Region, say) is no news about the assignment.
    """
    arn = set_arn(parts, assignment)
    try:
        if priority == "grant" or (priority == "revoke" and assignment.ours):
            since = _wanted_since(assignment, parts.now)
            return await parts.reads.holders_before(
                priority, assignment.account_id, arn, assignment.user_id, wanted_since=since
            )
        return await parts.reads.holders(assignment.account_id, arn, priority=priority)
    except DriverError as error:
        if error.problem is DriverProblem.NOT_FOUND and await parts.driver.is_gone(
            assignment.account_id, arn, priority=priority
        ):
            return frozenset()
        raise


def _wanted_since(assignment: Assignment, now: datetime) -> datetime:
    """Since when its newest claim wants it there, or, where none does, since when the last one was over."""
    wanting = [*assignment.starting(now), *assignment.holding(now)]
    if wanting:
        return max(max(claim.starts_at, claim.received_at) for claim in wanting)
    return max((claim.ended_at or now for claim in assignment.in_state(ClaimState.REVOKING)), default=now)


async def _live(parts: EngineParts, assignment: Assignment) -> Live:
    about_the_person = together(
        parts.directory.user(assignment.user_id), parts.directory.account_state(assignment.account_id)
    )
    digest = parts.digests.read(set_arn(parts, assignment), now=parts.now)
    (user, state), set_digest = await together(about_the_person, digest)
    return Live(user.enabled if user else None, state, set_digest)


def _priority(assignment: Assignment, *, beginning: bool) -> Priority:
    """A look that comes before a deletion goes before those that confirm one.

    What a creation of ours may have made is not left unlooked at behind grants that wait for their turn:
    its claim may end meanwhile.
    """
    if assignment.closed_at is not None and not beginning:
        return "drift"
    if beginning or assignment.desired == "present":
        made = assignment.ours and assignment.observed in _PERHAPS_MADE
        return "verify" if made else "grant"
    return "verify" if assignment.observed in {Observed.DELETED, Observed.ABSENT} else "revoke"
