"""Gathers what the re-check at the moment of granting is made with: policy, directory, witness, siblings."""

from datetime import datetime

from services.provisioner.domain.assignments import Assignment
from services.provisioner.domain.claims import Claim
from services.provisioner.domain.rechecks import Known, approval_verdict, content_of
from services.provisioner.store import claims, witnesses
from shared.context import Context
from shared.contracts.documents import Account, PermissionSet
from shared.database.pool import Conn
from shared.foundation.errors import NotReady
from shared.policy.snapshot import Snapshot


def granting_snapshot(context: Context) -> Snapshot | None:
    """Policy and inventory to grant by; None while they are not complete and fresh enough."""
    try:
        return context.policy.snapshot(purpose="write")
    except NotReady:
        return None


async def known_of_starting(
    context: Context, conn: Conn, assignment: Assignment, now: datetime
) -> dict[str, Known]:
    """By claim, for those whose window has opened."""
    return {claim.id: await _known(context, conn, claim, now) for claim in assignment.starting(now)}


async def _known(context: Context, conn: Conn, claim: Claim, now: datetime) -> Known:
    granting, snapshot = granting_snapshot(context), context.policy.known()
    siblings = await claims.of_target(conn, ticket_id=claim.ticket_id, target_id=claim.target_id)
    found = await witnesses.find_witnesses(conn, ticket_id=claim.ticket_id, target_id=claim.target_id)
    witness = found.get(claim.revision)
    parties = [sibling.user_id for sibling in siblings]
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
        content=content_of(claim, siblings),
        approval=approval_verdict(claim, witness, granting, parties=parties, now=now),
    )
