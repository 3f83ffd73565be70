"""How late ends are, and what one costs: 1k, 10k and 100k live claims, ends spread evenly; JSON lines.

`due` is from the end of a window to its committed revoke event, `call` from that end to the delete call as
the simulator received it, `cpu_ms_per_end` what this process (engine and simulator) and PostgreSQL used for
one. AWS's rate is left out (an end costs six calls, so its quota allows three ends a second); operations take
0.2 to 1 s. The last line is of two replicas, one of them killed or paused: bench/takeover.py. Six minutes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from pydantic import SecretStr

from bench import takeover
from bench.cpu import cpu_seconds
from bench.ending import Ending
from services.provisioner.__main__ import Replica, assemble, build
from services.provisioner.background import Expiry
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.types import Credentials, Limiter
from services.provisioner.settings import ProvisionerSettings
from shared.database.pool import Pool
from shared.documents.tables import Tables
from shared.foundation.clock import Clock
from shared.foundation.settings import KafkaSettings
from shared.observability import logs
from shared.policy.policy import Policy
from shared.runtime.service import Process
from simulator.controls import Controls
from simulator.server import Simulator
from tests.support.harness import service_database, with_pool
from tests.support.servers import embedded_postgres
from tests.support.signing import TRUST, key_settings

FEWEST = 200
"""Ends from which a 99th percentile says more than the largest."""
TARGET_CALL_P99_MS = 250
ENDS_PER_SECOND = 5
"""An operation takes a slot for 0.6 s and until it is seen to have ended, and AWS has ten: more ends wait for
slots, which bench/burst.py measures."""
MOST_GROWTH = 1.5
"""What an end may cost in the largest table, next to the smallest; noise on a shared machine is a third."""
_LEAD_S = 2.0


class TimedExpiry(Expiry):
    """The producer itself, noting when each batch had been committed."""

    def watch(self, ends: Sequence[datetime]) -> None:
        self.late: list[float] = []
        self._ends = sorted(ends)

    async def end_due(self) -> int:
        count = await super().end_due()
        now = self._context.clock.now()
        for _ in range(count):
            self.late.append((now - self._ends.pop(0)).total_seconds())
        return count


async def measure(admin_dsn: str, *, claims: int, seconds: float) -> dict[str, Any]:
    """One line: a fresh database with so many live claims, and ends for so long."""
    clock = Clock()
    tables = Tables(
        policy=Policy(clock=clock, stale_after=timedelta(1)), settings=KafkaSettings(), trust=TRUST
    )
    async with service_database(admin_dsn, "provisioner") as dsn, Simulator().serve() as aws:
        _let_run_free(aws)
        settings = ProvisionerSettings(
            env="development",
            database_url=SecretStr(dsn),
            calls_per_second=None,
            aws_endpoint=aws.url,
            **key_settings("provisioner"),
        )
        service = build(settings, process=Process(clock, tables), identity_center=_connect)
        async with with_pool(service):
            pool = service.context.pool
            async with pool.acquire() as conn:
                await clock.sync(conn)
            await _fill(pool, claims, clock.now())
            await _analyze(admin_dsn, dsn)
            replica = assemble(service.context, settings, identity_center=_connect)
            await replica.identity_center.open()  # as its start does
            service.context.nudge = replica.engine.nudge
            expiry = TimedExpiry(service.context, objectives=settings.objectives)
            ends = await _seed_ends(pool, aws, round(seconds * ENDS_PER_SECOND), clock.now())
            expiry.watch(list(ends.values()))
            before = _cpu_s()
            await _work(replica, expiry, seconds)
            used_s = _cpu_s() - before
            calls = _call_lateness(aws, ends)
            await replica.identity_center.close()
    called = _percentiles(calls)
    return {
        "bench": "expiry",
        "claims": claims,
        "ends": len(ends),
        "ends_per_second": ENDS_PER_SECOND,
        "due_ms": _percentiles(expiry.late),
        "call_ms": called,
        "target_call_p99_ms": TARGET_CALL_P99_MS,
        "cpu_ms_per_end": round(1000 * used_s / len(ends), 1),
        "holds": called.get("p99", called["max"]) <= TARGET_CALL_P99_MS,
    }


def growth(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether an end costs more in a larger table."""
    smallest = min(lines, key=lambda line: int(line["claims"]))
    largest = max(lines, key=lambda line: int(line["claims"]))
    times = largest["cpu_ms_per_end"] / smallest["cpu_ms_per_end"]
    return {
        "bench": "expiry-growth",
        "claims": [smallest["claims"], largest["claims"]],
        "cost_times": round(times, 2),
        "target_times": MOST_GROWTH,
        "holds": times <= MOST_GROWTH,
    }


def _cpu_s() -> float:
    """Of this process and of all that it started: PostgreSQL is one of them."""
    return sum(cpu_seconds({"bench": os.getpid()}).values())


