"""The embedded run: PostgreSQL, a broker, AWS's stand-in, a mailbox, an issuer and five services.

Everything it makes is in one data folder and survives a restart. Nothing of this is in production.
"""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
from pydantic import SecretStr

from local.checkpoint import Checkpoint
from local.errors import CannotStart
from local.gateway import Gateway
from local.issuer import DevelopmentIssuer
from local.kafka import MockKafka, mock_kafka
from local.mailbox import Mailbox, mailbox
from local.mailbox_page import mailbox_app
from local.page import AUDIENCE, PEOPLE, front_page
from local.postgres import PostgresServer, postgres
from local.seed import seed
from local.serving import LOOPBACK, require_ports, serving
from services.approval.__main__ import build as build_approval
from services.approval.settings import ApprovalSettings
from services.audit.__main__ import build as build_audit
from services.audit.settings import AuditSettings
from services.notifier.__main__ import build as build_notifier
from services.notifier.settings import NotifierSettings
from services.provisioner.__main__ import build as build_provisioner
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.types import Credentials, Limiter
from services.provisioner.settings import ProvisionerSettings
from services.ticket.__main__ import build as build_ticket
from services.ticket.settings import TicketSettings
from shared.contracts.topics import TOPICS
from shared.database.migrate import SERVICES, app_role_of, database_of, migrate_databases
from shared.documents.tables import Tables
from shared.foundation.clock import Clock
from shared.foundation.issuers import TrustedIssuer
from shared.foundation.settings import KafkaSettings, SmtpSettings
from shared.messaging.key_folder import KeyFolder
from shared.messaging.keys import PublicKeys
from shared.messaging.signing import Trust
from shared.policy.policy import Policy
from shared.runtime.service import Process, Service
from simulator.directory_file import SHIPPED
from simulator.server import Simulator
from simulator.settings import Settings as SimulatorSettings

PATIENCE_S = 60.0
INSTANCE = "default"


@dataclass(frozen=True)
class Options:
    """Where things are. Fixed ports: an issuer under another address would be another issuer."""

    data: Path
    port: int = 8080
    simulator_port: int = 8081
    smtp_port: int = 8025
    database: str | None = None
    """DSN of an administrator of a PostgreSQL server that runs already; absent, one is started in `data`."""
    kafka: str | None = None
    """Address of a broker that runs already and has the topics; absent, the embedded one is started."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What a service is given differently, by its name."""
    simulator: Mapping[str, Any] = field(default_factory=dict)
    """What of the simulator is set differently."""
    organisation: Path = SHIPPED
    """What AWS looks like at the first start."""
    fetch_wait_ms: int = 50
    """The mock cluster does not wake a waiting fetch: this is the latency of a hop, and its idle cost."""

    @property
    def ports(self) -> dict[str, int]:
        """By the option of `python -m local` that sets each. Database and broker take what is free."""
        return {"--port": self.port, "--simulator-port": self.simulator_port, "--smtp-port": self.smtp_port}


@dataclass
class Stack:
    """What runs, for whoever wants to look at it or call it. Servers that ran already are None."""

    options: Options
    services: list[Service]
    simulator: Simulator
    mailbox: Mailbox
    bootstrap: str
    broker: MockKafka | None
    database: PostgresServer | None
    issuer: DevelopmentIssuer

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.options.port}"


@asynccontextmanager
async def stack(
    options: Options, *, on_step: Callable[[str], None] = lambda _step: None
) -> AsyncIterator[Stack]:
    """Start everything in order, seed the demo once, and stop in reverse. `on_step` hears what is at work."""
    require_ports(options.ports)
    options.data.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as running:
        on_step("PostgreSQL")
        server, admin_dsn = await _database(options, running)
        passwords = _passwords(options.data)
        await migrate_databases(admin_dsn, passwords=passwords)
        on_step("broker, simulator, mailbox, issuer")
        broker, bootstrap = _broker(options, running)
        simulator = await running.enter_async_context(_simulator(options))
        box = await running.enter_async_context(mailbox(options.data / "mailbox", port=options.smtp_port))
        issuer = _issuer(options)
        on_step("services")
        dsns = {name: _app_dsn(admin_dsn, name, passwords[name]) for name in SERVICES}
        settings = _settings(options, bootstrap, simulator, box, issuer)
        services, tables = _build(options, settings, dsns, _keys(options.data))
        made = Stack(options, services, simulator, box, bootstrap, broker, server, issuer)
        await running.enter_async_context(serving(_gateway(made), port=options.port))
        await running.enter_async_context(_working(made, tables))
        on_step("organisation, catalog, rules")
        await _seed(made)
        await _wait_until_none(services, Service.problem)
        yield made


