"""One service in a process of its own: what is checked before it begins, and how its HTTP is served."""

import gc
import sys
from functools import partial

import uvicorn

from shared.messaging.keys import KeyProblem
from shared.observability import logs
from shared.observability.logs import logger
from shared.runtime.connections import Connection
from shared.runtime.service import Service

COLLECT_AFTER = (20_000, 20, 20)
"""Objects; Python's own 700 makes it look through all that is young many times for each record."""

log = logger("service")


def serve(service: Service) -> None:
    """Run one service in this process until SIGTERM or SIGINT."""
    settings = service.settings
    try:
        service.check_keys()
    except KeyProblem as error:
        print(f"JIT_SIGNING_KEY_FILE, JIT_PUBLIC_KEYS_DIR: {error}", file=sys.stderr)  # noqa: T201 (before logs exist)
        raise SystemExit(2) from None
    logs.configure(fmt=settings.log_format, level=settings.log_level)
    for caution in settings.cautions():
        log.warning("setting", service=service.name, caution=caution)
    # What is here now stays; what is made for a request or a record is gone before it would be collected.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    connection = partial(Connection, service=service.name, settings=settings)
    uvicorn.run(
        service.app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        http=connection,  # type: ignore[arg-type]  # it is made as the class would be
        server_header=False,
        proxy_headers=False,  # uvicorn believes whoever connects from loopback; see JIT_TRUSTED_PROXIES
    )
