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
from shared.http.idempotency import StoredAnswer, answered, once
from shared.http.web import respond

ResultT = TypeVar("ResultT")
PreparedT = TypeVar("PreparedT")


async def write(
    context: Context,
    caller: Caller,
    command: Callable[[UnitOfWork], Awaitable[ResultT]],
    show: Callable[[ResultT], StoredAnswer],
) -> Response:
    """Run the command in a unit of work of its own and answer; what follows the commit has then happened."""
    async with context.unit_of_work() as work:

        async def action() -> StoredAnswer:
            return show(await command(work))

        answer = await once(work.conn, caller.key, action, now=context.clock.now())
    return respond(answer)


async def write_prepared(
    context: Context,
    caller: Caller,
    prepare: Callable[[], Awaitable[PreparedT]],
    command: Callable[[UnitOfWork, PreparedT], Awaitable[ResultT]],
    show: Callable[[ResultT], StoredAnswer],
) -> Response:
    """Like `write`, for a command that needs something from outside: no transaction is open while it is got.

    A repetition is answered before anything is asked for. Of two requests with one key at the same moment
    both may ask, and one has the effect; where asking is dear the caller lets them in one after the other.
    """
    async with context.pool.acquire() as conn:
        known = await answered(conn, caller.key)
    if known is not None:
        return respond(known)
    prepared = await prepare()
    return await write(context, caller, lambda work: command(work, prepared), show)
