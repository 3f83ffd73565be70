"""Fixtures for the whole suite: one PostgreSQL server per session. Everything else is in tests/support."""

from collections.abc import Iterator

import pytest

from tests.support.servers import database_server


@pytest.fixture(scope="session")
def admin_dsn() -> Iterator[str]:
    """An administrator's DSN of a PostgreSQL server."""
    with database_server() as dsn:
        yield dsn
