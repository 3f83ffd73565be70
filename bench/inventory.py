"""How an inventory comes up at AWS's limits: 1,200 and 5,000 accounts, Organizations at 10/s; JSON lines.

The reader itself on PostgreSQL and on the simulator, which enforces 10, 20 and 20 calls a second. Time is
virtual: it moves when all that reads waits for its turn or for AWS, which takes 50 ms for an answer; what
this machine needs takes none. A reading is killed by cancelling its task; then all of its process but the
database is thrown away. `python -m bench.inventory [--accounts 1200 5000]`
"""

import argparse
import asyncio
import contextlib
import heapq
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pydantic import SecretStr

from services.provisioner.driver import Priority
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.api_operations import Api, ApiOperation
from services.provisioner.identity_center.calls import Calls
from services.provisioner.identity_center.reads import InventoryReads
from services.provisioner.identity_center.types import Credentials
from services.provisioner.inventory.sync import INTERVAL, InventorySync
from shared.context import Context
from shared.documents.tables import Tables
from shared.foundation.clock import Clock
from shared.foundation.settings import KafkaSettings, ServiceSettings
from shared.observability import logs
from shared.policy.policy import Policy
from shared.runtime.service import Parts, Process, Service
from simulator.directory import Directory
from simulator.model import Account, Group, Membership, Unit, User
from simulator.server import Simulator
from tests.support.harness import NOW, service_database, with_pool
from tests.support.servers import embedded_postgres
from tests.support.signing import TRUST, key_settings
from tests.support.waiting import until

AWS_LIMITS = {"organizations": 10.0, "identitystore": 20.0, "sso-admin": 20.0}
OURS: dict[Api, float] = {"organizations": 9.0, "identitystore": 18.0, "sso-admin": 18.0}
UNITS, USERS, GROUPS = 60, 2000, 100
"""Beside the accounts; the sets are the shipped organisation's 25."""
ANSWER_S = 0.05
LONGEST_S = 300.0


class Virtual(Clock):
    """One clock for JIT and for AWS. It moves to the next moment once every task that sleeps by it sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Task[Any], asyncio.Future[None]]] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        task, woken = asyncio.current_task(), asyncio.get_running_loop().create_future()
        assert task is not None, "called from a task"  # noqa: S101
        self._tasks.add(task)
        heapq.heappush(self._sleepers, (self.seconds + seconds, next(self._order), task, woken))
        self._move()
        await woken

    async def run(self) -> None:
        """Beside all else: notices tasks that have ended and would be waited for."""
        while True:
            self._move()
            await asyncio.sleep(0.002)

    def _move(self) -> None:
        self._sleepers = [one for one in self._sleepers if not one[3].done()]
        awake = {task for task in self._tasks if not task.done()} - {one[2] for one in self._sleepers}
        if self._sleepers and not awake:
            heapq.heapify(self._sleepers)
            moment, _, _, woken = heapq.heappop(self._sleepers)
            self.seconds = max(self.seconds, moment)
            woken.set_result(None)


class AwsTime:
    """The simulator's side of it."""

    def __init__(self, clock: Virtual) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now().timestamp()


class Paced(Calls):
    """Evenly as many calls a second as are ours, for each of AWS's services."""

    def __init__(self, clock: Virtual, url: str) -> None:
        key = Credentials("AKIDEXAMPLE", "made-up")
        super().__init__(region="eu-central-1", endpoint=url, credentials=key)
        self._clock = clock
        self._next = dict.fromkeys(OURS, 0.0)

    async def send(self, operation: ApiOperation, *, priority: Priority, **params: Any) -> dict[str, Any]:
        turn = max(self._clock.seconds, self._next[operation.api])
        self._next[operation.api] = turn + 1 / OURS[operation.api]
        await self._clock.sleep(turn - self._clock.seconds)
        answer = await super().send(operation, priority=priority, **params)
        await self._clock.sleep(ANSWER_S)
        return answer


class PacedCenter(IdentityCenter):
    def __init__(self, clock: Virtual, url: str) -> None:
        InventoryReads.__init__(self, Paced(clock, url), instance_arn=None)


