"""The routers of every service: each route refuses what it does not declare, and is built once.

FastAPI builds a route again for the application that includes its router, which is most of a service's start;
so the application takes the routes as they are.
"""

from collections.abc import Iterable

from fastapi import APIRouter, Depends, FastAPI

from shared.http.parameters import known_parameters


def make_router(tag: str, prefix: str = "") -> APIRouter:
    """An empty router whose routes refuse query parameters that they do not declare."""
    return APIRouter(prefix=prefix, tags=[tag], dependencies=[Depends(known_parameters)])


def add_routers(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Give the application the routes of these routers, which are complete.

    Raises TypeError for a router that was not made here: its routes would ignore what they do not know.
    """
    for router in routers:
        if not any(one.dependency is known_parameters for one in router.dependencies):
            raise TypeError(f"the router of {router.prefix} is not one of make_router")
        app.router.routes.extend(router.routes)
