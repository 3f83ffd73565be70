"""A burst of grants and a storm of ends under AWS's limits, beside the SDK's retry modes; JSON lines.

80 grants that are due at once, over 20 (account, set) pairs and over 80, of four people or 80; then 500 ends
at one moment. The simulator has AWS's limits (20 calls a second and service, 10 slots) and operations of 2 to
4 s; everything is read from its own record, in real time. The floor of the ends is the time that AWS took
for all but the last ten, over ten slots: earlier no slot can be free for the last Delete.
`python -m bench.burst [--ends 500] [--only grants|ends|sdk]`
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import SecretStr

from bench import burst_figures as figures
from bench.burst_sdk import MODES, Mode, grant_all
from services.provisioner.__main__ import Replica, assemble, build
from services.provisioner.consumers import subscriptions
from services.provisioner.driver import AssignmentKey
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.calls import unlimited
from services.provisioner.identity_center.types import Credentials, Limiter
from services.provisioner.settings import ProvisionerSettings
from shared.contracts import documents as doc
from shared.database.pool import Pool
from shared.foundation.clock import Clock
from shared.messaging.envelope import Received
from shared.observability import logs
from shared.runtime.service import Process, Service
from simulator.controls import Controls
from simulator.model import Assignment
from simulator.server import Simulator
from tests.support import organisation
from tests.support.harness import ready_tables, service_database, with_pool
from tests.support.provisioner_facts import OtherServices
from tests.support.provisioner_lab import digest_of
from tests.support.servers import embedded_postgres
from tests.support.signing import key_settings

SET: Final = "ReadOnly"
GRANTS: Final = 80
MOST_CALLS: Final = {20: 190, 80: 290}
"""By pairs."""
LEAST_BUSY: Final = 0.95
LATEST: Final = 1.1
"""When the last Delete is sent, in floors."""
_LONGEST_S: Final = 400
_LEAD_S: Final = 2.0


@dataclass
class Bench(OtherServices):
    """One provisioner with its real loops on a new database and a fresh simulator."""

    service: Service
    replica: Replica

    async def take(self, event: Received[Any]) -> None:
        table = {
            cls: one for found in subscriptions(self.service.context) for cls, one in found.handlers.items()
        }
        async with self.service.context.unit_of_work() as work:
            await table[type(event.event)](work, event)

    @property
    def pool(self) -> Pool:
        return self.service.context.pool


@asynccontextmanager
async def provisioner(admin_dsn: str) -> AsyncIterator[Bench]:
    clock = Clock()
    async with service_database(admin_dsn, "provisioner") as dsn, Simulator().serve() as aws:
        settings = ProvisionerSettings(
            env="development",
            database_url=SecretStr(dsn),
            aws_endpoint=aws.url,
            **key_settings("provisioner"),
        )
        digests = {SET: await _digest(settings, aws)}
        process = Process(clock, ready_tables(clock, _documents(aws, digests)))  # type: ignore[arg-type]
        service = build(settings, process=process, identity_center=_connect)
        async with with_pool(service):
            async with service.context.pool.acquire() as conn:
                await clock.sync(conn)
            replica = assemble(service.context, settings, identity_center=_connect)
            service.context.nudge = replica.nudge
            await replica.lease.renew()
            try:
                yield Bench(clock, aws, digests, service, replica)  # type: ignore[arg-type]
            finally:
                await replica.identity_center.close()


async def grants(admin_dsn: str, *, pairs: int, people: int) -> dict[str, object]:
    """80 approved grants whose windows open at one moment."""
    async with provisioner(admin_dsn) as bench:
        keys = _keys(bench.aws, GRANTS, pairs=pairs, people=people)
        for key in keys:
            ticket = bench.ticket(key.user_id, account=key.account_id, name=SET, seconds=3600)
            await bench.take(bench.witness(ticket))
            await bench.take(bench.approval(ticket))
        since = time.time()
        await _work(bench, "SELECT count(*) < $1 FROM claim WHERE state = 'active'", GRANTS)
        seconds = time.time() - since
        known = await bench.pool.fetchval("SELECT count(*) FROM claim WHERE state = 'active'")
        done = figures.operations(bench.aws, figures.CREATE)
        busy = figures.slots_busy(done, since=since, slots=7)
        calls, throttles = figures.calls(bench.aws), figures.throttles(bench.aws)
        return {
            "bench": "burst",
            "driver": "jit",
            "pairs": pairs,
            "people": people,
            "known": known,
            "throttles": throttles,
            "calls": calls,
            "most_calls": MOST_CALLS[pairs],
            "slots_busy": round(busy, 3),
            "aws_busy": round(figures.aws_busy(done, since=since, slots=7), 3),
            "seconds": round(seconds, 1),
            "floor_s": round(figures.floor_s(done, slots=7), 1),
            "by_operation": figures.by_operation(bench.aws),
            "holds": (known, throttles) == (GRANTS, 0) and calls <= MOST_CALLS[pairs] and busy >= LEAST_BUSY,
        }


async def ends(admin_dsn: str, *, count: int) -> dict[str, object]:
    """So many assignments whose windows end at one moment; until the last Delete was sent."""
    async with provisioner(admin_dsn) as bench:
        at = bench.now + timedelta(seconds=_LEAD_S + count / 100)
        for key in _keys(bench.aws, count, pairs=100, people=5):
            await _store_end(bench, key, at)
        since = at.timestamp()
        await _work(
            bench,
            """
            SELECT count(*) > 0 FROM assignment
            WHERE observed IN ('present', 'unknown') OR op_kind IS NOT NULL
            """,
        )
        done = figures.operations(bench.aws, figures.DELETE)
        sent = [call for call in bench.aws.records.calls if call["operation"] == figures.DELETE]
        last, floor = max(one.sent for one in done) - since, figures.floor_s(done[:-10], slots=10)
        calls, throttles = figures.calls(bench.aws), figures.throttles(bench.aws)
        return {
            "bench": "burst",
            "driver": "jit",
            "ends": count,
            "known": len(done),
            "throttles": throttles,
            "calls": calls,
            "deletes": len(sent),
            "calls_per_end": round(calls / count, 2),
            "slots_busy": round(figures.slots_busy(done, since=since, slots=10), 3),
            "aws_busy": round(figures.aws_busy(done, since=since, slots=10), 3),
            "seconds": round(last, 1),
            "floor_s": round(floor, 1),
            "by_operation": figures.by_operation(bench.aws),
            "holds": len(sent) == len(done) == count and throttles == 0 and last <= LATEST * floor,
        }


async def sdk(mode: Mode, *, pairs: int, people: int) -> dict[str, object]:
    """It may use all ten slots, and how long AWS was at work in them is all that can be said of it."""
    async with Simulator().serve() as aws:
        since = time.time()
        known = await grant_all(aws, mode, _keys(aws, GRANTS, pairs=pairs, people=people))
        seconds = time.time() - since
        done = figures.operations(aws, figures.CREATE)
        return {
            "bench": "burst",
            "driver": f"sdk-{mode}",
            "pairs": pairs,
            "people": people,
            "known": known,
            "throttles": figures.throttles(aws),
            "calls": figures.calls(aws),
            "slots_busy": round(figures.aws_busy(done, since=since, slots=10), 3) if len(done) > 10 else None,
            "seconds": round(seconds, 1),
        }


async def _work(bench: Bench, unfinished: str, *arguments: object) -> None:
    """Let the real loops run as long as the query answers true."""
    replica = bench.replica
    loops = [
        asyncio.ensure_future(run)
        for run in (replica.lease.run(), replica.engine.run(), replica.expiry.run())
    ]
    replica.nudge()
    try:
        async with asyncio.timeout(_LONGEST_S):
            await asyncio.sleep(_LEAD_S)
            while await bench.pool.fetchval(unfinished, *arguments):  # noqa: ASYNC110 (it is in the database)
                await asyncio.sleep(0.2)
    except TimeoutError:
        print("not finished in time: the figures are of what was done", file=sys.stderr)
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


def _keys(aws: Controls, count: int, *, pairs: int, people: int) -> list[AssignmentKey]:
    """So many assignments of these people over these pairs, that nobody has."""
    arn = aws.directory.find_set(SET).arn
    users, accounts = _users(aws), _accounts(aws)[:pairs]
    return [
        AssignmentKey(users[(number // pairs + number) % people], accounts[number % pairs], arn)
        for number in range(count)
    ]


def _users(aws: Controls) -> list[str]:
    holding = {row.principal for row in aws.assignments()}
    found = aws.directory.users.values()
    return sorted(user.id for user in found if user.enabled and user.id not in holding)


def _accounts(aws: Controls) -> list[str]:
    found = aws.directory.accounts.values()
    return sorted(one.id for one in found if one.state == "ACTIVE" and one.name != "management")


async def _digest(settings: ProvisionerSettings, aws: Controls) -> str:
    """Of the set, as AWS has it; the calls that this takes are not the burst's."""
    async with _connect(settings, unlimited) as centre:
        found = await digest_of(aws, centre, SET)
    aws.records.clear()
    return found


