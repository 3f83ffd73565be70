"""A route that changes something: one transaction around one command, repeated safely by its key.

The command answers in the words of its domain; `show` says how that looks over HTTP, and what it made is
what a repetition with the same `Idempotency-Key` is answered with.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi.responses import Response

from shared.context import Context
from shared.database.unit_of_work import UnitOfWork
from shared.http.access import Caller
from shared.http.idempotency import Answer, once
from shared.http.web import respond

ResultT = TypeVar("ResultT")


async def write(
    context: Context,
    caller: Caller,
    command: Callable[[UnitOfWork], Awaitable[ResultT]],
    show: Callable[[ResultT], Answer],
) -> Response:
    """Run the command in a unit of work of its own and answer; what follows the commit has then happened."""
    async with context.unit_of_work() as work:

        async def action() -> Answer:
            return show(await command(work))

        answer = await once(work.conn, caller.key, action, now=context.clock.now())
    return respond(answer)
