"""What Prometheus is told of every service."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import APIRouter
from prometheus_client import REGISTRY

from shared.foundation.settings import ServiceSettings
from shared.http.routers import make_router
from shared.runtime.service import Parts, Service
from tests.support.signing import key_settings


def routes() -> APIRouter:
    router = make_router("test")

    @router.get("/things/{number}")
    async def show(number: int) -> dict[str, int]:
        if number == 0:
            raise RuntimeError("a bug")
        return {"number": number}

    return router


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    settings = ServiceSettings(
        env="development", database_url="postgresql://nobody@127.0.0.1:1/none", **key_settings("notifier")
    )
    service = Service("notifier", settings, Parts(routers=lambda _context: [routes()]))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=service.app), base_url="http://jit.test"
    ) as found:
        yield found


def counted(route: str, status: int, method: str = "GET") -> float:
    labels = {"service": "notifier", "route": route, "method": method, "status": str(status)}
    return REGISTRY.get_sample_value("jit_http_seconds_count", labels) or 0.0


async def test_requests_are_counted_by_route_and_not_by_path(client: httpx2.AsyncClient) -> None:
    before = counted("/things/{number}", 200)
    await client.get("/things/1")
    await client.get("/things/2")
    assert counted("/things/{number}", 200) == before + 2


async def test_bugs_are_counted(client: httpx2.AsyncClient) -> None:
    before = counted("/things/{number}", 500)
    await client.get("/things/0")
    assert counted("/things/{number}", 500) == before + 1


async def test_unknown_paths_share_one_label(client: httpx2.AsyncClient) -> None:
    before = counted("unmatched", 404)
    await client.get("/a")
    await client.get("/b")
    assert counted("unmatched", 404) == before + 2


async def test_invented_methods_share_one_label(client: httpx2.AsyncClient) -> None:
    before = counted("/things/{number}", 405, "OTHER") + counted("unmatched", 404, "OTHER")
    for word in ("FROBNICATE", "XYZZY"):
        await client.request(word, "/things/1")
        await client.request(word, "/nothing")
    assert counted("/things/{number}", 405, "OTHER") + counted("unmatched", 404, "OTHER") == before + 4
    assert "XYZZY" not in (await client.get("/metrics")).text


async def test_metrics_are_served_in_prometheus_own_format(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    for name in (
        "jit_outbox_unsent",
        "jit_consumer_lag",
        "jit_relay_active",
        "jit_tables_ready",
        "jit_alerts",
    ):
        assert f"# TYPE {name} " in answer.text
