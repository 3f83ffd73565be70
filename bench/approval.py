"""From the last approval to AWS: votes at a steady rate, and when the simulator saw the calls they led to.

Five services in their own processes, real Kafka and PostgreSQL, AWS's limits off. Prints one JSON line:
from the vote's answer to the first call about that account, and to the creation. Bounded: `--tickets`
votes at `--rate` per second, once.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.client import Person
from bench.day import put_demo
from bench.fleet import Fleet, fleet
from local.postgres_home import remove_home
from shared.observability import logs

SIMULATOR = {
    "rate_per_second": {"sso-admin": 0, "identitystore": 0, "organizations": 0},
    "slots": 0,
    "create_seconds": {"low": 0.2, "high": 1.0},
    "account_serialisation": "off",
}
SERVICES = {
    "provisioner": {"JIT_CALLS_PER_SECOND": "100000", "JIT_SLOTS": "1000", "JIT_GRANT_SLOTS": "1000"},
}
TARGET_MS = {"p50": 50, "p99": 150}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.approval", description=__doc__)
    parser.add_argument(
        "--tickets", type=int, default=60, help="one per development or test account, at most"
    )
    parser.add_argument("--rate", type=float, default=50, help="votes per second")
    given = parser.parse_args()
    logs.configure(fmt="console", level="ERROR")
    with tempfile.TemporaryDirectory(prefix="jit-approval-") as folder:
        try:
            result = asyncio.run(_run(Path(folder), tickets=given.tickets, rate=given.rate))
        finally:
            remove_home(Path(folder) / "pg")
    print(json.dumps(result))
    return 0


async def _run(folder: Path, *, tickets: int, rate: float) -> dict[str, Any]:
    async with fleet(folder, simulator_settings=SIMULATOR, service_settings=SERVICES) as running:
        await put_demo(running)
        waiting = await _tickets_that_wait(running, tickets)
        answered = await _vote(running, waiting, rate)
        calls = await _calls(running, set(answered))
    first = [calls[account]["first"] - moment for account, moment in answered.items() if account in calls]
    create = [calls[account]["create"] - moment for account, moment in answered.items() if account in calls]
    spread = _spread(first)
    return {
        "bench": "last approval to AWS",
        "tickets": len(answered),
        "rate_per_s": rate,
        "first_call_ms": spread,
        "create_call_ms": _spread(create),
        "target_ms": TARGET_MS,
        "holds": all(spread[name] <= limit for name, limit in TARGET_MS.items()),
    }


async def _tickets_that_wait(running: Fleet, count: int) -> list[dict[str, Any]]:
    """One ticket for each of so many accounts, its review open: the reviews."""
    world = running.organisation
    accounts = [
        one.id
        for one in world.accounts.values()
        if world.names_to(one.parent).startswith("nonprod/") and one.state == "ACTIVE"
    ][:count]
    set_id = world.find_set("PowerUser").arn.rsplit("/", 1)[-1]
    ann, bob = Person(running, "ann"), Person(running, "bob")
    for account in accounts:
        body = {
            "targets": [{"account": account, "set": set_id}],
            "duration": "PT1H",
            "reason": "measure how long it takes",
        }
        reply = await ann.call("POST", "/v1/tickets", body)
        if reply.status != 201:
            raise RuntimeError(f"submit answered {reply.status}: {reply.body}")
    async with asyncio.timeout(60):
        while True:
            reply = await bob.call("GET", "/v1/reviews?waiting_for=me&limit=200")
            if len(reply.body["items"]) >= len(accounts):
                waiting: list[dict[str, Any]] = reply.body["items"]
                return waiting
            await asyncio.sleep(0.2)


async def _vote(running: Fleet, waiting: list[dict[str, Any]], rate: float) -> dict[str, float]:
    """Votes at a steady rate; the moment each was answered, by account."""
    bob = Person(running, "bob")
    loop = asyncio.get_running_loop()
    begun = loop.time()
    answered: dict[str, float] = {}

    async def vote(number: int, review: dict[str, Any]) -> None:
        await asyncio.sleep(begun + number / rate - loop.time())
        body = {"verdict": "approve"}
        read = {"If-Match": f'"{review["version"]}"'}
        reply = await bob.call("POST", f"/v1/reviews/{review['id']}/decisions", body, read)
        if reply.status not in {200, 201}:
            raise RuntimeError(f"vote answered {reply.status}: {reply.body}")
        answered[review["account_id"]] = reply.answered

    await asyncio.gather(*(vote(number, one) for number, one in enumerate(waiting)))
    return answered


async def _calls(running: Fleet, accounts: set[str]) -> dict[str, dict[str, float]]:
    """When the simulator saw the first call about each account, and the creation."""
    async with asyncio.timeout(60):
        while True:
            seen: dict[str, dict[str, float]] = {}
            for call in (await running.simulate("GET", "/calls"))["calls"]:
                account = call["params"].get("AccountId") or call["params"].get("TargetId")
                if account not in accounts or call["service"] != "sso-admin":
                    continue
                found = seen.setdefault(account, {"first": call["time"]})
                if call["operation"] == "CreateAccountAssignment":
                    found.setdefault("create", call["time"])
            if len([one for one in seen.values() if "create" in one]) == len(accounts):
                return seen
            await asyncio.sleep(0.5)


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p99": 0.99}
    spread = {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in at.items()}
    return {name: round(value * 1000, 1) for name, value in {**spread, "max": ordered[-1]}.items()}


if __name__ == "__main__":
    sys.exit(main())
