"""HTTP servers and the ports of a run: asked for before anything starts, opened when their turn comes."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from local.errors import CannotStart
from local.processes import free_ports

LOOPBACK = "127.0.0.1"
KEEP_ALIVE_S = 75
"""Longer than any client here keeps a connection, as JIT_KEEP_ALIVE_S of a service's own process."""


class PortRefused(CannotStart):
    """Somebody else has a port, or the operating system does not give it to us."""


def require_ports(ports: Mapping[str, int]) -> None:
    """Refuse the start while it has cost nothing. Ports go by the option that names them."""
    refused = {option: why for option, port in ports.items() if (why := _refusal(port)) is not None}
    if refused:
        reasons = " and ".join(f"port {ports[option]} {why}" for option, why in refused.items())
        others = zip(refused, free_ports(len(refused)), strict=True)
        arguments = " ".join(f"{option} {port}" for option, port in others)
        raise PortRefused(f'{reasons}; choose another, for example: make run ARGS="{arguments}"')


@asynccontextmanager
async def serving(app: ASGIApp, *, port: int, host: str = LOOPBACK) -> AsyncIterator[None]:
    """Listens before the block begins; whoever connects meanwhile waits until the server takes over."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=3,
        timeout_keep_alive=KEEP_ALIVE_S,
        server_header=False,
    )
    server = uvicorn.Server(config)
    # The terminal's Ctrl-C belongs to whoever started us and stops everything in order.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    with _listening(host, port) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield
        finally:
            server.should_exit = True
            await task


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise PortRefused(f"port {port} {_why(error)}") from error


def _refusal(port: int) -> str | None:
    try:
        socket.create_server((LOOPBACK, port)).close()
    except OSError as error:
        return _why(error)
    return None


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is taken by another program"
    return f"cannot be opened ({error.strerror})"
