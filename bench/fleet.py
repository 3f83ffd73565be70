"""The whole system in separate processes, on a real broker and PostgreSQL, to be killed at will.

What benches judge is outside of it: the simulator's log, the SMTP receiver, the audit log. Everything is
in one temporary folder and stops by pid.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

from local.issuer import DevelopmentIssuer
from local.mailbox import Mailbox, mailbox
from local.postgres import PostgresServer, postgres
from local.processes import free_ports, spawn
from shared.database.migrate import SERVICES, app_role_of, database_of, migrate_databases
from shared.foundation.settings import KafkaSettings
from shared.messaging import kafka
from shared.messaging.key_folder import KeyFolder
from shared.messaging.keys import OwnKey, PublicKeys
from shared.messaging.signing import Signer
from simulator.directory import Directory
from simulator.directory_file import SHIPPED
from simulator.server import Simulator
from tests.support.kafka_server import KafkaServer

AUDIENCE = "jit"
GIVING_WAY = frozenset({"notifier", "audit"})
"""They have the share of the CPU that docker-compose.yml gives them."""
PASSWORD = "bench"  # noqa: S105 (a server on loopback that lives as long as the run)


@dataclass(frozen=True)
class Down:
    """A time a process was not there: from its kill until it said it was ready. Epoch seconds."""

    since: float
    until: float


@dataclass
class ServiceProcess:
    """One service as its own process; it may be killed and started again."""

    name: str
    port: int
    environment: Mapping[str, str]
    command: tuple[str, ...]
    folder: Path
    serves: str = ""
    """The service, where the process has another name: a second replica."""
    downs: list[Down] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    _down_since: float | None = None
    _process: Any = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self._process = spawn(
            [sys.executable, *self.command, "serve", self.serves or self.name],
            log=self.folder / f"{self.name}.log",
            cwd=Path(__file__).resolve().parent.parent,
            environment=self.environment,
        )
        if self.name in GIVING_WAY:
            _give_way(self.pid)

    def kill(self) -> None:
        """SIGKILL: no chance to finish anything."""
        self._process.kill()
        self._process.wait()
        self.kills.append(time.time())
        self._down_since = self.kills[-1]

    def pause(self) -> None:
        """SIGSTOP: it stands still in whatever it was doing, and its connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)
        self.pauses.append(time.time())
        self._down_since = self.pauses[-1]

    def wake(self) -> None:
        """It goes on where it stood. Not up again before `until_ready` says so."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        if self.running:
            self.wake()
        self._process.terminate()
        try:
            self._process.wait(40)
        except Exception:  # noqa: BLE001 (whatever it is doing: the run is over)
            self._process.kill()
            self._process.wait()

    async def restart(self, client: httpx2.AsyncClient, *, after: float) -> None:
        """Kill, wait, start, and note how long it was away."""
        self.kill()
        await asyncio.sleep(after)
        self.start()
        await self.until_ready(client)

    async def until_ready(self, client: httpx2.AsyncClient, *, seconds: float = 120) -> None:
        async with asyncio.timeout(seconds):
            while not await self._ready(client):
                if self._process.poll() is not None:
                    raise RuntimeError(f"{self.name} ended by itself; see {self.folder / self.name}.log")
                await asyncio.sleep(0.1)
        if self._down_since is not None:
            self.downs.append(Down(self._down_since, time.time()))
            self._down_since = None

    async def _ready(self, client: httpx2.AsyncClient) -> bool:
        try:
            return (await client.get(f"{self.url}/readyz")).status_code == 200
        except httpx2.TransportError:
            return False


def _give_way(pid: int) -> None:
    """A fifteenth of the others' weight: each process is a session, which Linux schedules as a group."""
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text("12", encoding="ascii")


@dataclass
class Fleet:
    """What runs, and how to reach it."""

    folder: Path
    postgres: PostgresServer
    kafka: KafkaServer
    mailbox: Mailbox
    issuer: DevelopmentIssuer
    simulator_url: str
    organisation: Directory
    services: dict[str, ServiceProcess]
    client: httpx2.AsyncClient
    keys: KeyFolder
    broker_downs: list[Down] = field(default_factory=list)
    database_downs: list[Down] = field(default_factory=list)

    def dsn(self, service: str) -> str:
        """An administrator's, for judging from outside."""
        return _with_database(self.postgres.admin_dsn, database_of(service))

    def signer(self, service: str) -> Signer:
        """Of what a service would say."""
        return Signer(
            "default", OwnKey(service, self.keys.signing_file(service)), PublicKeys(self.keys.public)
        )

    async def bounce_broker(self, *, after: float) -> None:
        since = time.time()
        self.kafka.kill()
        try:
            await asyncio.sleep(after)
        finally:  # also when the day is over in this very moment
            await asyncio.shield(asyncio.to_thread(self.kafka.start))
            self.broker_downs.append(Down(since, time.time()))

    async def bounce_database(self, *, after: float) -> None:
        """All databases at once: they are one server's."""
        since = time.time()
        self.postgres.kill()
        try:
            await asyncio.sleep(after)
        finally:
            await asyncio.shield(asyncio.to_thread(self.postgres.start))
            self.database_downs.append(Down(since, time.time()))

    async def simulate(self, method: str, path: str, body: Any = None) -> Any:
        """The simulator's own door, for faults and for its log."""
        answer = await self.client.request(method, f"{self.simulator_url}/_sim{path}", json=body)
        answer.raise_for_status()
        return answer.json()


