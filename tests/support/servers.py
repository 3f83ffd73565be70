"""The database and the broker that tests run against, one of each per session.

In this order: what the environment names (JIT_TEST_DATABASE_DSN, an administrator's; JIT_TEST_KAFKA),
containers when an engine answers, else the embedded ones. JIT_TEST_SERVERS=embedded leaves containers out.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import testcontainers_config

from local.kafka import MockKafka
from local.postgres import PostgresServer
from local.postgres_home import remove_home

_POSTGRES_IMAGE = "postgres:17"
_KAFKA_IMAGE = "confluentinc/cp-kafka:8.1.0"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is. `mock` is the embedded one, for its faults; None when the broker is real."""

    bootstrap: str
    mock: MockKafka | None = None

    @property
    def servers(self) -> list[str]:
        """As FastStream wants it; it does not split a string."""
        return self.bootstrap.split(",")

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Make each topic with its number of partitions; one that exists stays as it is."""
        if self.mock is not None:
            self.mock.create_topics(topics)
            return
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        try:
            wanted = [NewTopic(name, partitions, replication_factor=1) for name, partitions in topics.items()]
            answer = await admin.create_topics(wanted)
        finally:
            await admin.close()
        for name, code, *_ in answer.topic_errors:
            if code and for_code(code) is not TopicAlreadyExistsError:
                raise for_code(code)(f"topic {name}")


@contextmanager
def database_server() -> Iterator[str]:
    """The DSN of an administrator of a PostgreSQL server for tests."""
    if named := os.environ.get("JIT_TEST_DATABASE_DSN"):
        yield named
    elif container_engine_answers():
        testcontainers_config.ryuk_disabled = True  # one image less to fetch; this block stops its container
        container = PostgresContainer(_POSTGRES_IMAGE, driver=None)
        with container.with_command("postgres -c fsync=off -c max_connections=200") as postgres:
            yield postgres.get_connection_url()
    else:
        with embedded_postgres() as server:
            yield server.admin_dsn


@contextmanager
def broker() -> Iterator[Broker]:
    """A Kafka broker for tests; topics and groups must be unique per test."""
    if named := os.environ.get("JIT_TEST_KAFKA"):
        yield Broker(named)
    elif container_engine_answers():
        testcontainers_config.ryuk_disabled = True  # as above
        with KafkaContainer(_KAFKA_IMAGE).with_kraft() as kafka:
            yield Broker(kafka.get_bootstrap_server())
    else:
        with embedded_kafka() as mock:
            yield Broker(mock.bootstrap, mock)


@contextmanager
def embedded_postgres(binaries: Path | None = None) -> Iterator[PostgresServer]:
    """A server of one's own that forgets on power loss but not on kill -9; for tests that stop it.

    `binaries` is another PostgreSQL's folder instead of the wheel's.
    """
    folder = Path(tempfile.mkdtemp(prefix="jit-postgres-"))
    folder.chmod(0o711)  # for the account that the server runs as when we are root
    try:
        server = PostgresServer(folder, durable=False, binaries=binaries)
        try:
            server.start()
            yield server
        finally:
            server.stop("immediate")
    finally:
        remove_home(folder)
        shutil.rmtree(folder)


@contextmanager
def embedded_kafka() -> Iterator[MockKafka]:
    """A mock cluster of one's own, without topics; for tests that cut it off."""
    mock = MockKafka()
    mock.start()
    try:
        yield mock
    finally:
        mock.stop()


@asynccontextmanager
async def fresh_database(admin_dsn: str, *, template: str = "template1") -> AsyncIterator[str]:
    """The DSN of a new database, a copy of `template`; dropped at the end, whoever is connected."""
    name = f"test_{secrets.token_hex(6)}"
    await _execute(admin_dsn, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield urlsplit(admin_dsn)._replace(path=f"/{name}").geturl()
    finally:
        await _execute(admin_dsn, f'DROP DATABASE "{name}" WITH (FORCE)')


@cache
def container_engine_answers() -> bool:
    """Whether `docker` reaches an engine and tests are not told to do without."""
    docker = shutil.which("docker")
    if docker is None or os.environ.get("JIT_TEST_SERVERS") == "embedded":
        return False
    try:
        answer = subprocess.run([docker, "info"], capture_output=True, check=False, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
