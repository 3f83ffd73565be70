"""Routers of services: what a route does not declare is refused, whoever wrote the route."""

import pytest
from fastapi import APIRouter, FastAPI

from shared.http.routers import add_routers


def test_a_router_that_ignores_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="/v1/things is not one of make_router"):
        add_routers(FastAPI(), [APIRouter(prefix="/v1/things")])
