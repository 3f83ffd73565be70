"""Tasks of the engine that nobody waits for: they must not fail in silence."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from services.provisioner.store.errors import DATABASE_AWAY
from shared.observability.logs import logger

log = logger("engine")


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Begun, and told of in the log if it fails."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    if task.cancelled() or (error := task.exception()) is None:
        return
    if isinstance(error, DATABASE_AWAY):
        log.warning("a visit waits for the database", error=f"{type(error).__name__}: {error}")
    elif isinstance(error, Exception):
        log.error("a visit failed; this is a bug", exc_info=error)
