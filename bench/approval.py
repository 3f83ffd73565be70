"""From the last approval to AWS: votes at a steady rate, when AWS was called for them, and what they cost.

Five services in their own processes, real Kafka and PostgreSQL, AWS's limits off; every ticket asks for an
account and set of its own. One JSON line for each rate and run:
- `first_call_ms`: from the vote's answer to the first call to AWS about that account and set
- `cpu_ms_per_approval`: CPU of each process, less what it takes when idle, until nothing waits anywhere
- `behind_at_end`: records and mails that waited when the last vote was answered; `drained_s`: until none did
Bounded: `--seconds` of votes for each of `--rates`, `--runs` times, after a warm-up.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

from bench.client import Person
from bench.cpu import cpu_seconds, parent_of
from bench.day import put_demo
from bench.fleet import Fleet, fleet
from bench.lag import records_behind
from bench.mail_sink import mail_sink
from bench.start import enlarged
from local.postgres_home import remove_home
from shared.observability import logs

SIMULATOR: Final = {
    "rate_per_second": {"sso-admin": 0, "identitystore": 0, "organizations": 0},
    "slots": 0,
    "create_seconds": {"low": 0.2, "high": 1.0},
    "account_serialisation": "off",
}
SERVICES: Final = {
    "provisioner": {"JIT_CALLS_PER_SECOND": "100000", "JIT_SLOTS": "1000", "JIT_GRANT_SLOTS": "1000"},
}
ACCOUNTS: Final = 400
WARM_UP: Final = 60
IDLE_S: Final = 10.0
LOOK_EVERY_S: Final = 2.0
"""Looking costs the servers too."""
AT_ONCE: Final = 8
DRAINED_WITHIN_S: Final = 300.0
COUNTED: Final = ("ticket", "approval", "provisioner", "notifier", "audit", "postgres", "kafka")

Pair = tuple[str, str]
"""An account and a set's ARN: what a call about one ticket names."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.approval", description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[2, 25, 50], help="votes per second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    logs.configure(fmt="console", level="ERROR")
    for _ in range(given.runs):
        for rate in given.rates:
            with tempfile.TemporaryDirectory(prefix="jit-approval-") as folder:
                try:
                    uvloop.run(_run(Path(folder), rate=rate, seconds=given.seconds))
                finally:
                    remove_home(Path(folder) / "pg")
    return 0


async def _run(folder: Path, *, rate: float, seconds: float) -> None:
    world = folder / "organisation.yaml"
    world.write_text(enlarged(ACCOUNTS), encoding="utf-8")
    async with (
        mail_sink() as port,
        fleet(
            folder,
            simulator_settings=SIMULATOR,
            service_settings=SERVICES | {"notifier": {"JIT_SMTP_PORT": str(port)}},
            world=world,
        ) as running,
    ):
        await put_demo(running)
        await put_rules(running)
        pairs = iter(pairs_of(running))
        await _wave(running, [next(pairs) for _ in range(WARM_UP)], rate=min(rate, 10))
        measured = await _wave(running, [next(pairs) for _ in range(round(rate * seconds))], rate=rate)
    print(json.dumps(measured), flush=True)


async def put_rules(running: Fleet) -> None:
    """Developers may ask for every set in sandboxes; one stage decides."""
    root, world = Person(running, "root"), running.organisation
    sandboxes = f"ou:{world.find_parent('sandbox')}"
    scope = {
        "name": "bench",
        "subjects": [f"group:{world.find_group('dev').id}"],
        "accounts": sandboxes,
        "sets": "*",
        "max_duration": "P1D",
    }
    rule = {
        "name": "Sandboxes",
        "accounts": sandboxes,
        "sets": "*",
        "stages": [{"approvers": [f"group:{world.find_group('managers').id}"], "needed": 1}],
    }
    read = await root.call("GET", "/v1/rules/sandbox")
    for path, body, headers in (
        ("/v1/scopes/bench", scope, {}),
        ("/v1/rules/sandbox", rule, {"If-Match": read.headers["etag"]}),
    ):
        reply = await root.call("PUT", path, body, headers)
        if reply.status not in {200, 201}:
            raise RuntimeError(f"PUT {path} answered {reply.status}: {reply.body}")
    await asyncio.sleep(2)  # until all services have read it


def pairs_of(running: Fleet) -> list[Pair]:
    world = running.organisation
    accounts = [one.id for one in world.accounts.values() if world.names_to(one.parent) == "sandbox"]
    sets = [one.arn for one in world.permission_sets.values() if one.name not in {"Auditor", "Workplace"}]
    return [(account, arn) for arn in sets for account in accounts]


async def _wave(running: Fleet, pairs: list[Pair], *, rate: float) -> dict[str, Any]:
    """Ask for all of these; once nothing moves vote at the rate, and wait until nothing moves again."""
    await _ask(running, pairs)
    reviews = await _open_reviews(running, len(pairs))
    await _until_drained(running)
    idle = await _idle(running)
    before, begun = await _cpu(running), time.time()
    answered = await _vote(running, reviews, rate)
    behind = await _behind(running)
    await _until_drained(running)
    took = time.time() - begun
    used = {name: (await _cpu(running))[name] - before[name] - idle[name] * took for name in COUNTED}
    calls = await _first_calls(running, set(answered))
    waits = [calls[pair] - moment for pair, moment in answered.items()]
    cost = {name: round(seconds * 1000 / len(answered), 1) for name, seconds in used.items()}
    return {
        "bench": "approval",
        "rate_per_s": rate,
        "approvals": len(answered),
        "first_call_ms": spread(waits),
        "cpu_ms_per_approval": {**cost, "total": round(sum(cost.values()), 1)},
        "behind_at_end": behind,
        "drained_s": round(took - len(answered) / rate, 1),
    }


