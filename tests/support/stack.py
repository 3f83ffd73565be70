"""Starts the five services together for the e2e tests, with waits so short that a ticket lives for seconds.

Runs local/stack.py on the embedded pair, or on the servers that JIT_TEST_KAFKA and JIT_TEST_DATABASE_DSN
name (both; what JIT has there is dropped first). Nothing of the services is replaced.
"""

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from local.page import AUDIENCE
from local.postgres_home import remove_home
from local.processes import free_ports
from local.stack import Options, stack
from shared.contracts.topics import TOPICS
from shared.database.migrate import SERVICES, database_of
from shared.foundation.issuers import TrustedIssuer
from simulator.controls import Controls
from tests.support.http import NO_LIMITS
from tests.support.key_server import KeyServer, ec_key, key_server
from tests.support.running import PATIENCE_S, Running
from tests.support.servers import Broker
from tests.support.waiting import until

BRIEF_SET = "QueueOperator"
"""Its sessions live for a second (AWS allows none below an hour), so that its tickets close soon."""
SHARED_ADDRESS = "shared@example.com"
"""The mail address of two people: eve and rita."""

BRIEFEST_S, LONGEST_BRIEF_S = 20.0, 60.0

_PROVISIONER: Mapping[str, Any] = {
    "settle_checks": 2,
    "settle_time_s": 1.0,
    "witness_wait_s": 12.0,
    "operation_patience_s": 2.0,
    "revoke_objective_s": 4.0,
    "replica": "e2e",
}
_TICKET: Mapping[str, Any] = {
    "shortest_window": timedelta(seconds=1),
    "timer_every": timedelta(milliseconds=200),
}
_SIMULATOR: Mapping[str, Any] = {
    "create_seconds": {"low": 0.1, "high": 0.2},
    "delete_seconds": {"low": 0.1, "high": 0.2},
    "slots": 10,
    # Reading the organisation takes longer at AWS's 20 a second than most of a ticket's life.
    "rate_per_second": {"sso-admin": 200, "identitystore": 200, "organizations": 0},
}


@contextmanager
def data_folder() -> Iterator[Path]:
    """A new folder for one stack, or for the same one twice; nothing is left of it."""
    folder = Path(tempfile.mkdtemp(prefix="jit-stack-"))
    folder.chmod(0o711)  # for the account that PostgreSQL runs as when we are root
    try:
        yield folder
    finally:
        remove_home(folder)
        shutil.rmtree(folder)


@asynccontextmanager
async def running_stack(
    data: Path, *, ports: list[int] | None = None, embedded: bool = False
) -> AsyncIterator[Running]:
    """A stack on this data folder, started and stopped.

    `ports` are needed to start again on the same folder: the issuer's address is its name. `embedded` is
    for tests that stop servers.
    """
    began = time.monotonic()
    port, simulator_port, smtp_port = ports or free_ports(3)
    _prepare_organisation(data)
    async with AsyncExitStack() as exits:
        exits.enter_context(_quick_alerts())
        other, key = await exits.enter_async_context(key_server()), ec_key("mail")
        other.publish(key)
        database, kafka = (None, None) if embedded else await _named_servers()
        options = Options(
            data,
            port,
            simulator_port,
            smtp_port,
            database=database,
            kafka=kafka,
            settings=_settings(port, other),
            simulator=_SIMULATOR,
            fetch_wait_ms=100,  # several stacks idle at once
        )
        made = await exits.enter_async_context(stack(options))
        client = httpx2.AsyncClient(base_url=made.url, timeout=PATIENCE_S)
        await exits.enter_async_context(client)
        yield Running(made, client, other, key, brief=_brief(time.monotonic() - began))


def _brief(start_s: float) -> timedelta:
    """A start takes some 6 s on an idle machine, where a ticket is granted in two; in ten beside others."""
    return timedelta(seconds=round(min(max(BRIEFEST_S, start_s * 2.5), LONGEST_BRIEF_S)))


def _settings(port: int, other: KeyServer) -> dict[str, Mapping[str, Any]]:
    """Short waits, no limit of calls, and a second issuer that names people by their mail address."""
    issuers = (
        TrustedIssuer(
            issuer=f"http://127.0.0.1:{port}/issuer",
            audience=AUDIENCE,
            claim="preferred_username",
            lookup="user_name",
        ),
        TrustedIssuer(issuer=other.url, audience=AUDIENCE, claim="email", lookup="email"),
    )
    own = {"provisioner": _PROVISIONER, "ticket": _TICKET}
    return {name: {"issuers": issuers, **NO_LIMITS, **own.get(name, {})} for name in SERVICES}


def _prepare_organisation(data: Path) -> None:
    """What tests need to be different in AWS from the first reading on; nothing on a later start."""
    state = data / "aws" / "state.json"
    if state.exists():
        return
    state.parent.mkdir(parents=True)
    controls = Controls(state_file=state)
    controls.edit(action="edit_set", permission_set=BRIEF_SET, session_duration="PT1S")
    for name in ("eve", "rita"):
        user = controls.directory.find_user(name)
        controls.directory.change("users", user.id, email=SHARED_ADDRESS)
    controls.store()
    controls.records.close()


@contextmanager
def _quick_alerts() -> Iterator[None]:
    """Messages to operations every half second; the real minute would be waited for in every test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.observability.alerts.EVERY", timedelta(seconds=0.5))
        yield


async def _named_servers() -> tuple[str | None, str | None]:
    """The servers that the environment names, emptied of what an earlier run left."""
    database, kafka = os.environ.get("JIT_TEST_DATABASE_DSN"), os.environ.get("JIT_TEST_KAFKA")
    if not database or not kafka:
        return None, None
    if "PYTEST_XDIST_WORKER" in os.environ:
        raise pytest.UsageError("e2e tests share named servers: run them without -n")
    await _drop_databases(database)
    await _new_topics(kafka)
    return database, kafka


async def _drop_databases(admin_dsn: str) -> None:
    conn = await asyncpg.connect(admin_dsn)
    try:
        for service in SERVICES:
            await conn.execute(f"DROP DATABASE IF EXISTS {database_of(service)} WITH (FORCE)")
    finally:
        await conn.close()


async def _new_topics(bootstrap: str) -> None:
    """Every topic anew: a replica must not read documents of another run."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    await admin.start()
    try:

        async def left() -> list[str]:
            return [name for name in await admin.list_topics() if name in TOPICS]

        if there := await left():
            await admin.delete_topics(there)

        async def gone() -> bool:
            return not await left()

        await until(gone, PATIENCE_S)
    finally:
        await admin.close()
    await Broker(bootstrap).create_topics({topic.name: topic.partitions for topic in TOPICS.values()})
