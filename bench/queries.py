"""Every list and audit query at 0, 20,000 and 200,000 tickets, each with ten audit records.

Each service has one connection to PostgreSQL, and is asked a hundred different questions on it before
anything is measured. Tickets, reviews and the audit log are asked over HTTP, within the process, where each
reading of the log is also recorded; grants and mails are read by their views. One JSON line for each question
and size, and one for each size with the worst of them:
- `p50_ms`, `p99_ms`: of `--times` answers, each on its own
- `found`: how many items the page had
`--only audit` asks one service. Some 15 GB of disk are used, and freed at the end.
"""

import argparse
import asyncio
import gc
import itertools
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from pydantic import SecretStr

from bench.filled import fill
from local.issuer import DevelopmentIssuer
from services.approval.__main__ import build as build_approval
from services.approval.settings import ApprovalSettings
from services.audit.__main__ import build as build_audit
from services.audit.settings import AuditSettings
from services.notifier import views as mails
from services.notifier.domain.delivery import State
from services.provisioner import views as grants
from services.ticket.__main__ import build as build_ticket
from services.ticket.settings import TicketSettings
from services.ticket.store import tickets
from shared.contracts.change import Change
from shared.contracts.ticket import TicketSubmitted
from shared.database.pool import Conn, create_pool
from shared.foundation.clock import ManualClock
from shared.observability import logs
from shared.runtime.service import Process, Service
from tests.approval.builders import ticket as ticket_to_approve
from tests.support import fact_parts, organisation
from tests.support.facts import example
from tests.support.harness import NOW, ready_tables, service_database
from tests.support.http import NO_LIMITS, api, issuer_server, trusted
from tests.support.servers import embedded_postgres
from tests.support.signing import key_settings
from tests.support.units import unit
from tests.support.work import deliver

SIZES: Final = (0, 20_000, 200_000)
TARGET_MS: Final = 50.0
HOT, USUAL = "111111111111", "500000000444"
OTHERS: Final = 100

Ask = Callable[[], Awaitable[int]]
"""One question; how many items it found."""
Asks = Callable[[str, int], Awaitable[tuple[Mapping[str, Ask], list[Ask]]]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.queries", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="tickets, growing")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--only", choices=_SERVICES, nargs="+", default=list(_SERVICES))
    given = parser.parse_args()
    logs.configure(fmt="console", level="ERROR")
    with (
        embedded_postgres() as server,
        tempfile.TemporaryDirectory(prefix="jit-queries-") as folder,
        issuer_server(Path(folder)) as issuer,
    ):
        for service in given.only:
            asyncio.run(_run(server.admin_dsn, issuer, service, given.sizes, given.times))
    return 0


async def _run(admin_dsn: str, issuer: DevelopmentIssuer, service: str, sizes: list[int], times: int) -> None:
    async with service_database(admin_dsn, service) as dsn, _SERVICES[service](dsn, issuer) as (asks, others):
        filled = 0
        for size in sizes:
            if size > filled:
                admin = f"{admin_dsn.rpartition('/')[0]}/{dsn.rpartition('/')[2]}"
                await fill(admin, service, filled + 1, size)
                filled = size
            for ask in others:
                await ask()
            gc.collect()
            gc.freeze()  # the tests' parts are many objects, and looking through them takes 100 ms
            measured = [await _measured(service, size, name, ask, times) for name, ask in asks.items()]
            worst = max(measured, key=lambda one: float(one["p99_ms"]))
            print(json.dumps({**worst, "bench": "queries_worst", "questions": len(asks)}), flush=True)


