"""Calling a service's routes as somebody: real tokens from the development issuer, over ASGI.

`issuer_server` runs the issuer on loopback, since verifiers fetch its keys over HTTP; `api` gives a client.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
import uvicorn

from local.issuer import DevelopmentIssuer, subject_of
from local.processes import free_ports
from shared.foundation.issuers import TrustedIssuer
from shared.runtime.service import Service
from tests.support import organisation
from tests.support.harness import NOW

AUDIENCE = "jit"
NO_LIMITS: Final[Mapping[str, Any]] = {
    "requests_per_second": 1_000_000,
    "requests_at_once": 1_000_000,
    "bad_tokens_per_minute": 1_000_000,
}
"""Settings of a service that is called by tests more often than by people."""


@contextmanager
def issuer_server(data: Path) -> Iterator[DevelopmentIssuer]:
    """The development issuer, answering on loopback; its tokens are made for where manual clocks start."""
    (port,) = free_ports(1)
    issuer = DevelopmentIssuer(
        data,
        f"http://127.0.0.1:{port}",
        AUDIENCE,
        dict.fromkeys(organisation.PEOPLE, ""),
        environment="development",
        now=lambda: NOW,
    )
    server = uvicorn.Server(uvicorn.Config(issuer.app, port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.should_exit = True
        thread.join(10)


def trusted(issuer: DevelopmentIssuer) -> TrustedIssuer:
    """The issuer as a service's settings name it."""
    return TrustedIssuer(
        issuer=issuer.issuer_url, audience=AUDIENCE, claim="preferred_username", lookup="user_name"
    )


def told(service: Service, issuer: DevelopmentIssuer, user: str) -> None:
    """Let the service know, as from the provisioner and for a long time, whom this person's tokens mean."""
    subject, for_long = subject_of(user), NOW + timedelta(days=365)
    service.context.answers.remember(issuer.issuer_url, subject, organisation.user_id(user), until=for_long)


@asynccontextmanager
async def api(
    service: Service,
    issuer: DevelopmentIssuer,
    user: str | None,
    *,
    headers: Mapping[str, str] | None = None,
    **claims: Any,
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client with somebody's token (nobody's where `user` is None). Server errors come as responses.

    Claims replace the token's own; its lifetime is a week, so that clocks may be moved. Whose token says
    nothing else is somebody whom the service has been told of: see `told`.
    """
    sent = dict(headers or {})
    if user is not None and not claims:
        told(service, issuer, user)
    if user is not None:
        lifetime = {"exp": int(NOW.timestamp()) + 7 * 24 * 3600}
        sent["Authorization"] = f"Bearer {issuer.mint(user, **(lifetime | claims))}"
    transport = httpx2.ASGITransport(app=service.app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://jit.test", headers=sent) as client:
        yield client