async def _database(options: Options, running: AsyncExitStack) -> tuple[PostgresServer | None, str]:
    """The server, where it is ours, and an administrator's DSN."""
    if options.database is not None:
        return None, options.database
    server = await running.enter_async_context(postgres(options.data, durable=True))
    return server, server.admin_dsn


def _broker(options: Options, running: AsyncExitStack) -> tuple[MockKafka | None, str]:
    """The broker, where it is ours, and its address."""
    if options.kafka is not None:
        return None, options.kafka
    broker = running.enter_context(mock_kafka({topic.name: topic.partitions for topic in TOPICS.values()}))
    return broker, broker.bootstrap


def _issuer(options: Options) -> DevelopmentIssuer:
    url = f"http://{LOOPBACK}:{options.port}/issuer"
    return DevelopmentIssuer(options.data / "issuer", url, AUDIENCE, PEOPLE, environment="development")


def _passwords(data: Path) -> dict[str, str]:
    """One password a service, made at the first start, readable by the owner of the folder only."""
    file = data / "passwords.json"
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            json.dump({service: secrets.token_urlsafe(24) for service in SERVICES}, opened)
    passwords: dict[str, str] = json.loads(file.read_text())
    return passwords


def _keys(data: Path) -> KeyFolder:
    """A key for each service, made at the first start."""
    keys = KeyFolder(data / "keys")
    for service in SERVICES:
        if not keys.signing_file(service).exists():
            keys.make(service)
    return keys


def _app_dsn(admin_dsn: str, service: str, password: str) -> SecretStr:
    address = admin_dsn.rpartition("@")[2].partition("/")[0]
    return SecretStr(f"postgresql://{app_role_of(service)}:{password}@{address}/{database_of(service)}")


@asynccontextmanager
async def _simulator(options: Options) -> AsyncIterator[Simulator]:
    folder = options.data / "aws"
    folder.mkdir(exist_ok=True)
    simulator = Simulator(
        organisation=options.organisation,
        state_file=folder / "state.json",
        call_log=folder / "calls.ndjson",
        settings=SimulatorSettings(**{"rate_per_second": {}, **options.simulator}),
    )
    async with simulator.serve(port=options.simulator_port):
        yield simulator


def _settings(
    options: Options, bootstrap: str, simulator: Simulator, box: Mailbox, issuer: DevelopmentIssuer
) -> dict[str, Any]:
    """What all five services are given here (and the provisioner about AWS)."""
    find_group = simulator.directory.find_group
    return {
        "env": "development",
        "instance": INSTANCE,
        "public_url": f"http://{LOOPBACK}:{options.port}",
        "issuers": (
            TrustedIssuer(
                issuer=issuer.issuer_url, audience=AUDIENCE, claim="preferred_username", lookup="user_name"
            ),
        ),
        "role_admin": (find_group("admins").id,),
        "role_auditor": (find_group("auditors").id,),
        "alerts_mail_to": ("operations@example.com",),
        "aws_endpoint": simulator.url,
        "pool_size": 4,
        "kafka": KafkaSettings(bootstrap=tuple(bootstrap.split(",")), fetch_wait_ms=options.fetch_wait_ms),
        "smtp": SmtpSettings(host=LOOPBACK, port=box.port, sender="jit@example.com"),
    }