def _documents(aws: Controls, digests: Mapping[str, str]) -> dict[str, list[doc.Document]]:
    """The whole simulated organisation; everybody may ask for the set everywhere."""
    directory, found = aws.directory, aws.directory.find_set(SET)
    users = sorted(directory.users)
    approver = directory.find_user("carl").id
    inventory: list[doc.Document] = [
        *(doc.Account(id=one.id, name=one.name, state=one.state) for one in directory.accounts.values()),
        doc.PermissionSet(id=found.arn.rsplit("/", 1)[1], arn=found.arn, name=SET, digest=digests[SET]),
        *(
            doc.User(id=one.id, user_name=one.user_name, enabled=one.enabled)
            for one in directory.users.values()
        ),
        doc.Group(id="group-all", name="all"),
        doc.Group(id="group-owners", name="owners"),
        *doc.Membership.shards("group-all", users),
        *doc.Membership.shards("group-owners", [approver]),
    ]
    catalog: list[doc.Document] = [
        *(doc.RegisteredAccount(id=one) for one in sorted(directory.accounts)),
        doc.RegisteredSet(id=found.arn.rsplit("/", 1)[1]),
        doc.AccessScope(
            id="all",
            name="all",
            subjects=("group:group-all",),
            accounts="*",
            sets="*",
            max_duration=timedelta(hours=8),
        ),
    ]
    stage = doc.RuleStage(approvers=("group:group-owners",))
    rule = doc.ApprovalRule(id="all", name="all", accounts="*", sets="*", stages=(stage,))
    owned: dict[str, list[doc.Document]] = {"provisioner": inventory, "ticket": catalog, "approval": [rule]}
    return {owner: organisation.numbered(documents) for owner, documents in owned.items()}


