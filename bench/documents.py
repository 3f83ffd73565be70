"""What documents cost at size: first write, start, restart, a changed membership, a replica's memory.

JSON lines. 20,000 users, 5,000 accounts, 50 sets, and groups, one of which has everybody. The owner is a
provisioner in this process with a database of its own; the replica is another process that reads the topic as
a service does. The broker is as for bench.hop. `python -m bench.documents [--users 20000] [--accounts 5000]`
"""

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.hop import a_broker
from shared.contracts import documents as doc
from shared.contracts.event import Revisions
from shared.database.pool import Pool
from shared.documents import document_store
from shared.documents.tables import Tables
from shared.foundation.clock import Clock
from shared.foundation.settings import KafkaSettings
from shared.messaging.keys import PublicKeys
from shared.messaging.outbox import MARKER_TYPE
from shared.messaging.signing import Trust
from shared.observability import logs
from shared.policy.policy import Policy
from shared.runtime.service import Parts, Service
from tests.support.corridor import create_topics, settings_for
from tests.support.harness import service_database, with_pool
from tests.support.servers import Broker, embedded_postgres
from tests.support.signing import INSTANCE, KEYS, key_settings
from tests.support.waiting import until

EVERYBODY: Final = "group-everybody"
CHANGES: Final = 20
LONGEST_S: Final = 120.0


@dataclass(frozen=True)
class Size:
    users: int
    accounts: int
    sets: int = 50
    groups: int = 400
    memberships: int = 4
    """Groups that each user is in, besides the one that has everybody."""


def organisation(size: Size, *, seed: int = 1) -> list[doc.Document]:
    """Ids, names and tags as long as AWS's and a company's are."""
    rng = random.Random(seed)
    users = [_user(number) for number in range(size.users)]
    members: dict[str, list[str]] = {EVERYBODY: [user.id for user in users]}
    for user in users:
        for number in rng.sample(range(size.groups), size.memberships):
            members.setdefault(_uuid("group", number), []).append(user.id)
    return [
        *(doc.OrganizationalUnit(id=f"ou-{n:04}", name=f"unit {n}", parent="ou-0000") for n in range(100)),
        *(_account(number, rng) for number in range(size.accounts)),
        *(_set(number) for number in range(size.sets)),
        *users,
        *(doc.Group(id=group, name=f"{group} of the directory") for group in members),
        *(shard for group, inside in members.items() for shard in doc.Membership.shards(group, inside)),
    ]


def _user(number: int) -> doc.User:
    name = f"firstname.lastname{number:05}"
    return doc.User(
        id=_uuid("user", number),
        user_name=f"{name}@example.com",
        display_name=f"Firstname Lastname {number:05}",
        email=f"{name}@example.com",
        external_ids=(doc.ExternalId(issuer="https://scim.aws.com/0123456789", id=_uuid("extern", number)),),
    )


def _account(number: int, rng: random.Random) -> doc.Account:
    tags = {
        "env": rng.choice(("prod", "test", "dev")),
        "team": f"team-{rng.randrange(300)}",
        "cost": f"{number}",
    }
    ous = ("ou-0000", f"ou-{rng.randrange(1, 100):04}")
    return doc.Account(id=f"{number:012}", name=f"company-team-{number}", state="ACTIVE", ous=ous, tags=tags)


def _set(number: int) -> doc.PermissionSet:
    set_id = f"ps-{number:016x}"
    return doc.PermissionSet(
        id=set_id,
        arn=f"arn:aws:sso:::permissionSet/ssoins-0123456789abcdef/{set_id}",
        name=f"Set{number}",
        digest=f"{number:064x}",
        summary=("arn:aws:iam::aws:policy/ReadOnlyAccess", "an inline policy of 3 statements"),
    )


def _uuid(kind: str, number: int) -> str:
    return f"{sum(kind.encode()):010x}-{number:08x}-0000-4000-8000-{number:012x}"