def _build(
    options: Options, settings: dict[str, Any], dsns: dict[str, SecretStr], keys: KeyFolder
) -> tuple[list[Service], Tables]:
    """Five services that share a clock and one copy of the tables."""
    clock = Clock()
    roles = {"admin": settings["role_admin"], "auditor": settings["role_auditor"]}
    policy = Policy(roles, clock=clock, stale_after=timedelta(seconds=60))
    trust = Trust(INSTANCE, PublicKeys(keys.public))
    tables = Tables(policy=policy, settings=settings["kafka"], trust=trust)
    process = Process(clock, tables, watches_tables="ticket")

    def given(name: str, **own: Any) -> dict[str, Any]:
        files = {"signing_key_file": keys.signing_file(name), "public_keys_dir": keys.public}
        return {"database_url": dsns[name], **files, **settings, **own, **options.settings.get(name, {})}

    # The stand-in has no rate limit here: the first reading of the organisation takes a second, not 20.
    aws = {"aws_endpoint": settings.pop("aws_endpoint"), "calls_per_second": None}
    ticket = TicketSettings(**given("ticket", shortest_window=timedelta(seconds=10)))
    notifier = NotifierSettings(**given("notifier", pages_url=settings["public_url"]))
    services = [
        build_ticket(ticket, process=process),
        build_approval(ApprovalSettings(**given("approval")), process=process),
        build_provisioner(
            ProvisionerSettings(**given("provisioner", **aws)), process=process, identity_center=_stand_in
        ),
        build_notifier(notifier, process=process),
        build_audit(AuditSettings(**given("audit")), process=process),
    ]
    return services, tables


def _stand_in(settings: ProvisionerSettings, limiter: Limiter) -> IdentityCenter:
    """AWS's stand-in wants a signed request and looks at no key."""
    return IdentityCenter(
        region="eu-central-1",
        endpoint=settings.aws_endpoint,
        credentials=Credentials("embedded", "embedded"),
        limiter=limiter,
        change_timeout_s=settings.change_timeout_s,
    )


def _gateway(made: Stack) -> Gateway:
    """One port for everything; answers as soon as it listens, ready or not."""
    return Gateway(
        made.services,
        {"mailbox": mailbox_app(made.mailbox), "issuer": made.issuer.app},
        front=front_page(made.url, made.simulator.url, PEOPLE),
        url=made.url,
    )


@asynccontextmanager
async def _working(made: Stack, tables: Tables) -> AsyncIterator[None]:
    """Services at work, what the broker forgot sent again, and the checkpoint kept."""
    checkpoint = Checkpoint(made.options.data / "checkpoint.json", made.services)
    tasks = [asyncio.create_task(tables.run())]
    for service in made.services:
        await service.start()
    try:
        await _wait_until_none(made.services, _no_pool)
        await checkpoint.replay()
        tasks.append(asyncio.create_task(checkpoint.run()))
        yield
        await checkpoint.note()
    finally:
        await asyncio.gather(*(service.stop() for service in made.services))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _seed(made: Stack) -> None:
    headers = {"Authorization": f"Bearer {made.issuer.mint('root')}"}
    async with httpx2.AsyncClient(base_url=made.url, headers=headers, timeout=30) as client:

        async def call(
            method: str, path: str, body: dict[str, Any] | None, more: dict[str, str]
        ) -> httpx2.Response:
            return await client.request(method, path, json=body, headers=more)

        await seed(call, made.simulator.directory, done=made.options.data / "seeded")


def _no_pool(service: Service) -> str | None:
    return None if service.context.has_pool else "no connection to its database"


async def _wait_until_none(services: Sequence[Service], problem: Callable[[Service], str | None]) -> None:
    """Wait until no service has a problem of this kind."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while any(problem(service) for service in services):  # noqa: ASYNC110 (it has no event of its own)
                await asyncio.sleep(0.02)
    except TimeoutError:
        left = "; ".join(f"{service.name}: {reason}" for service in services if (reason := problem(service)))
        raise CannotStart(f"not all services came up in {PATIENCE_S:.0f} s ({left})") from None
