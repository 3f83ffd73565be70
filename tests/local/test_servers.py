"""What conftests get from the choice of servers, whichever they are here."""

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from tests.support.servers import (
    Broker,
    broker,
    container_engine_answers,
    database_server,
    embedded_kafka,
    embedded_postgres,
    fresh_database,
)


async def names(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
    finally:
        await connection.close()


async def test_a_fresh_database_is_empty_and_dropped_although_somebody_is_connected() -> None:
    with embedded_postgres() as server:
        before = await names(server.admin_dsn)
        async with fresh_database(server.admin_dsn) as dsn:
            left_open = await asyncpg.connect(dsn)
            tables = await left_open.fetch("SELECT 1 FROM pg_tables WHERE schemaname = 'public'")
            assert tables == []
            assert await names(dsn) != before
        assert await names(server.admin_dsn) == before
        await left_open.close()


async def test_topics_are_created_once_with_their_partitions() -> None:
    with embedded_kafka() as mock:
        target = Broker(mock.bootstrap, mock)
        await target.create_topics({"facts": 5})
        await target.create_topics({"facts": 5})
        async with AIOKafkaProducer(bootstrap_servers=target.servers) as producer:
            assert len(await producer.partitions_for("facts")) == 5


def test_the_environment_names_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIT_TEST_DATABASE_DSN", "postgresql://somewhere/postgres")
    monkeypatch.setenv("JIT_TEST_KAFKA", "a:1,b:2")
    with database_server() as dsn, broker() as target:
        assert dsn == "postgresql://somewhere/postgres"
        assert target.servers == ["a:1", "b:2"]
        assert target.mock is None


def test_containers_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIT_TEST_SERVERS", "embedded")
    container_engine_answers.cache_clear()
    try:
        assert not container_engine_answers()
    finally:
        container_engine_answers.cache_clear()