# the replica, a process of its own


async def replica(bootstrap: str, public_keys: Path) -> None:
    """Read everything; then say for each revision on stdin when it was here."""
    before = resident_mb()
    policy = Policy({}, clock=Clock(), stale_after=timedelta(minutes=1))
    settings = KafkaSettings(bootstrap=(bootstrap,))
    trust = Trust(INSTANCE, PublicKeys(public_keys))
    reading = asyncio.create_task(Tables(policy=policy, settings=settings, trust=trust).run())
    began = time.monotonic()
    await until(lambda: _is_read(policy), LONGEST_S, what="the inventory is complete")
    took = time.monotonic() - began
    gc.collect()
    _say(
        seconds=round(took, 2),
        rss_before_mb=before,
        rss_mb=resident_mb(),
        documents=len(policy._copies["provisioner"]._live),  # noqa: SLF001 (a bench that looks inside)
        members=len(policy.known().members_of(EVERYBODY)),
    )
    for line in iter(partial(asyncio.to_thread, sys.stdin.readline), None):
        if not (text := await line):
            break
        await policy.wait_for(Revisions(inventory=int(text)), timeout_s=LONGEST_S)
        _say(at=time.monotonic(), members=len(policy.known().members_of(EVERYBODY)))
    reading.cancel()


def _is_read(policy: Policy) -> bool:
    return not policy.catching_up and "provisioner" not in policy.unready_owners


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


@asynccontextmanager
async def reading(bootstrap: str) -> AsyncIterator[Process]:
    command = [sys.executable, "-m", "bench.documents", "--replica", bootstrap, "--keys", str(KEYS.public)]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await asyncio.wait_for(process.wait(), LONGEST_S)


async def heard(process: Process) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101 (it was made with a pipe)
    line = await asyncio.wait_for(process.stdout.readline(), LONGEST_S)
    answer: dict[str, Any] = json.loads(line)
    return answer


# the owner


async def store(owner: Service, documents: list[doc.Document]) -> dict[str, Any]:
    """As the first reading of AWS is written: in one transaction, to be seen as one."""
    began = time.monotonic()
    async with owner.context.unit_of_work() as work:
        await document_store.put(work, "provisioner", *documents, at=owner.context.clock.now())
    seconds = time.monotonic() - began
    pool = owner.context.pool
    by_kind = await pool.fetch("SELECT kind, count(*) AS count FROM document GROUP BY kind ORDER BY kind")
    return {
        "phase": "first_write",
        "documents": len(documents),
        "kinds": {row["kind"]: row["count"] for row in by_kind},
        "bytes": await pool.fetchval("SELECT sum(octet_length(payload)) FROM outbox"),
        "largest_bytes": await pool.fetchval("SELECT max(octet_length(payload)) FROM outbox"),
        "seconds": round(seconds, 2),
    }


async def start(make: Callable[[], Service], phase: str) -> tuple[Service, dict[str, Any]]:
    """Start the owner and wait until its topic is complete and everything is sent."""
    owner = make()
    began = time.monotonic()
    await owner.start()
    await until(lambda: owner.context.has_pool, LONGEST_S, what="the database")
    pool = owner.context.pool
    await until(partial(_is_complete, pool), LONGEST_S, what="the topic is complete")
    seconds = time.monotonic() - began
    rows, size = await _published(pool)
    return owner, {"phase": phase, "published": rows, "bytes": size, "seconds": round(seconds, 2)}


async def _published(pool: Pool, *, after: int = 0) -> tuple[int, int]:
    """Documents that were handed to the relay since, and their bytes."""
    row = await pool.fetchrow(
        """
        SELECT count(*) AS rows, coalesce(sum(octet_length(payload)), 0)::bigint AS bytes
        FROM outbox WHERE id > $1 AND type <> $2
        """,
        after,
        MARKER_TYPE,
    )
    return (row["rows"], row["bytes"]) if row else (0, 0)


