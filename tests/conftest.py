"""Fixtures for the whole suite: one PostgreSQL server and one token issuer per session.

Everything else is in tests/support.
"""

import gc
from collections.abc import Iterator

import hypothesis
import pytest

from local.issuer import DevelopmentIssuer
from shared.observability import logs
from tests.support.http import issuer_server
from tests.support.sampling import MORE
from tests.support.servers import database_server, embedded_postgres

hypothesis.settings.register_profile("small", max_examples=60, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("large", max_examples=3000, deadline=None, database=None)
hypothesis.settings.load_profile("large" if MORE else "small")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Property tests are among those whose samples grow. What waits for the services is begun first."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("more")
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Which process runs what, where there are several."""
    from tests.support.scheduling import Scheduling  # noqa: PLC0415 (there may be no xdist)

    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    """What was collected stays: looking through it again and again is a tenth of the whole run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


@pytest.fixture(scope="session", autouse=True)
def logging_as_in_production() -> None:
    """Unconfigured, structlog draws each stack trace with its variables, which takes seconds."""
    logs.configure(fmt="json", level="INFO")


@pytest.fixture(scope="session")
def admin_dsn() -> Iterator[str]:
    """An administrator's DSN of a PostgreSQL server."""
    with database_server() as dsn:
        yield dsn


@pytest.fixture(scope="module")
def own_admin_dsn() -> Iterator[str]:
    """Of a server that no other test has a database on: for what a role may do beyond its own."""
    with embedded_postgres() as server:
        yield server.admin_dsn


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentIssuer]:
    """An issuer whose tokens name the people of tests/support/organisation.py."""
    with issuer_server(tmp_path_factory.mktemp("issuer")) as running:
        yield running
