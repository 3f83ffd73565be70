"""The body of a change, which is checked once more in the moment in which it is written."""

from collections.abc import Callable

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload


class CheckedBody(BytesPayload):
    """The HTTP client writes it in a turn of the event loop that it waits for.

    A process that was stopped meanwhile comes to this turn before the timers that would end the call. What
    `check` raises breaks the connection before anything of the request is written.
    """

    def __init__(self, body: bytes, check: Callable[[], None]) -> None:
        super().__init__(body)
        self._check = check

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._check()
        await super().write_with_length(writer, content_length)
