"""Reading the inventory now, because a person wants it, and believing a mass disappearance on his word."""

from services.provisioner.identity_center import IdentityCenterError
from services.provisioner.inventory import HalfRead, InventorySync
from services.provisioner.store.lease import LeaseLost
from shared.context import Context
from shared.database.pool import transaction
from shared.foundation.errors import NotReady
from shared.http import idempotency
from shared.http.access import Caller
from shared.http.idempotency import Answer


async def sync(context: Context, inventory: InventorySync, caller: Caller, *, confirm: bool) -> Answer:
    """Read AWS whole and store what is different. Calls AWS, so no transaction is open meanwhile.

    Raises NotReady where AWS cannot be read, or where another replica is the one that reads it.
    """
    try:
        result = await inventory.sync_once(context, confirm=confirm)
    except LeaseLost:
        raise NotReady(
            "another replica holds the lease and is the one that reads AWS; ask that one", code="standby"
        ) from None
    except (IdentityCenterError, HalfRead) as error:
        raise NotReady(f"AWS could not be read: {error}", code="aws_unreadable") from error
    body = {"changed": len(result.changed), "removed": len(result.removed), "held": result.held}

    async def action() -> Answer:
        return Answer(200, body)

    async with transaction(context.pool) as conn:
        return await idempotency.once(conn, caller.key, action, now=context.clock.now())
