"""Every route of every service, tried by everybody: authorisation is declared once and does what it says."""

import importlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.issuer import DevelopmentIssuer
from shared.context import Context
from shared.foundation.clock import ManualClock
from shared.foundation.environment import read
from shared.http.access import Requires
from shared.runtime.service import Process, Service
from tests.architecture.route_roles import EVERYBODY, LIVE, OPEN, ROLES, STOPS
from tests.support.harness import NOW, ready_tables, service_database, with_pool
from tests.support.http import NO_LIMITS, api, trusted
from tests.support.signing import key_settings

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/__main__.py"))
TABLE = "tests/architecture/route_roles.py"
EXAMPLES = {
    "account_id": "111111111111",
    "set_id": "ps-00000000000000ad",
    "set_group_id": "elevated",
    "scope_id": "read",
    "rule_id": "prod",
    "sequence": "1",
}
"""For path parameters that are not UUIDs."""


@dataclass(frozen=True)
class Route:
    name: str
    """`METHOD /path`"""
    requires: tuple[Requires, ...]

    @property
    def method(self) -> str:
        return self.name.split(" ", 1)[0]

    @property
    def example(self) -> str:
        """The path with something in place of its parameters."""
        path = self.name.split(" ", 1)[1]
        return re.sub(
            r"{(\w+)}", lambda found: EXAMPLES.get(found[1], "0" * 8 + "-0000-7000-8000-" + "0" * 12), path
        )


def build(service: str, dsn: str, issuers: tuple[Any, ...] = ()) -> Service:
    """The service as its __main__ makes it, on the small organisation."""
    module = importlib.import_module(f"services.{service}.__main__")
    settings_module = importlib.import_module(f"services.{service}.settings")
    settings_class = next(
        found
        for name, found in vars(settings_module).items()
        if name.endswith("Settings") and found.__module__ == settings_module.__name__
    )
    settings = read(
        settings_class,
        env="development",
        database_url=dsn,
        issuers=issuers,
        **NO_LIMITS,
        **key_settings(service),
    )
    clock = ManualClock(NOW)
    built: Service = module.build(settings, process=Process(clock, ready_tables(clock)))
    return built


def routes(service: Service) -> list[Route]:
    found = []
    for route in _flat(service.app.routes):
        for method in sorted(set(route.methods or ()) - {"HEAD"}):
            dependant = getattr(route, "dependant", None)
            requires = tuple(_requires(dependant)) if dependant is not None else ()
            found.append(Route(f"{method} {route.path}", requires))
    return found


def _flat(found: Any) -> Iterator[Any]:
    """FastAPI keeps included routers as they are; their routes come with their prefixes when asked for."""
    for route in found:
        if hasattr(route, "effective_candidates"):
            yield from _flat(route.effective_candidates())
        else:
            yield route


def _requires(dependant: Any) -> Iterator[Requires]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Requires):
            yield dependency.call
        yield from _requires(dependency)


def declared(service: str) -> list[Route]:
    return routes(build(service, "postgresql://nobody@127.0.0.1:1/none"))


@pytest.fixture(scope="module", params=SERVICES)
async def running(
    admin_dsn: str, request: pytest.FixtureRequest, issuer: DevelopmentIssuer
) -> AsyncIterator[Service]:
    """Each service over its own empty database."""
    async with (
        service_database(admin_dsn, request.param) as dsn,
        with_pool(build(request.param, dsn, (trusted(issuer),))) as service,
    ):
        yield service


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_declares_exactly_one_requirement(service: str) -> None:
    for route in declared(service):
        if route.name in OPEN:
            assert not route.requires, (
                f"{route.name} is in OPEN of {TABLE} and asks for a right: remove it there"
            )
        else:
            assert len(route.requires) == 1, (
                f"{service}: {route.name} declares {len(route.requires)} requirements: give it exactly one "
                "`caller: Caller = requires(verb)` (shared/http/access.py)"
            )


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_has_a_row_and_every_row_a_route(service: str) -> None:
    found = {route.name for route in declared(service)} - OPEN
    rows = set(ROLES.get(service, {}))
    assert found <= rows, f"say in {TABLE} who gets past {sorted(found - rows)} of {service}"
    assert rows <= found, f"remove {sorted(rows - found)} of {service} from {TABLE}: there is no such route"


