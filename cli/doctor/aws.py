"""AWS, for the provisioner: what its credentials may read, limits, the clock, how true the inventory is."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from cli.doctor.database import connected
from cli.doctor.findings import Finding, fail, ok, warn
from services.provisioner.driver import DriverProblem
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.calls import Calls
from services.provisioner.identity_center.probes import Probes, probe
from services.provisioner.identity_center.types import IdentityCenterError
from services.provisioner.settings import ProvisionerSettings
from shared.contracts import documents as doc
from shared.documents import document_store
from shared.foundation.clock import Clock

QUOTA_CALLS: Final = 20.0
"""Calls a second that AWS takes of everybody together."""
QUOTA_SLOTS: Final = 10
TOO_FAR: Final = timedelta(seconds=60)
NOTICEABLE: Final = timedelta(seconds=5)
_PAUSE_S: Final = 0.1
"""Between two calls: half of the quota at most, which the running provisioner shares."""
_POLICY: Final = "compare with `jit iam-policy provisioner` and docs/aws-permissions.md"
_SHARED: Final = "AWS's quota is shared with all others who administer Identity Center: stay below it"
_READING: Final = (
    "wait for the next reading (JIT_INVENTORY_INTERVAL_S); else inventory_failing, inventory_held"
)

Inventory = Mapping[str, Mapping[str, str]]
"""Kind of document to its ids, each with the word that decides: an account's state, whether a user is on."""


async def check_aws(settings: ProvisionerSettings) -> list[Finding]:
    """Some twenty-five calls, and the pages of accounts, sets, people and groups."""
    found = list(check_limits(settings))
    try:
        probes = await _probed(settings)
    except IdentityCenterError as error:
        return [*found, fail("aws.permissions", f"{error.problem.value}: {error.code}", _POLICY)]
    found += check_permissions(probes)
    if probes.refused_or_failed:
        return found  # an inventory that cannot be read is said already
    return [*found, *await _with_database(settings, probes)]


def check_limits(settings: ProvisionerSettings) -> Iterator[Finding]:
    rate, slots, of_grants = settings.calls_per_second, settings.slots, settings.grant_slots
    fits = rate is not None and rate <= QUOTA_CALLS and of_grants < slots <= QUOTA_SLOTS
    if fits:
        yield ok("aws.limits", f"{rate:g} calls a second, {slots} slots, {of_grants} of them for grants")
    if rate is None or rate > QUOTA_CALLS:
        told = "no limit" if rate is None else f"{rate:g} a second"
        yield warn("aws.limits", f"JIT_CALLS_PER_SECOND is {told}, and AWS takes {QUOTA_CALLS:g}", _SHARED)
    if slots > QUOTA_SLOTS:
        yield warn("aws.limits", f"JIT_SLOTS is {slots}, and AWS has {QUOTA_SLOTS}", _SHARED)
    if of_grants >= slots:
        yield warn(
            "aws.limits", "a burst of grants may take every slot, and deletions wait for it",
            "set JIT_GRANT_SLOTS below JIT_SLOTS",
        )  # fmt: skip


def check_permissions(probes: Probes) -> Iterator[Finding]:
    wrong = [one for one in probes.tried if one.problem is not None]
    for one in wrong:
        refused = one.problem is DriverProblem.DENIED
        told = "is refused" if refused else f"failed: {one.detail}"
        yield fail("aws.permissions", f"{one.operation.action} {told}", _POLICY)
    untried = [one for one in probes.tried if one.untried]
    if untried and not wrong:
        needed = ", ".join(sorted({one.untried for one in untried}))
        yield warn(
            "aws.permissions", f"{len(untried)} reads were not tried, for AWS showed no {needed}",
            "where several instances are seen, name one in JIT_SSO_INSTANCE_ARN",
        )  # fmt: skip
    if not wrong and not untried:
        yield ok("aws.permissions", f"all {len(probes.tried)} reads are allowed; assigning was not tried")


def check_clock(of_aws: datetime | None, of_database: datetime) -> Finding:
    """Ends are the database's moments, and AWS refuses signatures that are minutes off."""
    if of_aws is None:
        return warn("clock.aws", "AWS did not say what time it is", "look at the database's clock by hand")
    offset = of_aws - of_database
    told = f"AWS is {offset.total_seconds():+.0f} s from the database"
    if abs(offset) > TOO_FAR:
        return fail("clock.aws", told, "mend the database server's clock: access ends by it")
    if abs(offset) > NOTICEABLE:
        return warn("clock.aws", told, "keep the database server by NTP: access ends by its clock")
    return ok("clock.aws", told)


def check_inventory(stored: Inventory, found: Inventory) -> Finding:
    if not any(stored.values()):
        return fail(
            "inventory", "AWS was never read, so nobody is known", "start the provisioner; look at its log"
        )
    differ = {kind: _differing(stored.get(kind, {}), found[kind]) for kind in found}
    if told := ", ".join(f"{count} {kind}s" for kind, count in differ.items() if count):
        return warn("inventory", f"is not what AWS has now: {told}", _READING)
    return ok(
        "inventory", f"is what AWS has now: {', '.join(f'{len(found[kind])} {kind}s' for kind in found)}"
    )


def _differing(stored: Mapping[str, str], found: Mapping[str, str]) -> int:
    """Ids that only one of them has, or both with another word."""
    return len({one for one in stored.keys() | found.keys() if stored.get(one) != found.get(one)})


async def _probed(settings: ProvisionerSettings) -> Probes:
    calls = Calls(region=settings.aws_region, endpoint=settings.aws_endpoint, limiter=_Slowly())
    try:
        return await probe(calls, instance_arn=settings.sso_instance_arn)
    finally:
        await calls.close()


class _Slowly:
    """One call after the other, with pauses: the engine needs the rate more."""

    async def __call__(self, _priority: str, _service: str) -> None:
        await asyncio.sleep(_PAUSE_S)

    def check(self, *, changes: bool) -> None:
        """Nothing is changed."""

    def throttled(self, _service: str) -> None:
        """The answer says so."""


async def _with_database(settings: ProvisionerSettings, probes: Probes) -> list[Finding]:
    try:
        async with connected(settings) as conn:
            clock = Clock()
            await clock.sync(conn)
            kinds = (doc.Account, doc.PermissionSet, doc.User, doc.Group)
            stored = {cls.KIND: _decisive(await document_store.all_of(conn, cls)) for cls in kinds}
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError):
        return []  # the check of the database says so
    passed = probes.since_aws_time
    of_aws = None if probes.aws_time is None else probes.aws_time + passed
    return [check_clock(of_aws, clock.now()), check_inventory(stored, await _read(settings))]


async def _read(settings: ProvisionerSettings) -> Inventory:
    async with IdentityCenter(
        region=settings.aws_region,
        endpoint=settings.aws_endpoint,
        instance_arn=settings.sso_instance_arn,
        limiter=_Slowly(),
    ) as centre:
        return {
            doc.Account.KIND: _decisive((await centre.accounts()).documents),
            doc.PermissionSet.KIND: {arn.rpartition("/")[2]: "" for arn in await centre.permission_sets()},
            doc.User.KIND: _decisive((await centre.users()).documents),
            doc.Group.KIND: _decisive((await centre.groups()).documents),
        }


def _decisive(documents: Collection[doc.Document]) -> dict[str, str]:
    return {one.id: _word(one) for one in documents}


def _word(document: doc.Document) -> str:
    if isinstance(document, doc.Account):
        return document.state
    return str(document.enabled) if isinstance(document, doc.User) else ""