async def measure(admin_dsn: str, *, accounts: int) -> AsyncIterator[dict[str, object]]:
    """A line for each thing that is measured, on one fresh database."""
    clock = Virtual()
    async with (
        service_database(admin_dsn, "provisioner") as dsn,
        Simulator(clock=AwsTime(clock)).serve() as aws,
    ):
        aws.change_settings(rate_per_second=AWS_LIMITS)
        _fill(aws.directory, accounts)
        told = {"bench": "inventory", "accounts": accounts, "groups": GROUPS, "users": USERS}

        async with _process(dsn, clock, aws) as (context, sync):
            reading = asyncio.ensure_future(sync.sync_once(context))
            await until(partial(_published, context), LONGEST_S)
            published = clock.seconds
            await until(lambda: _made(aws)["ListTagsForResource"] > accounts // 2, LONGEST_S)
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
        killed_at, before = clock.seconds, _made(aws)
        yield {**told, "what": "comes up", "documents_s": round(published, 1), "calls": before.total()}

        async with _process(dsn, clock, aws) as (context, sync):
            known = await _published(context)
            await sync.sync_once(context)
            whole = await _published(context)
        after = _made(aws) - before
        yield {
            **told,
            "what": "resumes after a kill",
            "killed_after_s": round(killed_at, 1),
            "documents_at_the_kill": known,
            "documents": whole,
            "resumed_s": round(clock.seconds - killed_at, 1),
            "calls": after.total(),
            "read_again": sum(count - 1 for count in _asked(aws).values() if count > 1),
        }

        clock.seconds += INTERVAL.total_seconds()
        began, before = clock.seconds, _made(aws)
        async with _process(dsn, clock, aws) as (context, sync):
            await sync.sync_once(context)
            changed = await _published(context) - whole
        again = _made(aws) - before
        yield {
            **told,
            "what": "second reading",
            "seconds": round(clock.seconds - began, 1),
            "changed": changed,
            "calls": again.total(),
            "calls_by_api": _by_api(aws, again),
            "calls_by_operation": dict(again),
            "throttles": sum(
                row["error"] is not None and "Throttl" in row["error"] for row in aws.records.calls
            ),
        }


@contextlib.asynccontextmanager
async def _process(dsn: str, clock: Virtual, aws: Simulator) -> AsyncIterator[tuple[Context, InventorySync]]:
    """Everything of one process: its pool, its clients, its reader."""
    settings = ServiceSettings(env="development", database_url=SecretStr(dsn), **key_settings("provisioner"))
    policy = Policy(clock=clock, stale_after=timedelta(days=1))
    tables = Tables(policy=policy, settings=KafkaSettings(), trust=TRUST)
    centre = PacedCenter(clock, aws.url)
    async with with_pool(
        Service("provisioner", settings, Parts(), process=Process(clock, tables))
    ) as service:
        moving = asyncio.ensure_future(clock.run())
        try:
            yield service.context, InventorySync(centre)
        finally:
            moving.cancel()
            await centre.close()


async def _published(context: Context) -> int:
    found: int = await context.pool.fetchval("SELECT count(*) FROM document WHERE NOT deleted")
    return found


def _made(aws: Simulator) -> Counter[str]:
    """Calls by operation; Organizations' and Identity Center's tags have one name, the former many more."""
    return Counter(row["operation"] for row in aws.records.calls)


def _asked(aws: Simulator) -> Counter[str]:
    return Counter(f"{row['operation']} {sorted(row['params'].items())}" for row in aws.records.calls)


def _by_api(aws: Simulator, made: Counter[str]) -> dict[str, int]:
    """Of the last so many calls."""
    last = list(aws.records.calls)[-made.total() :]
    return dict(Counter(row["service"] for row in last))


def _fill(directory: Directory, accounts: int) -> None:
    """Accounts in units of one level, people in groups; ids as AWS's look."""
    units = [Unit(id=f"ou-{n:04d}-{n:08d}", name=f"unit {n}", parent=directory.root_id) for n in range(UNITS)]
    directory.units = {unit.id: unit for unit in units}
    management = directory.accounts[directory.management]
    made = [_account(number, units[number % UNITS]) for number in range(accounts - 1)]
    directory.accounts = {
        one.id: one for one in [management.model_copy(update={"parent": directory.root_id}), *made]
    }
    directory.delegated = []
    users = [_user(number) for number in range(USERS)]
    groups = [Group(id=_uuid(900_000 + number), name=f"group {number}") for number in range(GROUPS)]
    directory.users = {user.id: user for user in users}
    directory.groups = {group.id: group for group in groups}
    members = [
        Membership(
            id=_uuid(1_000_000 + number * 4 + step), group=groups[(number + step) % GROUPS].id, user=user.id
        )
        for number, user in enumerate(users)
        for step in range(4)
    ]
    directory.memberships = {member.id: member for member in members}


def _account(number: int, unit: Unit) -> Account:
    return Account(
        id=f"{500_000_000_000 + number}",
        name=f"account-{number}",
        email=f"account-{number}@example.com",
        parent=unit.id,
        joined_at=0,
        tags={"env": "prod" if number % 3 == 0 else "dev", "owner": f"team-{number % 40}"},
    )


def _user(number: int) -> User:
    name = f"user-{number}"
    return User(
        id=_uuid(number), user_name=name, given_name=name, family_name="X", email=f"{name}@example.com"
    )


def _uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


async def _measure_all(admin_dsn: str, sizes: Sequence[int]) -> None:
    for accounts in sizes:
        async for line in measure(admin_dsn, accounts=accounts):
            print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.inventory", description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="+", default=[1_200, 5_000])
    options = parser.parse_args()
    logs.configure(fmt="console", level="CRITICAL")
    with embedded_postgres() as server:
        asyncio.run(_measure_all(server.admin_dsn, options.accounts))


if __name__ == "__main__":
    main()
