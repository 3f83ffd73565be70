"""Connections as they come over the network: how many there may be, and how long a request may take."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import uvicorn

from shared.foundation.settings import ServiceSettings
from shared.observability import logs
from shared.runtime import connections
from shared.runtime.connections import Connection
from shared.runtime.service import Parts, Service
from shared.runtime.serving import serve
from tests.support.signing import key_settings
from tests.support.waiting import until

HEAD = b"GET /livez HTTP/1.1\r\nHost: jit.test\r\n"
GUARDED = b"POST /v1/ops/ticket/outbox/replay HTTP/1.1\r\nHost: jit.test\r\nContent-Length: 200\r\n"
WITHIN_S = 0.4
PATIENCE_S = 5.0


def made(**given: Any) -> Service:
    settings = ServiceSettings(
        **key_settings("ticket"),
        env="development",
        database_url="postgresql://nobody@127.0.0.1:1/none",
        request_within_s=WITHIN_S,
        **given,
    )
    return Service("ticket", settings, Parts())


@asynccontextmanager
async def listening(service: Service) -> AsyncIterator[uvicorn.Server]:
    """The service on a port of its own."""
    protocol: Any = partial(Connection, service=service.name, settings=service.settings)
    config = uvicorn.Config(service.app, port=0, http=protocol, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn says it by a flag only)
        await asyncio.sleep(0.01)
    try:
        yield server
    finally:
        server.should_exit = True
        await serving


def port_of(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


class Client:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> bytes:
        """The status line and the head of the next answer."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def until_closed(self, *, dripping: bytes = b"") -> float:
        """Seconds until the other side closes, while these bytes are sent again and again."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    self._writer.write(dripping)
                    async with asyncio.timeout(0.05):
                        if not await self._reader.read(65536):
                            break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
        return time.monotonic() - began


Connect = Callable[[int], Awaitable[Client]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Opens a connection to a port; all are closed in the end."""
    writers = []

    async def connecting(port: int) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return Client(reader, writer)

    yield connecting
    for writer in writers:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with listening(made()) as server:
        yield port_of(server)


@pytest.mark.parametrize(("begun", "dripping"), [(b"", b""), (HEAD, b""), (HEAD, b"X-A: b\r\n")])
async def test_a_head_that_does_not_come_whole_is_not_waited_for(
    port: int, connect: Connect, begun: bytes, dripping: bytes
) -> None:
    client = await connect(port)
    client.send(begun)
    assert WITHIN_S * 0.8 <= await client.until_closed(dripping=dripping) < WITHIN_S * 4


async def test_a_connection_without_a_request_is_kept_as_long_as_the_setting_says(connect: Connect) -> None:
    async with listening(made(keep_alive_s=WITHIN_S)) as server:
        client = await connect(port_of(server))
        client.send(HEAD + b"\r\n")
        assert b"200 OK" in await client.answer()
        assert WITHIN_S * 0.8 <= await client.until_closed() < WITHIN_S * 4


async def test_the_head_of_a_later_request_is_not_waited_for_either(port: int, connect: Connect) -> None:
    client = await connect(port)
    client.send(HEAD + b"\r\n")
    assert b" 200 " in await client.answer()
    client.send(HEAD)
    assert await client.until_closed(dripping=b"X-A: b\r\n") < WITHIN_S * 4


async def test_a_head_in_pieces_that_comes_in_time_is_answered(port: int, connect: Connect) -> None:
    client = await connect(port)
    for piece in (HEAD[:10], HEAD[10:], b"\r\n"):
        client.send(piece)
        await asyncio.sleep(WITHIN_S / 5)
    assert b" 200 " in await client.answer()


async def test_a_kept_connection_is_answered_for_longer_than_one_request_may_take(
    port: int, connect: Connect
) -> None:
    client = await connect(port)
    for _ in range(4):
        client.send(HEAD + b"\r\n")
        assert b" 200 " in await client.answer()
        await asyncio.sleep(WITHIN_S * 0.7)


@pytest.mark.parametrize("token", [b"", b"Authorization: Bearer x\r\n"])
async def test_without_a_valid_token_the_answer_does_not_wait_and_the_body_is_not_read_for_ever(
    port: int, connect: Connect, token: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "AFTER_ANSWER_S", 0.8)  # a busy machine reads the answer before
    client = await connect(port)
    began = time.monotonic()
    client.send(GUARDED + token + b"\r\n{")
    assert b" 401 " in await client.answer()
    assert time.monotonic() - began < WITHIN_S
    assert await client.until_closed(dripping=b" ") < WITHIN_S * 4


async def test_a_whole_body_keeps_the_connection_after_a_refusal(port: int, connect: Connect) -> None:
    client = await connect(port)
    for _ in range(2):
        client.send(GUARDED + b"\r\n" + b" " * 200)
        assert b" 401 " in await client.answer()


async def test_beyond_the_most_connections_newcomers_are_refused_and_nobody_else(connect: Connect) -> None:
    async with listening(made(most_connections=10)) as server:
        port = port_of(server)
        known = await connect(port)
        known.send(HEAD + b"\r\n")
        assert b" 200 " in await known.answer()
        waiting = [await connect(port) for _ in range(9)]
        for client in waiting:
            client.send(HEAD)
        refused = await (await connect(port)).answer()
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 2" in refused
        known.send(HEAD + b"\r\n")
        assert b" 200 " in await known.answer()
        for client in waiting:
            await client.until_closed()
        newcomer = await connect(port)
        newcomer.send(HEAD + b"\r\n")
        assert b" 200 " in await newcomer.answer()


async def test_answers_that_nobody_reads_are_not_kept_for_ever() -> None:
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    async with listening(made()) as server:
        with reader:
            reader.connect(("127.0.0.1", port_of(server)))
            reader.sendall((HEAD.replace(b"/livez", b"/openapi.json") + b"\r\n") * 200)
            await until(lambda: any(one.flow.write_paused for one in server.server_state.connections))
            began = time.monotonic()
            await until(lambda: not server.server_state.connections, PATIENCE_S)
            assert WITHIN_S * 0.8 <= time.monotonic() - began < WITHIN_S * 4


def test_a_service_is_served_with_these_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(logs, "configure", lambda **_: None)  # it is for the whole process
    monkeypatch.setattr(uvicorn, "run", lambda _app, **options: given.update(options))
    service = made(most_connections=17)
    serve(service)
    assert given["http"].func is Connection
    assert given["http"].keywords == {"service": "ticket", "settings": service.settings}
