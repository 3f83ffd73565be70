"""Calling the five services as a person would, through kills: retried until there is an answer.

A POST carries an Idempotency-Key, so that repeating it after a lost answer has one effect.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from bench.fleet import Fleet
from shared.foundation.clock import new_id

_OWNERS = {
    "rules": "approval",
    "reviews": "approval",
    "grants": "provisioner",
    "revocations": "provisioner",
    "inventory": "provisioner",
    "operations": "provisioner",
    "deliveries": "notifier",
    "audit": "audit",
}
"""First part of a path to its service; everything else is the ticket service's."""


@dataclass(frozen=True)
class Reply:
    """An answer, and when the call that got it was first sent and answered. Epoch seconds."""

    status: int
    body: Any
    headers: Mapping[str, str]
    sent: float
    answered: float


class Person:
    """Somebody with a token."""

    def __init__(self, fleet: Fleet, user_name: str) -> None:
        self._fleet = fleet
        self.user_name = user_name
        self._token = fleet.issuer.mint(user_name)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        patience: float = 90,
    ) -> Reply:
        """Send until something other than "try again" comes back; raises TimeoutError in the end."""
        sending = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        if method == "POST":
            sending["Idempotency-Key"] = new_id()
        url = self._fleet.services[_service_of(path)].url + path
        first = time.time()
        async with asyncio.timeout(patience):
            while True:
                answer = await self._once(method, url, body, sending)
                if answer is not None and not _says_try_again(answer):
                    text = answer.text
                    return Reply(
                        answer.status_code,
                        answer.json() if text else None,
                        answer.headers,
                        first,
                        time.time(),
                    )
                await asyncio.sleep(0.2)

    async def _once(
        self, method: str, url: str, body: Any, headers: Mapping[str, str]
    ) -> httpx2.Response | None:
        try:
            return await self._fleet.client.request(method, url, json=body, headers=dict(headers))
        except httpx2.TransportError:
            return None


def _says_try_again(answer: httpx2.Response) -> bool:
    """Nobody can say whose a sign-in is that was never seen, while the provisioner is away."""
    if answer.status_code == 403:
        return bool(answer.json().get("code") == "identity_unbound")
    return answer.status_code in {502, 503}


def _service_of(path: str) -> str:
    parts = path.partition("?")[0].split("/")
    if parts[-1] == "reviews":
        return "approval"
    if parts[2] == "ops":
        return parts[3]
    return _OWNERS.get(parts[2], "ticket")
