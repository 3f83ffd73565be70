"""Somebody who calls the running stack over HTTP with a bearer token, real or forged."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from shared.foundation.clock import new_id

_PATIENCE: Final = 30
"""Seconds, and tries."""


@dataclass(frozen=True)
class Person:
    """Somebody with a token (or a forged one). Paths are below the stack's address."""

    client: httpx2.AsyncClient
    name: str
    token: str

    async def call(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        return await self.client.request(method, path, json=body, headers=sent)

    async def get(self, path: str) -> Any:
        """The body of a 200."""
        return _body(await self._call_bound("GET", path, status=200), 200)

    async def post(
        self, path: str, body: Any = None, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The body of an answer that must have this status; POST is repeated safely, so it has a key."""
        sent = {"Idempotency-Key": new_id(), **(headers or {})}
        return _body(await self._call_bound("POST", path, body, headers=sent, status=status), status)

    async def put(self, path: str, body: Any) -> Any:
        """Create or replace, whatever it is now."""
        answer = await self.call("PUT", path, body)
        if answer.status_code == 428:
            answer = await self.call("PUT", path, body, headers={"If-Match": "*"})
        assert answer.status_code in {200, 201}, f"{answer.status_code} {answer.text}"
        return answer

    async def _call_bound(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, status: int
    ) -> httpx2.Response:
        """Called again as the answer says: after first sight, or in a moment where a service is not ready.

        On a busy machine the engine may be without its lease for a second, and what needs it answers 503.
        """
        for _ in range(_PATIENCE):
            answer = await self.call(method, path, body, headers=headers)
            if answer.status_code == 403 != status and answer.json()["code"] == "identity_unbound":
                _body(await self.call("GET", "/v1/me"), 200)
            elif answer.status_code == 503 != status:
                await asyncio.sleep(1)
            else:
                break
        return answer


def _body(answer: httpx2.Response, status: int) -> Any:
    where = f"{answer.request.method} {answer.request.url.path}"
    assert answer.status_code == status, f"{where}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None