async def _measured(service: str, size: int, name: str, ask: Ask, times: int) -> dict[str, Any]:
    took = []
    for _ in range(times):
        begun = time.perf_counter()
        found = await ask()
        took.append((time.perf_counter() - begun) * 1000)
    took.sort()
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    line = {
        "bench": "queries", "service": service, "tickets": size, "question": name, "found": found,
        "p50_ms": round(took[len(took) // 2], 1), "p99_ms": round(p99, 1),
        "target_ms": TARGET_MS, "holds": p99 <= TARGET_MS,
    }  # fmt: skip
    print(json.dumps(line), flush=True)
    return line


def _sets(**filters: tuple[object, ...]) -> Iterator[dict[str, object]]:
    """Every combination of these filters and of leaving them out."""
    for values in itertools.product(*filters.values()):
        yield {name: value for name, value in zip(filters, values, strict=True) if value is not None}


@asynccontextmanager
async def _one_connection(service: Service, dsn: str) -> AsyncIterator[None]:
    pool = await create_pool(dsn, size=1)
    service.context.set_pool(pool)
    try:
        yield
    finally:
        service.context.set_pool(None)
        await pool.close()


def _process() -> Process:
    clock = ManualClock(NOW)
    return Process(clock, ready_tables(clock))


def _over_http(client: Any, path: str, query: Mapping[str, object]) -> Ask:
    async def ask() -> int:
        answer = await client.get(f"{path}?{urlencode(query)}")
        if answer.status_code != 200:
            raise RuntimeError(f"{path} {query} answered {answer.status_code}: {answer.text}")
        return len(answer.json()["items"])

    return ask


def _named(asks: Iterator[tuple[str, Any, str, dict[str, object]]]) -> dict[str, Ask]:
    return {f"{who} {path} {query}": _over_http(client, path, query) for who, client, path, query in asks}


Running = tuple[Mapping[str, Ask], list[Ask]]
"""What is measured, and what is asked before."""


@asynccontextmanager
async def _audit(dsn: str, issuer: DevelopmentIssuer) -> AsyncIterator[Running]:
    settings = AuditSettings(
        **key_settings("audit"),
        **NO_LIMITS,
        env="development",
        database_url=SecretStr(dsn),
        issuers=(trusted(issuer),),
        role_auditor=tuple(organisation.ROLES["auditor"]),
    )
    service = build_audit(settings, process=_process())
    queries = [
        query
        for query in _sets(
            actor=(None, "carl", "provisioner"),
            account_id=(None, HOT, USUAL),
            user_id=(None, "ann", "eve"),
            type=(None, "ticket.submitted", "rule.removed"),
            since=(None, "2024-12-01T00:00:00Z"),
            until=(None, "2024-03-01T00:00:00Z"),
        )
        if len(query) < 4
    ]
    path = "/v1/audit/events"
    async with _one_connection(service, dsn), api(service, issuer, "aud") as aud:
        asks = _named(iter([("aud", aud, path, query) for query in queries]))
        trail = {
            "a trail": _over_http(
                aud, "/v1/audit/events", {"ticket_id": "019774c6-9c00-7000-8000-000000000001"}
            )
        }
        yield {**asks, **trail}, list(asks.values())[:OTHERS]


@asynccontextmanager
async def _ticket(dsn: str, issuer: DevelopmentIssuer) -> AsyncIterator[Running]:
    settings = TicketSettings(
        **key_settings("ticket"),
        **NO_LIMITS,
        env="development",
        database_url=SecretStr(dsn),
        issuers=(trusted(issuer),),
        role_auditor=tuple(organisation.ROLES["auditor"]),
    )
    service = build_ticket(settings, process=_process())
    async with (
        _one_connection(service, dsn),
        api(service, issuer, "aud") as aud,
        api(service, issuer, "ann") as ann,
        api(service, issuer, "eve") as eve,
    ):
        async with unit(service.context.pool) as work:
            await tickets.add(work, Change(fact_parts.ticket()))
        queries = list(
            _sets(
                state=(None, "pending", "active", "failed", "rejected", "closed", "scheduled"),
                account_id=(None, HOT, USUAL),
            )
        )
        who: tuple[tuple[str, Any, dict[str, object]], ...] = (
            ("aud", aud, {"mine": "false"}), ("ann", ann, {}), ("eve", eve, {}),
        )  # fmt: skip
        asks = _named(
            (name, client, "/v1/tickets", {**more, **query})
            for name, client, more in who
            for query in queries
        )
        yield asks, list(asks.values())[:OTHERS]


@asynccontextmanager
async def _approval(dsn: str, issuer: DevelopmentIssuer) -> AsyncIterator[Running]:
    settings = ApprovalSettings(
        **key_settings("approval"),
        **NO_LIMITS,
        env="development",
        database_url=SecretStr(dsn),
        issuers=(trusted(issuer),),
        role_auditor=tuple(organisation.ROLES["auditor"]),
    )
    service = build_approval(settings, process=_process())
    async with (
        _one_connection(service, dsn),
        api(service, issuer, "aud") as aud,
        api(service, issuer, "ann") as ann,
        api(service, issuer, "carl") as carl,
    ):
        await deliver(service, _submitted())
        queries = list(
            _sets(
                waiting_for=("me", "all"),
                state=(None, "open", "approved", "rejected", "voided"),
                limit=(None, 20),
            )
        )
        who = (("aud", aud), ("ann", ann), ("carl", carl))
        asks = _named((name, client, "/v1/reviews", query) for name, client in who for query in queries)
        yield asks, list(asks.values())[:OTHERS]


def _submitted() -> TicketSubmitted:
    asked = ticket_to_approve()
    named = {"subject": asked.id, "version": asked.version, "ticket": asked, "at": NOW}
    return example(TicketSubmitted).model_copy(update=named)


@asynccontextmanager
async def _provisioner(dsn: str, _: DevelopmentIssuer) -> AsyncIterator[Running]:
    queries = _sets(
        user_id=(None, "user-ann", "user-eve"),
        ticket_id=(None, "019774c6-9c00-7000-8000-000000000002"),
        account_id=(None, HOT, USUAL),
        states=(None, ["active"], ["failed"], ["waiting"], ["granting", "active"]),
    )
    every = {
        "user_id": None,
        "ticket_id": None,
        "account_id": None,
        "states": None,
        "after": None,
        "limit": 51,
    }
    async with _views(dsn, [(query, every | query) for query in queries], grants.grants) as running:
        yield running


@asynccontextmanager
async def _notifier(dsn: str, _: DevelopmentIssuer) -> AsyncIterator[Running]:
    queries = _sets(
        recipient=(None, "user-ann", "user-eve"),
        ticket=(None, "019774c6-9c00-7000-8000-000000000003"),
        state=(None, *State),
    )
    every = {"recipient": None, "ticket": None, "state": None, "after": None, "limit": 51}
    async with _views(dsn, [(query, every | query) for query in queries], mails.deliveries) as running:
        yield running


@asynccontextmanager
async def _views(
    dsn: str,
    queries: list[tuple[dict[str, object], dict[str, Any]]],
    view: Callable[..., Awaitable[list[Any]]],
) -> AsyncIterator[Running]:
    pool = await create_pool(dsn, size=1)
    async with pool.acquire() as conn:
        asks = {f"{view.__name__} {query}": _of_view(conn, view, given) for query, given in queries}
        yield asks, list(asks.values())[:OTHERS]
    await pool.close()


def _of_view(conn: Conn, view: Callable[..., Awaitable[list[Any]]], given: dict[str, Any]) -> Ask:
    async def ask() -> int:
        return len(await view(conn, **given))

    return ask


_SERVICES: Final = {
    "ticket": _ticket,
    "approval": _approval,
    "provisioner": _provisioner,
    "notifier": _notifier,
    "audit": _audit,
}


if __name__ == "__main__":
    sys.exit(main())