def test_the_routes_that_work_on_stale_tables_stop_access_or_mend_the_bus() -> None:
    every = [route for service in SERVICES for route in declared(service)]
    found = {route.name for route in every if any(one.stale_ok for one in route.requires)}
    mending = {route.name for route in every if "/v1/ops/" in route.name}
    assert found == STOPS | LIVE | mending, (
        f"{TABLE} and the routes disagree: {sorted(found ^ (STOPS | LIVE | mending))}. "
        "`requires(..., stale_ok=True)` is for what ends or shows access or mends the bus, and all of it"
    )


def test_the_routes_that_stop_access_are_marked_so_and_no_others() -> None:
    every = [route for service in SERVICES for route in declared(service)]
    found = {route.name for route in every if any(one.stops for one in route.requires)}
    assert found == STOPS, (
        f"{TABLE} and the routes disagree: {sorted(found ^ STOPS)}. `requires(..., stops=True)` is for every "
        "route that takes access away: it is never refused for the number of calls"
    )


async def test_nobody_gets_past_any_route_without_a_token(
    running: Service, issuer: DevelopmentIssuer
) -> None:
    async with api(running, issuer, None) as client:
        for route in routes(running):
            if route.name in OPEN:
                continue
            answer = await client.request(route.method, route.example, **_body(route))
            assert answer.status_code == 401, f"{route.name} answers {answer.status_code} without a token"


@pytest.mark.parametrize("user", sorted(EVERYBODY))
async def test_everybody_gets_past_exactly_where_the_table_says(
    running: Service, issuer: DevelopmentIssuer, user: str
) -> None:
    async with api(running, issuer, user) as client:
        for route in routes(running):
            if route.name in OPEN:
                continue
            answer = await client.request(route.method, route.example, **_body(route))
            past = answer.status_code not in {401, 403}
            assert past == (user in ROLES[running.name][route.name]), (
                f"{user} gets {answer.status_code} from {route.name} of {running.name} "
                f"({answer.text[:200]}): change its `requires`, or its row in {TABLE} if that is meant"
            )
            assert answer.status_code != 500, f"{route.name} fails for {user}: {answer.text[:300]}"


async def test_a_disabled_user_gets_past_nothing(running: Service, issuer: DevelopmentIssuer) -> None:
    async with api(running, issuer, "gone") as client:
        for route in routes(running):
            if route.name not in OPEN:
                answer = await client.request(route.method, route.example, **_body(route))
                assert answer.status_code == 403, (
                    f"{route.name} answers {answer.status_code} to a disabled user"
                )


async def test_open_routes_need_no_token(running: Service, issuer: DevelopmentIssuer) -> None:
    async with api(running, issuer, None) as client:
        for name in OPEN:
            answer = await client.get(name.removeprefix("GET "))
            assert answer.status_code in {200, 503}, name


async def test_no_route_ignores_a_query_parameter(running: Service, issuer: DevelopmentIssuer) -> None:
    async with api(running, issuer, "root") as client:
        for route in routes(running):
            if route.name == "GET /openapi.json":
                continue
            answer = await client.request(
                route.method, route.example, params={"surprise": "1"}, **_body(route)
            )
            assert answer.status_code == 422, f"{route.name} takes ?surprise=1: {answer.status_code}"
            (error,) = answer.json()["errors"]
            assert (error["field"], error["code"]) == ("surprise", "unknown_parameter"), route.name


async def test_every_path_lists_its_methods_for_a_wrong_one(
    running: Service, issuer: DevelopmentIssuer
) -> None:
    methods: dict[str, set[str]] = {}
    for route in routes(running):
        methods.setdefault(route.example, set()).add(route.method)
    async with api(running, issuer, "root") as client:
        for path, known in methods.items():
            answer = await client.request("PATCH", path, json={})
            heads = {"HEAD"} if "GET" in known else set()
            assert answer.status_code == 405, path
            assert set(answer.headers["allow"].split(", ")) == known | heads, path


def _body(route: Route) -> dict[str, Any]:
    """An empty object: what is wrong with it is said after authorisation."""
    return {"json": {}} if route.method in {"POST", "PUT", "PATCH"} else {}


def test_a_context_is_what_routes_are_given() -> None:
    """`Requires` finds its context on the app; a service that mounts another app would hide it."""
    service = build(SERVICES[0], "postgresql://nobody@127.0.0.1:1/none")
    assert isinstance(service.app.state.context, Context)
