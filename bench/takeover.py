"""Two replicas of the provisioner as processes of their own; the active one is killed, paused, or naps.

A pause lasts until the other has taken over, a nap about as long as the lease: it is open who goes on then.
Each replica speaks to the simulated AWS by a door of its own, so that it is known who called. An end comes
every 100 ms: `takeover_ms` is from the strike to the other's first call. What an engine that was paused still
writes once another has called is counted; none may. They have no broker, which ends do without.
"""

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx2
from aiohttp import web

from bench.ending import Ending
from bench.fleet import ServiceProcess
from local.processes import free_ports
from services.provisioner.settings import ProvisionerSettings
from shared.messaging.key_folder import KeyFolder
from simulator.controls import Controls
from simulator.server import Simulator
from tests.support.harness import service_database

TARGET_MS: Final = 5_000
NAMES: Final = ("one", "two")
KINDS: Final = ("kill", "pause", "nap")
_LEASE_S: Final = ProvisionerSettings.model_fields["lease_ttl_s"].default
_EVERY_S = 0.1
_WATCHED_AFTER_WAKING_S = 3.0
_LONGEST_S = 60.0
_WRITES = ("CreateAccountAssignment", "DeleteAccountAssignment")


@dataclass(frozen=True, slots=True)
class Called:
    at: float
    replica: str
    operation: str


@dataclass
class Doors:
    """The simulated AWS, with one address for each replica."""

    aws: Controls
    calls: list[Called] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def open(self, replica: str) -> AsyncIterator[None]:
        async def handle(request: web.Request) -> web.StreamResponse:
            operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
            self.calls.append(Called(time.time(), replica, operation))
            return await self.aws.wire.handle(request)

        application = web.Application()
        application.router.add_post("/", handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.urls[replica] = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield
        finally:
            await runner.cleanup()

    def since(self, moment: float, replica: str) -> list[Called]:
        return [call for call in self.calls if call.replica == replica and call.at >= moment]


async def measure(admin_dsn: str, *, seconds: float, settings: Mapping[str, str]) -> dict[str, Any]:
    """One line. `settings` are environment variables of both replicas, beside their defaults."""
    aws = Simulator()
    quick = {"low": 0.2, "high": 1.0}
    aws.change_settings(rate_per_second={}, create_seconds=quick, delete_seconds=quick)
    doors, takeovers, late_writes, strikes = Doors(aws), list[float](), 0, dict.fromkeys(KINDS, 0)
    async with AsyncExitStack() as running:
        dsn = await running.enter_async_context(service_database(admin_dsn, "provisioner"))
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="jit-takeover-")))
        for name in NAMES:
            await running.enter_async_context(doors.open(name))
        replicas = _replicas(folder, dsn, doors, settings)
        for replica in replicas.values():
            replica.start()
            # Not a clean stop: it would wait for answers that this loop cannot give meanwhile.
            running.callback(replica.kill)
        conn = await asyncpg.connect(dsn)
        running.push_async_callback(conn.close)
        client = await running.enter_async_context(httpx2.AsyncClient(timeout=5))
        ending = asyncio.create_task(_keep_ending(dsn, aws))
        running.push_async_callback(_cancel, ending)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends or not strikes["nap"]:
            holder = await _active(conn, doors, replicas, client)
            await asyncio.sleep(random.uniform(0.5, 1.5))
            kind = min(KINDS, key=lambda one: strikes[one])
            strikes[kind] += 1
            took, wrote = await _strike(replicas, doors, holder, kind)
            takeovers += took
            late_writes += wrote
    return _line(takeovers, strikes, late_writes, settings)


