"""Gathers what a re-check is made with, at granting and at extending: policy, directory, witness, grants."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from services.provisioner.domain.assignments import Assignment
from services.provisioner.domain.claims import Claim
from services.provisioner.domain.rechecks import (
    Known,
    Passed,
    Witness,
    approval_verdict,
    content_of,
    recheck,
)
from services.provisioner.store import extensions, pause, witnesses
from shared.context import Context
from shared.contracts.documents import Account, PermissionSet
from shared.database.pool import Conn


def may_pass(context: Context, claim: Claim, now: datetime) -> bool:
    """Whether the documents allow a claim; what approved it is asked for under its lock, before it begins."""
    known = _known(context, claim, now, grants=(), witness=None)
    approved = replace(known, witness=claim.content_hash, content=claim.content_hash, approval=Passed())
    return isinstance(recheck(claim, approved, None), Passed)


async def may_begin(context: Context, assignment: Assignment, now: datetime) -> bool:
    """Whether AWS is to be asked about one whose window has opened; it is asked again before it begins."""
    if not any(may_pass(context, claim, now) for claim in assignment.starting(now)):
        return False
    async with context.pool.acquire() as conn:
        return await pause.find(conn) is None


async def known_of_starting(
    context: Context, conn: Conn, assignment: Assignment, now: datetime, *, clock_problem: str | None = None
) -> dict[str, Known]:
    """By claim, for those whose window has opened; `clock_problem` is why it may not have, by AWS's clock."""
    return {
        claim.id: replace(await _known_whole(context, conn, claim, now), clock_problem=clock_problem)
        for claim in assignment.starting(now)
    }


async def known_of_extended(
    context: Context, conn: Conn, assignment: Assignment, now: datetime
) -> dict[tuple[str, str], Known]:
    """By extension that waits (subject, grant), for the claims as they would be with the later end."""
    return {
        (extension.subject_id, claim.id): await _known_whole(context, conn, claim.extended_by(extension), now)
        for claim in assignment.claims
        if claim.is_open
        for extension in claim.waiting
    }


async def _known_whole(context: Context, conn: Conn, claim: Claim, now: datetime) -> Known:
    """The pause is held with it: none can begin before what is decided on this is committed."""
    grants, witness = await _approved(conn, claim)
    standing = await pause.hold(conn)
    known = _known(context, claim, now, grants=grants, witness=witness)
    return replace(known, paused=standing.told if standing else None)


def _known(
    context: Context,
    claim: Claim,
    now: datetime,
    *,
    grants: Sequence[tuple[str, str]],
    witness: Witness | None,
) -> Known:
    granting, snapshot = context.policy.snapshot_if_ready(purpose="write"), context.policy.known()
    parties = [user_id for _, user_id in grants]
    length = claim.ends_at - claim.starts_at
    return Known(
        instance=context.settings.instance,
        ready=granting is not None,
        account=snapshot.get(Account, claim.account_id),
        registered_account=snapshot.registered_account(claim.account_id),
        permission_set=snapshot.get(PermissionSet, claim.set_id),
        registered_set=snapshot.registered_set(claim.set_id),
        user=snapshot.user(claim.user_id),
        may_request=snapshot.may(
            claim.user_id, "request", claim.account_id, claim.set_id, duration=length, now=now
        ),
        witness=witness.content_hash if witness else None,
        content=content_of(claim, grants),
        approval=approval_verdict(claim, witness, granting, parties=parties, now=now),
    )


async def _approved(conn: Conn, claim: Claim) -> tuple[list[tuple[str, str]], Witness | None]:
    """(id, user) of all that was approved together with the claim as it is, and approval's word about it."""
    if claim.extension_id is not None:
        witness = await witnesses.find_witness(conn, *claim.vouched_by)
        return await extensions.grants_of(conn, claim.extension_id), witness
    siblings, witness = await witnesses.approved_together(conn, claim.subject_id)
    return [(sibling.id, sibling.user_id) for sibling in siblings], witness
