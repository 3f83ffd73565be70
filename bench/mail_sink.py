"""A mail server that takes everything and keeps nothing, for benches that do not judge the mails.

The embedded mailbox keeps them durably, which is half of what a bench's own process would cost on the two
cores that it measures.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_GO_ON, _TAKEN = b"354 go on\r\n", b"250 taken\r\n"


class _Sink(asyncio.Protocol):
    """One connection: a command a line, and a text up to the line that is a dot alone."""

    def __init__(self) -> None:
        self._rest = b""
        self._in_text = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self._rest += data
        end = b"\r\n.\r\n" if self._in_text else b"\r\n"
        while (length := self._rest.find(end)) >= 0:
            said, self._rest = self._rest[:length], self._rest[length + len(end) :]
            self._answer(said)
            end = b"\r\n.\r\n" if self._in_text else b"\r\n"

    def _answer(self, said: bytes) -> None:
        self._in_text = not self._in_text and said.upper() == b"DATA"
        self._transport.write(_GO_ON if self._in_text else _TAKEN)
        if said.upper() == b"QUIT":
            self._transport.close()


@asynccontextmanager
async def mail_sink() -> AsyncIterator[int]:
    """The port on loopback that it listens on."""
    server = await asyncio.get_running_loop().create_server(_Sink, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