async def _is_complete(pool: Pool) -> bool:
    row = await pool.fetchrow(
        """
        SELECT count(*) FILTER (WHERE type = $1) AS markers, count(*) FILTER (WHERE sent_at IS NULL) AS unsent
        FROM outbox
        """,
        MARKER_TYPE,
    )
    return bool(row and row["markers"] and not row["unsent"])


async def change(owner: Service, replica: Process, members: set[str], user: str) -> tuple[float, int, int]:
    """Take one person out of the largest group, or back in: ms until the replica has it, rows, bytes."""
    assert replica.stdin is not None  # noqa: S101 (it was made with a pipe)
    members ^= {user}
    pool, shard = owner.context.pool, doc.shard_of(EVERYBODY, user)
    (document,) = (one for one in doc.Membership.shards(EVERYBODY, members) if one.id == shard)
    last = await pool.fetchval("SELECT max(id) FROM outbox")
    revision = 1 + await pool.fetchval("SELECT revision FROM document_counter")
    replica.stdin.write(f"{revision}\n".encode())
    await replica.stdin.drain()
    await asyncio.sleep(0.05)
    began = time.monotonic()
    async with owner.context.unit_of_work() as work:
        now = owner.context.clock.now()
        await document_store.put(work, "provisioner", document, at=now)
        await document_store.publish_marker(work, "provisioner", at=now)
    answer = await heard(replica)
    assert answer["members"] == len(members)  # noqa: S101 (a bench that judges)
    rows, size = await _published(pool, after=last)
    return 1000 * (answer["at"] - began), rows, size


async def changes(owner: Service, replica: Process, users: list[str]) -> dict[str, Any]:
    members = set(users)
    found = [await change(owner, replica, members, users[n * 7 % len(users)]) for n in range(CHANGES)]
    times = sorted(ms for ms, _, _ in found)
    return {
        "phase": "membership_change",
        "members": len(users),
        "rows": max(rows for _, rows, _ in found),
        "bytes": max(size for _, _, size in found),
        "p50_ms": round(statistics.median(times), 1),
        "max_ms": round(times[-1], 1),
        "changes": CHANGES,
    }


async def measure(admin_dsn: str, found: Broker, size: Size) -> AsyncIterator[dict[str, Any]]:
    await create_topics(found)
    documents = organisation(size)
    async with service_database(admin_dsn, "provisioner") as dsn:
        make = partial(
            Service, "provisioner", settings_for(dsn, found, **key_settings("provisioner")), Parts()
        )
        async with with_pool(make()) as writer:
            yield await store(writer, documents)
            await writer.context.pool.execute("DELETE FROM outbox")  # the topic stays empty
        owner, line = await start(make, "start_with_an_empty_topic")
        yield line
        async with reading(found.bootstrap) as other:
            yield {"phase": "replica", **await heard(other)}
            yield await changes(owner, other, [one.id for one in documents if isinstance(one, doc.User)])
        await owner.context.pool.execute("DELETE FROM outbox")
        await owner.stop()
        owner, line = await start(make, "restart_with_a_full_topic")
        await owner.stop()
        yield line


async def print_all(admin_dsn: str, name: str, found: Broker, size: Size) -> None:
    async for line in measure(admin_dsn, found, size):
        print(json.dumps({"bench": "documents", "broker": name, "users": size.users, **line}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.documents", description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--accounts", type=int, default=5_000)
    parser.add_argument("--replica", metavar="ADDRESS", help=argparse.SUPPRESS)
    parser.add_argument("--keys", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logs.configure(fmt="console", level="ERROR")
    if options.replica:
        asyncio.run(replica(options.replica, options.keys))
        return 0
    with embedded_postgres() as postgres, a_broker() as (name, found):
        asyncio.run(print_all(postgres.admin_dsn, name, found, Size(options.users, options.accounts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