@asynccontextmanager
async def fleet(
    folder: Path,
    *,
    simulator_settings: Mapping[str, Any],
    service_settings: Mapping[str, Mapping[str, str]],
    commands: Mapping[str, tuple[str, ...]] | None = None,
    seed: int = 0,
    world: Path = SHIPPED,
    replicas: Mapping[str, str] | None = None,
) -> AsyncIterator[Fleet]:
    """Everything up and ready. `commands` replaces how a service is started (to put a fault in).

    `world` is the file of the simulated organisation, `replicas` are further processes: name to service.
    """
    async with AsyncExitStack() as running:
        server = await running.enter_async_context(postgres(folder / "pg", durable=False))
        broker = await asyncio.to_thread(KafkaServer, folder / "kafka")
        (folder / "kafka").mkdir(exist_ok=True)
        broker.start()
        running.callback(broker.stop)
        box = await running.enter_async_context(mailbox(folder / "mailbox"))
        issuer = running.enter_context(_issuer(folder / "issuer"))
        simulator_url = running.enter_context(_simulator(folder, simulator_settings, seed, world))
        await migrate_databases(server.admin_dsn, passwords=dict.fromkeys(SERVICES, PASSWORD))
        await kafka.create_topics(KafkaSettings(bootstrap=(broker.bootstrap,)), replication=1)
        organisation = Simulator(organisation=world).directory
        client = await running.enter_async_context(httpx2.AsyncClient(timeout=10))
        common = _environment(broker, box, issuer, simulator_url, organisation)
        keys = KeyFolder(folder / "keys")
        services = {}
        for service in SERVICES:
            keys.make(service)
        serving = {**dict.fromkeys(SERVICES, ""), **(replicas or {})}
        ports = dict(zip(serving, free_ports(len(serving)), strict=True))
        for name, port in ports.items():
            service = serving[name] or name
            environment = {
                **common,
                "JIT_SIGNING_KEY_FILE": str(keys.signing_file(service)),
                "JIT_PUBLIC_KEYS_DIR": str(keys.public),
                "JIT_PROVISIONER_URL": f"http://127.0.0.1:{ports['provisioner']}",
                "JIT_PORT": str(port),
                "JIT_DATABASE_URL": _app_dsn(server.admin_dsn, service),
                **service_settings.get(service, {}),
            }
            command = (commands or {}).get(service, ("-m", "cli.main"))
            services[name] = ServiceProcess(name, port, environment, command, folder, serving[name])
            services[name].start()
            running.callback(services[name].stop)
        made = Fleet(folder, server, broker, box, issuer, simulator_url, organisation, services, client, keys)
        await asyncio.gather(*(one.until_ready(client) for one in services.values()))
        yield made


def _environment(
    broker: KafkaServer,
    box: Mailbox,
    issuer: DevelopmentIssuer,
    simulator_url: str,
    organisation: Directory,
) -> dict[str, str]:
    trusted = {
        "issuer": issuer.issuer_url,
        "audience": AUDIENCE,
        "claim": "preferred_username",
        "lookup": "user_name",
    }
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "JIT_ENV": "development",
        "JIT_ISSUERS": json.dumps([trusted]),
        "JIT_ROLE_ADMIN": json.dumps([organisation.find_group("admins").id]),
        "JIT_ROLE_AUDITOR": json.dumps([organisation.find_group("auditors").id]),
        "JIT_KAFKA_BOOTSTRAP": json.dumps([broker.bootstrap]),
        "JIT_KAFKA_SESSION_TIMEOUT_MS": "3000",
        "JIT_SMTP_HOST": "127.0.0.1",
        "JIT_SMTP_PORT": str(box.port),
        "JIT_ALERTS_MAIL_TO": '["operations@example.com"]',
        "JIT_AWS_ENDPOINT": simulator_url,
        "JIT_AWS_REGION": "eu-central-1",
        "JIT_LOG_LEVEL": "INFO",
        "JIT_REQUESTS_PER_SECOND": "100000",  # a few people here stand for many
        "JIT_REQUESTS_AT_ONCE": "100000",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
    }


@contextmanager
def _issuer(data: Path) -> Any:
    """The token issuer on loopback, in a thread of the judge's process."""
    (port,) = free_ports(1)
    issuer = DevelopmentIssuer(data, f"http://127.0.0.1:{port}", AUDIENCE, {}, environment="development")
    server = uvicorn.Server(uvicorn.Config(issuer.app, port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def _simulator(folder: Path, settings: Mapping[str, Any], seed: int, world: Path) -> Any:
    """AWS's stand-in as its own process, which nobody kills: AWS is not ours to kill."""
    (port,) = free_ports(1)
    process = spawn(
        [
            sys.executable,
            "-m",
            "simulator",
            "--port",
            str(port),
            "--seed",
            str(seed),
            "--organisation",
            str(world),
            "--settings",
            json.dumps(settings),
        ],
        log=folder / "simulator.log",
        cwd=Path(__file__).resolve().parent.parent,
        environment=os.environ,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _until_answers(f"{url}/_sim/counters")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _until_answers(url: str, *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            httpx2.get(url)
        except httpx2.TransportError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _app_dsn(admin_dsn: str, service: str) -> str:
    address = admin_dsn.rpartition("@")[2].partition("/")[0]
    return f"postgresql://{app_role_of(service)}:{PASSWORD}@{address}/{database_of(service)}"


def _with_database(admin_dsn: str, database: str) -> str:
    return f"{admin_dsn.rpartition('/')[0]}/{database}"
