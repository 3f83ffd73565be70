"""One reading of AWS, part by part; each is kept as soon as it is read, so that nothing is read twice.

The three APIs are read side by side, since each has a rate of its own, and each one call at a time at the
lowest priority, so that a reading never stands in the way of a revoke. `sync` says when and keeps the parts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from services.provisioner.domain import readings
from services.provisioner.domain.readings import Part, PartKey, Slice
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.reads import Listed, unreadable
from services.provisioner.identity_center.types import IdentityCenterError
from shared.contracts import documents as doc

LEAST_CALLS: Final = 300
"""Calls that a reading makes at least for each sort of detail: most organisations are read whole by that."""
SET_CALLS: Final = 6
SHOW_EVERY: Final = 500
"""Parts after which what was read so far is shown to `shown`."""
GIVE_UP_AFTER: Final = 5
"""Details of an API that fail one after the other: the rest would fail too."""

Content = tuple[dict[str, Any], dict[str, str]]
"""The body of a part, and the rows that were left out of it."""


@dataclass
class Reading:
    """`parts` is all that is known and grows; `done` is what this reading has read, and is not read again."""

    centre: IdentityCenter
    parts: dict[PartKey, Part]
    done: set[PartKey]
    share: float
    """Of the details that are known, how many are read again."""
    overdue: datetime
    """Details older than this are all read again."""
    now: Callable[[], datetime]
    keep: Callable[[Part], Awaitable[None]]
    shown: Callable[[], Awaitable[None]]
    """Called where more is known: when all lists of an API are there, and now and then on the way."""
    problems: list[IdentityCenterError] = field(default_factory=list)
    """What could not be read; the parts from before stand for it."""
    _unseen: int = 0

    async def run(self) -> None:
        """Read all that is to be read. Raises what is no failure of AWS (a lost lease, the database)."""
        lanes = (self._people(), self._places(), self._sets())
        for outcome in await asyncio.gather(*lanes, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _people(self) -> None:
        await self._read(("users", ""), lambda: _listed(self.centre.users()))
        await self._read(("groups", ""), lambda: _listed(self.centre.groups()))
        await self._each([("members", group) for group in readings.groups_of(self.parts)], self._members)
        await self._show()

    async def _places(self) -> None:
        await self._read(("organisation", ""), self._organisation)
        await self._read(("roots", ""), lambda: _documents(self.centre.roots()))
        await self._read(("accounts", ""), lambda: _listed(self.centre.accounts()))
        await self._units()
        await self._show()
        details = readings.wanted(self.parts)
        for kind, read in (("parent", self._parent), ("tags", self._tags)):
            await self._each(self._slice([key for key in details if key[0] == kind], calls=1), read)

    async def _sets(self) -> None:
        await self._read(("sets", ""), self._set_list)
        await self._each(
            self._slice([("set", arn) for arn in readings.arns(self.parts)], calls=SET_CALLS), self._set
        )
        await self._show()

    async def _units(self) -> None:
        """Level by level where they were never read; else a slice, and those in which one must be missing."""
        known = {("units", unit) for unit in readings.units_of(self.parts)}
        await self._each([*readings.outdated_units(self.parts), *self._slice(known, calls=1)], self._units_in)
        while new := {("units", unit) for unit in readings.units_of(self.parts)} - self.parts.keys():
            if not await self._each(sorted(new), self._units_in):
                return

    def _slice(self, keys: Collection[PartKey], calls: int) -> list[PartKey]:
        """Those of the details, which take so many calls each, that are read now."""
        piece = Slice(LEAST_CALLS // calls, self.share, self.overdue)
        return piece.of(keys, self.parts, self.done)

    # one part

    async def _each(self, keys: Collection[PartKey], read: Callable[[str], Awaitable[Content]]) -> bool:
        """Whether all of them were read."""
        failed = 0
        whole = True
        for key in keys:
            if await self._read(key, partial(read, key[1])):
                failed = 0
                continue
            whole, failed = False, failed + 1
            if failed >= GIVE_UP_AFTER:
                break
        return whole

    async def _read(self, key: PartKey, read: Callable[[], Awaitable[Content]]) -> bool:
        if key in self.done:
            return True
        began = self.now()
        try:
            body, left_out = await read()
        except IdentityCenterError as error:
            self.problems.append(error)
            return False
        part = Part(*key, read_at=began, body=body, left_out=left_out)
        await self.keep(part)
        self.parts[key] = part
        self.done.add(key)
        self._unseen += 1
        if self._unseen >= SHOW_EVERY:
            await self._show()
        return True

    async def _show(self) -> None:
        self._unseen = 0
        await self.shown()

    # what AWS says, as bodies

    async def _organisation(self) -> Content:
        management = await self.centre.management_account()
        delegated = await self.centre.delegated_administrators()
        return {"management": management, "delegated": sorted(delegated)}, {}

    async def _set_list(self) -> Content:
        return {"arns": await self.centre.permission_sets()}, {}

    async def _members(self, group_id: str) -> Content:
        members = await self.centre.members(group_id)
        return {"members": list(members) if members is not None else None}, {}

    async def _units_in(self, unit_id: str) -> Content:
        return await _documents(self.centre.units_in(unit_id))

    async def _parent(self, account_id: str) -> Content:
        return {"parent": await self.centre.parent(account_id)}, {}

    async def _tags(self, account_id: str) -> Content:
        return {"tags": await self.centre.account_tags(account_id)}, {}

    async def _set(self, arn: str) -> Content:
        try:
            found = await self.centre.permission_set(arn)
        except (KeyError, TypeError, ValueError) as error:
            return readings.body_of([]), {f"set/{arn.rsplit('/', 1)[-1]}": unreadable(error)}
        return readings.body_of([found] if found is not None else []), {}


async def _documents(found: Awaitable[list[doc.OrganizationalUnit]]) -> Content:
    return readings.body_of(await found), {}


async def _listed(found: Awaitable[Listed[Any]]) -> Content:
    listed = await found
    return readings.body_of(listed.documents), listed.left_out