async def _work(replica: Replica, expiry: Expiry, seconds: float) -> None:
    """Let the real loops run until every end and its call should long have been."""
    await replica.lease.renew()
    loops = [asyncio.ensure_future(run) for run in (replica.lease.run(), replica.engine.run(), expiry.run())]
    await asyncio.sleep(_LEAD_S + seconds + 2)
    for loop in loops:
        loop.cancel()
    for loop in loops:
        with contextlib.suppress(asyncio.CancelledError):
            await loop


def _let_run_free(aws: Controls) -> None:
    quick = {"low": 0.2, "high": 1.0}
    aws.change_settings(rate_per_second={}, create_seconds=quick, delete_seconds=quick)


def _connect(settings: ProvisionerSettings, limiter: Limiter) -> IdentityCenter:
    return IdentityCenter(
        region="eu-central-1",
        endpoint=settings.aws_endpoint,
        limiter=limiter,
        change_timeout_s=settings.change_timeout_s,
        credentials=Credentials("AKIDEXAMPLE", "made-up"),
    )


async def _fill(pool: Pool, claims: int, now: datetime) -> None:
    """Live claims on assignments of their own, whose ends are hours away."""
    await pool.execute(
        """
        INSERT INTO assignment (instance, user_id, account_id, set_id, set_arn, desired, observed,
            ours, next_at)
        SELECT 'default', 'user-' || n, 'account-' || n % 1000, 'ps-1', 'arn', 'present', 'present', true,
            $2::timestamptz + interval '1 hour' + n * interval '100 ms'
        FROM generate_series(1, $1) n
        """,
        claims,
        now,
        timeout=300,
    )
    await pool.execute(
        """
        INSERT INTO claim (id, assignment_id, instance, ticket_id, target_id, revision, subject_id, user_id,
            account_id, set_id, set_digest, content_hash, session_duration, starts_at, ends_at, state,
            received_at)
        SELECT 'fill-' || id, id, 'default', 'ticket-' || id, 'target', 1, 'subject-' || id, user_id,
            account_id, set_id, 'd', 'h', interval '1 hour', $1, next_at, 'active', $1
        FROM assignment
        """,
        now,
        timeout=300,
    )


async def _analyze(admin_dsn: str, dsn: str) -> None:
    """What autovacuum does within a minute of such an import."""
    conn = await asyncpg.connect(urlsplit(admin_dsn)._replace(path=urlsplit(dsn).path).geturl())
    await conn.execute("VACUUM ANALYZE assignment")
    await conn.execute("VACUUM ANALYZE claim")
    await conn.close()


async def _seed_ends(pool: Pool, aws: Controls, count: int, now: datetime) -> dict[str, datetime]:
    """Accesses that AWS really has, and their ends, spread evenly; by `user/account`."""
    ends: dict[str, datetime] = {}
    chosen = Ending(aws, random.Random(20260302))
    for number in range(count):
        at = now + timedelta(seconds=_LEAD_S + number / ENDS_PER_SECOND)
        user, account = chosen.next()
        await chosen.put(pool, user, account, at)
        ends[f"{user}/{account}"] = at
    return ends


def _call_lateness(aws: Controls, ends: dict[str, datetime]) -> list[float]:
    """Of the first delete call of each, as the simulator saw it."""
    first: dict[str, float] = {}
    for call in aws.records.calls:
        if call["operation"] == "DeleteAccountAssignment":
            key = f"{call['params']['PrincipalId']}/{call['params']['TargetId']}"
            at = datetime.fromtimestamp(call["time"], UTC)
            first.setdefault(key, (at - ends[key]).total_seconds())
    if len(first) != len(ends):
        raise SystemExit(f"{len(ends) - len(first)} ends had no delete call in time; see the logs above")
    return list(first.values())


def _percentiles(seconds: list[float]) -> dict[str, float]:
    """In milliseconds. Of few ends the 99th percentile is the largest, and is not called so."""
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

    found = {"p50": at(0.5), "p99": at(0.99), "max": at(1)}
    if len(ordered) < FEWEST:
        del found["p99"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.expiry", description=__doc__)
    parser.add_argument("--claims", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=42, help="how long ends come, for each size")
    parser.add_argument(
        "--takeover-seconds", type=float, default=240, help="how long replicas are struck; 0: not"
    )
    parser.add_argument("--setting", action="append", default=[], help="of the two replicas: JIT_NAME=VALUE")
    options = parser.parse_args()
    logs.configure(fmt="console", level="WARNING")  # to stderr: stdout is for the figures
    lines: list[dict[str, Any]] = []

    def say(line: dict[str, Any]) -> None:
        lines.append(line)
        print(json.dumps(line), flush=True)

    with embedded_postgres() as server:
        for claims in options.claims:
            say(asyncio.run(measure(server.admin_dsn, claims=claims, seconds=options.seconds)))
        if len(options.claims) > 1:
            say(growth(lines))
        if options.takeover_seconds:
            chosen = dict(one.split("=", 1) for one in options.setting)
            struck = takeover.measure(server.admin_dsn, seconds=options.takeover_seconds, settings=chosen)
            say(asyncio.run(struck))
    return 0 if all(line["holds"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
