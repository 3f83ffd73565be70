"""`POST /v1/tickets` at a steady rate, with ticket, PostgreSQL and Kafka alone: `python -m bench.submit`.

Five services start, and the demo's documents are put in; then all but ticket are stopped, which goes on with
the documents it has. Every request asks for an account and set of its own. One JSON line for each run:
- `answer_ms`: from the moment at which a request was to be sent, so that waiting for earlier ones counts
- `cpu_ms`: of a request, by process; the machine's other work weighs on the answers, hardly on this
- `events_behind`: what the outbox had not sent when the last was answered
Bounded: `--seconds` of requests at `--rate`, `--runs` times, each after a warm-up of `--warm-up` requests.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench.approval import ACCOUNTS, SIMULATOR, Pair, pairs_of, put_rules, spread
from bench.client import Person
from bench.cpu import cpu_seconds, parent_of
from bench.day import put_demo
from bench.fleet import Fleet, fleet
from bench.start import enlarged
from local.postgres_home import remove_home
from shared.observability import logs

TARGET_MS: Final = 50.0
SERVICES: Final = {"ticket": {"JIT_TABLE_STALE_AFTER_S": "3600"}}
"""Nobody publishes markers once the others are stopped."""
ALONE: Final = ("approval", "provisioner", "notifier", "audit")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.submit", description=__doc__)
    parser.add_argument("--rate", type=float, default=100, help="requests per second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--warm-up", type=int, default=200)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    logs.configure(fmt="console", level="ERROR")
    with tempfile.TemporaryDirectory(prefix="jit-submit-") as folder:
        try:
            asyncio.run(_run(Path(folder), given))
        finally:
            remove_home(Path(folder) / "pg")
    return 0


async def _run(folder: Path, given: argparse.Namespace) -> None:
    world = folder / "organisation.yaml"
    world.write_text(enlarged(ACCOUNTS), encoding="utf-8")
    async with fleet(folder, simulator_settings=SIMULATOR, service_settings=SERVICES, world=world) as running:
        await put_demo(running)
        await put_rules(running)
        await Person(running, "ann").call("GET", "/v1/tickets")  # the provisioner has to have seen her
        for name in ALONE:
            running.services[name].stop()
        pairs = iter(pairs_of(running))
        for _ in range(given.runs):
            await _submit(running, list(islice(pairs, given.warm_up)), rate=min(given.rate, 20))
            asked = list(islice(pairs, round(given.rate * given.seconds)))
            before = await _cpu(running)
            answer_ms = spread(await _submit(running, asked, rate=given.rate))
            used = {name: seconds - before[name] for name, seconds in (await _cpu(running)).items()}
            line = {
                "bench": "submit", "rate_per_s": given.rate, "tickets": len(asked), "answer_ms": answer_ms,
                "cpu_ms": {name: round(seconds * 1000 / len(asked), 1) for name, seconds in used.items()},
                "events_behind": await _behind(running), "target_ms": TARGET_MS,
                "holds": answer_ms["p99"] <= TARGET_MS,
            }  # fmt: skip
            print(json.dumps(line), flush=True)


async def _submit(running: Fleet, pairs: list[Pair], *, rate: float) -> list[float]:
    """How long each took, in seconds; raises where one is refused."""
    ann, loop = Person(running, "ann"), asyncio.get_running_loop()
    begun = loop.time() + 0.1

    async def one(number: int, pair: Pair) -> float:
        due = begun + number / rate
        await asyncio.sleep(due - loop.time())
        reply = await ann.call("POST", "/v1/tickets", _body(pair))
        if reply.status != 201:
            raise RuntimeError(f"submit answered {reply.status}: {reply.body}")
        return loop.time() - due

    return await asyncio.gather(*(one(number, pair) for number, pair in enumerate(pairs)))


def _body(pair: Pair) -> dict[str, Any]:
    account, arn = pair
    target = {"account": account, "set": arn.rsplit("/", 1)[-1]}
    return {"targets": [target], "duration": "PT8H", "reason": "measure how long it takes"}


async def _cpu(running: Fleet) -> dict[str, float]:
    conn = await asyncpg.connect(running.postgres.admin_dsn)
    try:
        postmaster = parent_of(await conn.fetchval("SELECT pg_backend_pid()"))
    finally:
        await conn.close()
    ticket = running.services["ticket"].pid
    return cpu_seconds({"ticket": ticket, "postgres": postmaster, "kafka": running.kafka.process_id})


async def _behind(running: Fleet) -> int:
    conn = await asyncpg.connect(running.dsn("ticket"))
    try:
        unsent: int = await conn.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL")
        return unsent
    finally:
        await conn.close()


if __name__ == "__main__":
    sys.exit(main())
