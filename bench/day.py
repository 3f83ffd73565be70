"""`make day`: a working day in minutes, with services killed and the broker bounced, judged from outside.

Prints one JSON object with counts and latencies; exits 1 on any violation. `--fault` puts a fault in on
purpose: the judge must then find violations, and the exit is still 1.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.client import Person
from bench.day_intruder import intruder
from bench.day_judge import judge, settle_down
from bench.day_people import Day
from bench.day_truth import Verdict, assignment_key
from bench.fleet import Fleet, fleet
from bench.judged import add_common, run_judged
from bench.quiet import Quiet, until_compared, watch
from local.seed import seed as seed_demo

FAULTS = {
    "lost-event": ("ticket",),
    "skipped-read-back": ("provisioner",),
    "forged-approval": ("approval", "ticket", "provisioner"),
    "claim-count": ("provisioner",),
    "unproven-believed": ("ticket", "approval", "provisioner"),
    "poison-waited-for": ("provisioner",),
}
"""Fault to the services it is put into; see bench/sabotage.py. No single one can forge an approval."""

LIST_LAG_S = 0.5
SIMULATOR = {
    "rate_per_second": {"sso-admin": 20, "identitystore": 20, "organizations": 0},
    "create_seconds": {"low": 0.2, "high": 1.0},
    "delete_seconds": {"low": 0.2, "high": 1.0},
    "list_lag_seconds": LIST_LAG_S,
}
SERVICES = {
    "ticket": {"JIT_SHORTEST_WINDOW": "PT5S", "JIT_TIMER_EVERY": "PT1S"},
    # An operation lasts a second here; what nobody can follow is waited for no longer than the day's end is.
    "provisioner": {"JIT_SETTLE_TIME_S": "3", "JIT_OPERATION_LONGEST_S": "20"},
    # A mail that a killed notifier was sending is free again after half as long again.
    "notifier": {"JIT_MAIL_SEND_WITHIN": "PT6S", "JIT_MAIL_FIRST_DELAY": "PT2S"},
}
STRIKES = (
    {"operation": "CreateAccountAssignment", "kind": "fail_async", "probability": 0.04},
    {"operation": "CreateAccountAssignment", "kind": "fail_async", "partial": True, "probability": 0.02},
    {"operation": "CreateAccountAssignment", "kind": "reset_after_accept", "probability": 0.03},
    {"operation": "DeleteAccountAssignment", "kind": "fail_async", "probability": 0.05},
    {"operation": "DeleteAccountAssignment", "kind": "reset_after_accept", "probability": 0.03},
    {"operation": "*", "kind": "http500", "probability": 0.01},
)


QUIET_EVERY_S = 5.0
QUIET_WITHIN_S = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.day", description=__doc__)
    add_common(parser, seconds=300, tickets=300)
    parser.add_argument("--fault", choices=sorted(FAULTS), help="break something and see the judge find it")
    parser.add_argument("--calm", action="store_true", help="no kills and no faults at AWS")
    return run_judged(parser.parse_args(), "day", _run)


async def _run(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    broken = FAULTS.get(given.fault, ())
    commands = dict.fromkeys(broken, ("-m", "bench.sabotage", given.fault))
    started = time.monotonic()
    async with fleet(
        folder, simulator_settings=SIMULATOR, service_settings=SERVICES, commands=commands, seed=given.seed
    ) as running:
        await put_demo(running)
        standing = {
            assignment_key(row) for row in (await running.simulate("GET", "/assignments"))["assignments"]
        }
        quiet = Quiet.beside(standing)
        if not given.calm:
            for number, strike in enumerate(STRIKES):
                await running.simulate("POST", "/faults", {**strike, "seed": given.seed * 100 + number})
        async with intruder(running) as outsider:
            day = Day(running, outsider, seed=given.seed)
            beside = [
                asyncio.create_task(_chaos(running, given)),
                asyncio.create_task(watch(running, quiet, every_s=QUIET_EVERY_S)),
            ]
            try:
                await day.run(tickets=given.tickets, seconds=given.seconds)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
        await _everybody_up(running)
        await settle_down(running, longest=timedelta(minutes=10))
        await until_compared(running, quiet, seconds=QUIET_WITHIN_S)
        verdict = await judge(running, day.outcome, standing)
        quiet.judge(verdict)
        return _summary(verdict, running, given, seconds=time.monotonic() - started)


async def put_demo(running: Fleet) -> None:
    root = Person(running, "root")

    async def call(method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        reply = await root.call(method, path, body, headers)
        return _Answer(reply.status, reply.body, reply.headers)

    await seed_demo(call, running.organisation, done=running.folder / "seeded")


class _Answer:
    """A reply as the seed wants to see it."""

    def __init__(self, status: int, body: Any, headers: Any) -> None:
        self.status_code = status
        self.headers = headers
        self.text = json.dumps(body)
        self.json = lambda: body


async def _chaos(running: Fleet, given: argparse.Namespace) -> None:
    """Kill each service at random about every half minute, and bounce the broker about every minute."""
    if given.calm:
        return
    names = sorted(running.services)
    await asyncio.gather(
        *(
            _kill_now_and_then(running, name, random.Random(given.seed * 31 + n))
            for n, name in enumerate(names)
        ),
        _bounce_now_and_then(running, random.Random(given.seed * 31 + len(names))),
    )


async def _kill_now_and_then(running: Fleet, name: str, dice: random.Random) -> None:
    while True:
        await asyncio.sleep(min(60.0, 5 + dice.expovariate(1 / 25)))
        await running.services[name].restart(running.client, after=dice.uniform(0.2, 2))


async def _bounce_now_and_then(running: Fleet, dice: random.Random) -> None:
    while True:
        await asyncio.sleep(20 + dice.expovariate(1 / 40))
        await running.bounce_broker(after=dice.uniform(1, 4))


async def _everybody_up(running: Fleet) -> None:
    for service in running.services.values():
        if not service.running:
            service.start()
        await service.until_ready(running.client)


def _summary(
    verdict: Verdict, running: Fleet, given: argparse.Namespace, *, seconds: float
) -> dict[str, Any]:
    return {
        "violations": verdict.violations,
        "counts": verdict.counts,
        "latencies_s": verdict.latencies_s,
        "kills": {name: len(one.kills) for name, one in running.services.items()},
        "broker_bounces": len(running.broker_downs),
        "provisioner_down_s": round(
            sum(one.until - one.since for one in running.services["provisioner"].downs), 1
        ),
        "seconds": round(seconds, 1),
        "tickets": given.tickets,
        "seed": given.seed,
        "fault": given.fault,
    }


if __name__ == "__main__":
    sys.exit(main())