def _connect(settings: ProvisionerSettings, limiter: Limiter) -> IdentityCenter:
    return IdentityCenter(
        region="eu-central-1",
        endpoint=settings.aws_endpoint,
        limiter=limiter,
        change_timeout_s=settings.change_timeout_s,
        credentials=Credentials("AKIDEXAMPLE", "made-up"),
    )


async def _store_end(bench: Bench, key: AssignmentKey, ends_at: datetime) -> None:
    """An assignment that AWS really has, with its claim."""
    aws = bench.aws
    held = Assignment(
        account=key.account_id, permission_set=key.set_arn, principal_type="USER", principal=key.user_id
    )
    aws.world.put_directly(held, now=aws.clock.now(), cause="bench")
    set_id = key.set_arn.rsplit("/", 1)[1]
    assignment_id = await bench.pool.fetchval(
        """
        INSERT INTO assignment (instance, user_id, account_id, set_id, set_arn, desired, observed,
            ours, next_at)
        VALUES ('default', $1, $2, $3, $4, 'present', 'present', true, $5) RETURNING id
        """,
        key.user_id,
        key.account_id,
        set_id,
        key.set_arn,
        ends_at,
    )
    await bench.pool.execute(
        """
        INSERT INTO claim (id, assignment_id, instance, ticket_id, target_id, revision, subject_id, user_id,
            account_id, set_id, set_digest, content_hash, session_duration, starts_at, ends_at, state,
            received_at, granted_at)
        VALUES ('end-' || $1::bigint::text, $1, 'default', 'ticket', 'target', 1, 'subject', $2, $3,
            $4, 'd', 'h', interval '1 hour', $5::timestamptz - interval '1 hour', $5, 'active', $5,
            $5::timestamptz - interval '1 hour')
        """,
        assignment_id,
        key.user_id,
        key.account_id,
        set_id,
        ends_at,
    )


SCENARIOS: Final[Sequence[tuple[int, int]]] = ((20, 4), (80, 4), (80, 80))
"""Pairs and people."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.burst", description=__doc__)
    parser.add_argument("--ends", type=int, default=500)
    parser.add_argument("--only", choices=["grants", "ends", "sdk"])
    options = parser.parse_args()
    logs.configure(fmt="console", level="ERROR")  # to stderr: stdout is for the figures
    with embedded_postgres() as server:
        for line in _lines(server.admin_dsn, only=options.only, count=options.ends):
            print(json.dumps(line), flush=True)


def _lines(admin_dsn: str, *, only: str | None, count: int) -> Any:
    if only in {None, "grants"}:
        for pairs, people in SCENARIOS:
            yield asyncio.run(grants(admin_dsn, pairs=pairs, people=people))
    if only in {None, "sdk"}:
        for mode in MODES:
            for pairs, people in SCENARIOS[:2]:
                yield asyncio.run(sdk(mode, pairs=pairs, people=people))
    if only in {None, "ends"}:
        yield asyncio.run(ends(admin_dsn, count=count))


if __name__ == "__main__":
    main()