def _line(
    takeovers: list[float], strikes: dict[str, int], late_writes: int, settings: Mapping[str, str]
) -> dict[str, Any]:
    ordered = sorted(takeovers)
    slowest = round(1000 * ordered[-1])
    return {
        "bench": "takeover",
        "settings": dict(settings),
        **{f"{kind}s": count for kind, count in strikes.items()},
        "takeovers": len(takeovers),
        # Of so few the 99th percentile is the largest.
        "takeover_ms": {"p50": round(1000 * ordered[len(ordered) // 2]), "max": slowest},
        "target_p99_ms": TARGET_MS,
        "writes_of_woken": late_writes,
        "holds": slowest <= TARGET_MS and late_writes == 0,
    }


async def _strike(
    replicas: Mapping[str, ServiceProcess], doors: Doors, holder: str, kind: str
) -> tuple[list[float], int]:
    """Seconds until the other called, if it did; and how many changes the struck one asked for after that."""
    other = next(name for name in NAMES if name != holder)
    struck, at = replicas[holder], time.time()
    if kind == "kill":
        struck.kill()
        first = await _first_call(doors, other, at)
        struck.start()
        return [first - at], 0
    struck.pause()
    if kind == "pause":
        await _first_call(doors, other, at)
        await asyncio.sleep(1)
    else:
        await asyncio.sleep(random.uniform(_LEASE_S - 0.5, _LEASE_S + 0.5))
    struck.wake()
    await asyncio.sleep(_WATCHED_AFTER_WAKING_S)
    if not (taken := doors.since(at, other)):
        return [], 0
    wrote = [call for call in doors.since(taken[0].at, holder) if call.operation in _WRITES]
    return [taken[0].at - at], len(wrote)


async def _first_call(doors: Doors, replica: str, since: float) -> float:
    async with asyncio.timeout(_LONGEST_S):
        while True:
            if found := doors.since(since, replica):
                return found[0].at
            await asyncio.sleep(0.02)


async def _active(
    conn: asyncpg.Connection, doors: Doors, replicas: Mapping[str, ServiceProcess], client: httpx2.AsyncClient
) -> str:
    """Who has the lease and calls by it, once the other is there to wait for it."""
    async with asyncio.timeout(_LONGEST_S):
        while True:
            await asyncio.sleep(0.1)
            holder: str = await conn.fetchval("SELECT holder FROM lease")
            working = [await _works(replica, client) for replica in replicas.values()]
            if holder in NAMES and all(working) and doors.since(time.time() - 1, holder):
                return holder


async def _works(replica: ServiceProcess, client: httpx2.AsyncClient) -> bool:
    """Whether it has its database, and so looks after the lease: it waits for nothing but the broker then."""
    try:
        answer = await client.get(f"{replica.url}/readyz")
    except httpx2.TransportError:
        return False
    return "broker" in answer.text


def _replicas(folder: Path, dsn: str, doors: Doors, settings: Mapping[str, str]) -> dict[str, ServiceProcess]:
    keys, made = KeyFolder(folder / "keys"), {}
    key = str(keys.make("provisioner"))
    for name, port in zip(NAMES, free_ports(len(NAMES)), strict=True):
        environment = {
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            "JIT_ENV": "development",
            "JIT_SIGNING_KEY_FILE": key,
            "JIT_PUBLIC_KEYS_DIR": str(keys.public),
            "JIT_DATABASE_URL": dsn,
            "JIT_KAFKA_BOOTSTRAP": '["127.0.0.1:9"]',
            "JIT_PORT": str(port),
            "JIT_REPLICA": name,
            "JIT_AWS_ENDPOINT": doors.urls[name],
            "JIT_AWS_REGION": "eu-central-1",
            "JIT_CALLS_PER_SECOND": "1000",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            **settings,
        }
        (folder / name).mkdir()
        made[name] = ServiceProcess("provisioner", port, environment, ("-m", "cli.main"), folder / name)
    return made


async def _keep_ending(dsn: str, aws: Controls) -> None:
    """An access ends every 100 ms, for ever."""
    conn = await asyncpg.connect(dsn)
    ending = Ending(aws, random.Random(20260302))
    try:
        while True:
            user, account = ending.next()
            await ending.put(conn, user, account, datetime.now(UTC) + timedelta(seconds=1))
            await asyncio.sleep(_EVERY_S)
    finally:
        await conn.close()


async def _cancel(task: asyncio.Task[None]) -> None:
    """Raises what it failed with before."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
