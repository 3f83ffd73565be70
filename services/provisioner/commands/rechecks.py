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


def policy_ready(context: Context) -> bool:
    """Whether policy and inventory are complete and fresh enough to grant by."""
    try:
        context.tables.require_fresh()
    except NotReady:
        return False
    return True


async def known_of_starting(
    context: Context, conn: Conn, assignment: Assignment, now: datetime
) -> dict[str, Known]:
    """By claim, for those whose window has opened."""
    return {claim.id: await _known(context, conn, claim, now) for claim in assignment.starting(now)}


async def _known(context: Context, conn: Conn, claim: Claim, now: datetime) -> Known:
    world, ready = context.world, policy_ready(context)
    siblings = await claims.of_target(conn, ticket_id=claim.ticket_id, target_id=claim.target_id)
    found = await witnesses.find_witnesses(conn, ticket_id=claim.ticket_id, target_id=claim.target_id)
    witness = found.get(claim.revision)
    parties = [sibling.user_id for sibling in siblings]
    length = claim.ends_at - claim.starts_at
    return Known(
        instance=context.settings.instance,
        ready=ready,
        account=world.get(Account, claim.account_id),
        registered_account=world.registered_account(claim.account_id),
        permission_set=world.get(PermissionSet, claim.set_id),
        registered_set=world.registered_set(claim.set_id),
        user=world.user(claim.user_id),
        may_request=world.may(
            claim.user_id, "request", claim.account_id, claim.set_id, duration=length, now=now
        ),
        witness=witness.content_hash if witness else None,
        content=content_of(claim, siblings),
        approval=approval_verdict(claim, witness, world, parties=parties, ready=ready, now=now),
    )