async def _ask(running: Fleet, pairs: list[Pair]) -> None:
    ann, left = Person(running, "ann"), iter(pairs)

    async def work() -> None:
        for account, arn in left:
            target = {"account": account, "set": arn.rsplit("/", 1)[-1]}
            body = {"targets": [target], "duration": "PT8H", "reason": "measure how long it takes"}
            reply = await ann.call("POST", "/v1/tickets", body)
            if reply.status != 201:
                raise RuntimeError(f"submit answered {reply.status}: {reply.body}")

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def _open_reviews(running: Fleet, count: int) -> list[dict[str, Any]]:
    bob = Person(running, "bob")
    async with asyncio.timeout(DRAINED_WITHIN_S):
        while True:
            found: list[dict[str, Any]] = []
            cursor = ""
            while True:
                reply = await bob.call("GET", f"/v1/reviews?waiting_for=me&limit=200{cursor}")
                found += reply.body["items"]
                if reply.body["next_cursor"] is None:
                    break
                cursor = f"&cursor={reply.body['next_cursor']}"
            if len(found) >= count:
                return found
            await asyncio.sleep(1)


async def _vote(running: Fleet, reviews: list[dict[str, Any]], rate: float) -> dict[Pair, float]:
    """Votes at a steady rate; the moment each was answered."""
    bob = Person(running, "bob")
    arns = {one.arn.rsplit("/", 1)[-1]: one.arn for one in running.organisation.permission_sets.values()}
    loop = asyncio.get_running_loop()
    begun = loop.time()
    answered: dict[Pair, float] = {}

    async def vote(number: int, review: dict[str, Any]) -> None:
        await asyncio.sleep(begun + number / rate - loop.time())
        read = {"If-Match": f'"{review["version"]}"'}
        body = {"verdict": "approve"}
        reply = await bob.call("POST", f"/v1/reviews/{review['id']}/decisions", body, read)
        if reply.status not in {200, 201}:
            raise RuntimeError(f"vote answered {reply.status}: {reply.body}")
        answered[review["account_id"], arns[review["set_id"]]] = reply.answered

    await asyncio.gather(*(vote(number, one) for number, one in enumerate(reviews)))
    return answered


async def _first_calls(running: Fleet, pairs: set[Pair]) -> dict[Pair, float]:
    """When the simulator saw the first call about each."""
    seen: dict[Pair, float] = {}
    for call in (await running.simulate("GET", "/calls"))["calls"]:
        if call["service"] == "sso-admin":
            account = call["params"].get("AccountId") or call["params"].get("TargetId")
            seen.setdefault((account, call["params"].get("PermissionSetArn")), call["time"])
    return {pair: at for pair, at in seen.items() if pair in pairs}


async def _behind(running: Fleet) -> int:
    """Rows, records and mails that wait anywhere between a vote and the end of what follows from it."""
    waiting = await records_behind(running.kafka.bootstrap)
    for service, sql in _WAITING:
        conn = await asyncpg.connect(running.dsn(service))
        try:
            waiting += await conn.fetchval(sql)
        finally:
            await conn.close()
    return waiting


_UNSENT: Final = "SELECT count(*) FROM outbox WHERE sent_at IS NULL"
_WAITING: Final = (
    *((service, _UNSENT) for service in ("ticket", "approval", "provisioner", "notifier", "audit")),
    ("notifier", "SELECT count(*) FROM delivery WHERE state = 'pending'"),
    ("provisioner", "SELECT count(*) FROM claim WHERE state IN ('waiting', 'scheduled', 'granting')"),
)


async def _until_drained(running: Fleet) -> None:
    async with asyncio.timeout(DRAINED_WITHIN_S):
        while await _behind(running):  # noqa: ASYNC110 (other processes set no event)
            await asyncio.sleep(LOOK_EVERY_S)


async def _cpu(running: Fleet) -> dict[str, float]:
    conn = await asyncpg.connect(running.postgres.admin_dsn)
    try:
        postmaster = parent_of(await conn.fetchval("SELECT pg_backend_pid()"))
    finally:
        await conn.close()
    pids = {name: service.pid for name, service in running.services.items()}
    return cpu_seconds({**pids, "postgres": postmaster, "kafka": running.kafka.process_id})


async def _idle(running: Fleet) -> dict[str, float]:
    """Seconds of CPU a second, of processes that have nothing to do."""
    before = await _cpu(running)
    await asyncio.sleep(IDLE_S)
    after = await _cpu(running)
    return {name: (after[name] - before[name]) / IDLE_S for name in COUNTED}


def spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p99": 0.99}
    spread = {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in at.items()}
    return {name: round(value * 1000, 1) for name, value in {**spread, "max": ordered[-1]}.items()}


if __name__ == "__main__":
    sys.exit(main())
