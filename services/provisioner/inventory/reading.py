"""Reads the whole organisation from AWS into documents. Either all of it, or an error: never a part.

One call at a time and at the lowest priority, so that it never stands in the way of a revoke. `sync`
calls it; the adapter does the paging.
"""

from collections.abc import Mapping, Sequence

from services.provisioner.identity_center.adapter import IdentityCenter
from shared.contracts import documents as doc


async def read(centre: IdentityCenter) -> list[doc.Document]:
    """Units, accounts, sets, users and groups with members, all with revision 0."""
    units = await centre.organizational_units()
    return [
        *units,
        *await _accounts(centre, units),
        *await _sets(centre),
        *await centre.users(),
        *await _groups(centre),
    ]


async def _accounts(centre: IdentityCenter, units: Sequence[doc.OrganizationalUnit]) -> list[doc.Account]:
    management = await centre.management_account()
    delegated = await centre.delegated_administrators()
    parents = {unit.id: unit.parent for unit in units}
    found = []
    for account in await centre.accounts():
        facts = {
            "ous": await _units_of(centre, account, parents),
            "tags": await centre.account_tags(account.id),
            "management": account.id == management,
            "delegated_administrator": account.id in delegated,
        }
        found.append(account.model_copy(update=facts))
    return found


async def _units_of(
    centre: IdentityCenter, account: doc.Account, parents: Mapping[str, str | None]
) -> tuple[str, ...]:
    """Unit ids from the root down to the account's own.

    An account whose unit was made after the tree was read is an error: without its units it would
    escape the rules that name them. The next reading has both.
    """
    units = account.ous or _chain(parents, await centre.parent(account.id))
    if missing := [unit for unit in units if unit not in parents]:
        raise HalfRead(f"account {account.id} is in {', '.join(missing)}, not there a moment ago")
    return units


def _chain(parents: Mapping[str, str | None], unit: str) -> tuple[str, ...]:
    chain: list[str] = []
    step: str | None = unit
    while step is not None:
        chain.insert(0, step)
        step = parents.get(step)
    return tuple(chain)


class HalfRead(Exception):
    """The organisation changed while it was read, so that the parts do not fit. Read it again."""


async def _sets(centre: IdentityCenter) -> list[doc.PermissionSet]:
    found = [await centre.permission_set(arn) for arn in await centre.permission_sets()]
    return [one for one in found if one is not None]


async def _groups(centre: IdentityCenter) -> list[doc.Document]:
    """Each with the shards of its members."""
    found: list[doc.Document] = []
    for group in await centre.groups():
        members = await centre.members(group.id)
        if members is not None:  # deleted since the list was read
            found += [group, *doc.Membership.shards(group.id, members)]
    return found
