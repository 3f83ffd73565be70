"""One visit to one assignment: look, decide, commit, and only then call AWS.

Level-triggered and killable anywhere: whatever is interrupted is found again by the next visit or by
polling.py. Every transaction begins with the fence, and none is open while AWS is called.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from services.provisioner.domain import assignments as domain
from services.provisioner.domain import claims as claim_life
from services.provisioner.domain import operations
from services.provisioner.domain.assignments import Assignment, Decision, Observed
from services.provisioner.domain.claims import Claim, ClaimState, Said, Stamp
from services.provisioner.domain.rechecks import (
    Known,
    Live,
    NotYet,
    Passed,
    Refused,
    approval_verdict,
    content_of,
    recheck,
)
from services.provisioner.identity_center import (
    AssignmentKey,
    IdentityCenterError,
    Principal,
    Priority,
    Problem,
)
from services.provisioner.reconcile import telling
from services.provisioner.reconcile.tools import Tools
from services.provisioner.store import assignments, claims, witnesses
from services.provisioner.store.lease import fence
from shared.contracts import documents as doc
from shared.database.pool import Conn, transaction
from shared.foundation.errors import Bug


@dataclass(frozen=True, slots=True)
class Seen:
    """What AWS said in this visit."""

    found: bool
    live: Live | None
    """Asked only where a claim is about to begin."""
    groups: frozenset[str] = frozenset()
    """Ids of the groups that hold the set on the account."""


async def visit(tools: Tools, assignment_id: int, *, may_send: bool) -> bool:
    """One step for one assignment; whether an operation of ours is in flight after it."""
    async with tools.context.pool.acquire() as conn:
        row = await assignments.load_assignment(conn, assignment_id)
        found = await claims.claims_of_assignments(conn, [assignment_id])
        known = await _known_of_starting(tools, conn, found)
    if row.op is not None:
        return True
    beginning = any(isinstance(recheck(claim, known[claim.id], None), Passed)
                    for claim in domain.starting(found, tools.now) if claim.id in known)  # fmt: skip
    seen: Seen | None = None
    if beginning or domain.needs_reading(row, found, tools.now):
        try:
            seen = await _look(tools, row, beginning=beginning)
        except IdentityCenterError as error:
            await _unreadable(tools, assignment_id, error)
            await telling.tell_unread(tools, row, error)
            return False
        await telling.tell_read(tools, row)
    decision = await _commit(tools, assignment_id, seen, may_send=may_send)
    await telling.tell(tools, decision)
    if decision.send is not None:
        await _send(tools, decision)
    return decision.row.op is not None


async def _look(tools: Tools, row: Assignment, *, beginning: bool) -> Seen:
    """Read AWS; an account or set that is not there holds no assignment."""
    live = None
    if beginning:
        user = await tools.identity_center.user(row.user_id)
        state = await tools.identity_center.account_state(row.account_id)
        live = Live(user_enabled=user.enabled if user else None, account_state=state)
    try:
        principals = await tools.identity_center.assigned(
            row.account_id, _set_arn(tools, row), priority=_priority(row, beginning=beginning)
        )
    except IdentityCenterError as error:
        if error.problem is not Problem.NOT_FOUND:
            raise
        principals = frozenset()
    groups = frozenset(principal.id for principal in principals if principal.kind == "GROUP")
    return Seen(Principal("USER", row.user_id) in principals, live, groups)


def _priority(row: Assignment, *, beginning: bool) -> Priority:
    """A look that comes before a deletion goes before those that confirm one."""
    if row.closed_at is not None:
        return "drift"
    if beginning or row.desired == "present":
        return "grant"
    return "verify" if row.observed in {Observed.DELETED, Observed.ABSENT} else "revoke"


async def _unreadable(tools: Tools, assignment_id: int, error: IdentityCenterError) -> None:
    tools.note(error)
    async with transaction(tools.context.pool) as conn:
        await fence(conn, epoch=tools.lease.epoch)
        row = await assignments.lock_assignment(conn, assignment_id)
        if row.op is None:
            row = operations.unreadable(
                row, str(error), stamp=tools.stamp, jitter=tools.jitter(), limits=tools.limits
            )
            await assignments.save_assignment(conn, row)


async def _commit(tools: Tools, assignment_id: int, seen: Seen | None, *, may_send: bool) -> Decision:
    """Decide on what is true now, under the lock, and write it ahead of any call."""
    async with transaction(tools.context.pool) as conn:
        await fence(conn, epoch=tools.lease.epoch)
        row = await assignments.lock_assignment(conn, assignment_id)
        loaded = await claims.claims_of_assignments(conn, [assignment_id])
        if row.op is not None:
            return Decision(row)
        stamp = tools.stamp
        begun, waiting = await _begin(tools, conn, loaded, seen, may_send=may_send, stamp=stamp)
        current = _after(loaded, begun, without=waiting)
        if any(claim.state is ClaimState.GRANTING for claim in current):
            row = replace(row, set_arn=_set_arn(tools, row))
        decision = domain.decide(
            row, current, found=None if seen is None else seen.found, may_send=may_send, stamp=stamp,
            limits=tools.limits, also_through=_also_through(tools, row, seen),
        )  # fmt: skip
        decision = replace(
            decision, said=(*begun, *decision.said), row=_wait(tools, decision.row, waiting, seen)
        )
        await claims.save_said(conn, decision.said, loaded=loaded)
        await assignments.save_assignment(conn, decision.row)
        return decision


def _also_through(tools: Tools, row: Assignment, seen: Seen | None) -> tuple[str, ...]:
    """As far as the directory is known here: revoking does not wait for it."""
    if seen is None:
        return ()
    return tuple(sorted(seen.groups & tools.context.world.groups_of(row.user_id)))


async def _begin(
    tools: Tools, conn: Conn, loaded: Sequence[Claim], seen: Seen | None, *, may_send: bool, stamp: Stamp
) -> tuple[list[Said], dict[str, str]]:
    """Re-check the claims whose window has opened: what begins or fails, and (by id) why the others wait."""
    said: list[Said] = []
    waiting: dict[str, str] = {}
    known = await _known_of_starting(tools, conn, loaded)
    live = seen.live if seen else None
    for claim in domain.starting(loaded, stamp.at):
        verdict = recheck(claim, known[claim.id], live)
        if isinstance(verdict, Refused):
            said.append(claim_life.refuse(claim, stamp, code=verdict.code, detail=verdict.detail))
        elif isinstance(verdict, NotYet):
            waiting[claim.id] = verdict.why
        elif seen and live and (seen.found or may_send):
            said.append(claim_life.begin(claim, stamp))
        else:
            waiting[claim.id] = "it waits for its turn with AWS"
    return said, waiting


def _after(loaded: Sequence[Claim], said: Sequence[Said], *, without: Collection[str]) -> list[Claim]:
    changed = {claim.id: claim for claim, _ in said}
    return [changed.get(claim.id, claim) for claim in loaded if claim.id not in without]


def _wait(tools: Tools, row: Assignment, waiting: Mapping[str, str], seen: Seen | None) -> Assignment:
    """Come back for those that have to wait: at once if only the slot is missing, else a little later."""
    if not waiting:
        return row
    at_once = seen is not None and seen.live is not None
    again = tools.now if at_once else tools.now + tools.policy_retry
    return replace(row, next_at=min(again, row.next_at) if row.next_at else again,
                   last_error=row.last_error or next(iter(waiting.values())))  # fmt: skip


async def _known_of_starting(tools: Tools, conn: Conn, found: Sequence[Claim]) -> dict[str, Known]:
    now = tools.now
    return {claim.id: await _known(tools, conn, claim, now) for claim in domain.starting(found, now)}


async def _known(tools: Tools, conn: Conn, claim: Claim, now: datetime) -> Known:
    world, ready = tools.context.world, tools.policy_ready
    siblings = await claims.claims_of_target(conn, ticket_id=claim.ticket_id, target_id=claim.target_id)
    witness = await witnesses.find_witness(
        conn, ticket_id=claim.ticket_id, target_id=claim.target_id, revision=claim.revision
    )
    parties = [sibling.user_id for sibling in siblings]
    return Known(
        instance=tools.context.settings.instance,
        ready=ready,
        account=world.get(doc.Account, claim.account_id),
        registered_account=world.registered_account(claim.account_id),
        permission_set=world.get(doc.PermissionSet, claim.set_id),
        registered_set=world.registered_set(claim.set_id),
        user=world.user(claim.user_id),
        may_request=world.may(
            claim.user_id, "request", claim.account_id, claim.set_id,
            duration=claim.ends_at - claim.starts_at, now=now,
        ),
        witness=witness.content_hash if witness else None,
        content=content_of(claim, siblings),
        approval=approval_verdict(claim, witness, world, parties=parties, ready=ready, now=now),
    )  # fmt: skip


async def _send(tools: Tools, decision: Decision) -> None:
    """Make the call that was written ahead, and save what AWS answered. Sent once, never repeated here."""
    row = decision.row
    if row.set_arn is None or row.op is None:
        raise Bug(f"assignment {row.id} was to be called without its ARN; this is a bug", code="arn_missing")
    key = AssignmentKey(row.user_id, row.account_id, row.set_arn)
    after: Callable[[Assignment], Assignment]
    try:
        if row.op.kind == "create":
            sent = await tools.identity_center.create(key, confirm=partial(_still_wanted, tools, row.id))
        else:
            sent = await tools.identity_center.delete(key)
        after = partial(_answered, tools, sent.request_id, None)
    except IdentityCenterError as error:
        tools.note(error)
        after = partial(_answered, tools, "", error)
    except NoLongerWanted:
        after = partial(operations.not_sent, stamp=tools.stamp)
    async with transaction(tools.context.pool) as conn:
        await fence(conn, epoch=tools.lease.epoch)
        now_there = await assignments.lock_assignment(conn, row.id)
        if now_there.op != row.op:
            return  # somebody who holds the fence has looked after it
        await assignments.save_assignment(conn, after(now_there))


class NoLongerWanted(Exception):
    """Every claim ended while the creation waited for its turn: it is not sent."""


async def _still_wanted(tools: Tools, assignment_id: int) -> None:
    """Asked after the wait for a turn, which may be long: a stop committed meanwhile must win.

    The lease is checked again, since the database may have been waited for.
    """
    async with tools.context.pool.acquire() as conn:
        if not await claims.any_holds(conn, assignment_id, now=tools.now):
            raise NoLongerWanted
    tools.lease.check()


def _answered(
    tools: Tools, request_id: str, problem: IdentityCenterError | None, row: Assignment
) -> Assignment:
    if problem is None:
        return operations.accepted(row, request_id, tools.stamp, tools.limits)
    if problem.ambiguous:
        return operations.lost(row, str(problem), tools.stamp, tools.limits)
    return operations.refused(
        row, problem.problem.value, str(problem),
        stamp=tools.stamp, jitter=tools.jitter(), limits=tools.limits,
    )  # fmt: skip


def _set_arn(tools: Tools, row: Assignment) -> str:
    """As it was at the first granting; revoking needs no tables."""
    if row.set_arn is not None:
        return row.set_arn
    permission_set = tools.context.world.get(doc.PermissionSet, row.set_id)
    if permission_set is None:
        raise Bug(
            f"permission set {row.set_id} passed its re-check and is unknown; this is a bug",
            code="arn_missing",
        )
    return permission_set.arn
