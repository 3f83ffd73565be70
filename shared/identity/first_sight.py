"""Asking the provisioner whom a subject is that nobody has seen: GET /v1/me, with that very token.

The only call from one service to another. It is made once, for two seconds at most; where it fails the caller
is refused and told to make it themself.
"""

import asyncio
import json
from typing import Any, Final

import httpx2

from shared.foundation.errors import Forbidden
from shared.identity.bindings import CONFLICT, REPLACED, Sight, conflicting, replaced, unbound
from shared.identity.issuer_keys import trusted_roots
from shared.observability.logs import logger

WITHIN_S: Final = 2.0
AT_ONCE: Final = 20
"""Connections; who comes after them waits, within the two seconds."""
_MOST_BYTES: Final = 1_000_000
_PATH: Final = "/v1/me"

log = logger("identity")


class Provisioner:
    """The provisioner's address, with connections that are kept."""

    def __init__(self, url: str, *, within_s: float = WITHIN_S) -> None:
        self._url = url.rstrip("/")
        self._within_s = within_s
        self._client: httpx2.AsyncClient | None = None

    async def first_sight(self, sight: Sight) -> str:
        """The id of the user the subject is bound to.

        Raises Forbidden: what the provisioner says of the identity, else identity_unbound.
        """
        try:
            async with asyncio.timeout(self._within_s):
                status, body = await self._ask(sight.token)
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            log.warning("the provisioner cannot be asked who this is", error=type(error).__name__)
            raise unbound() from error
        return _user_id(status, body)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _ask(self, token: str) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        async with self._connected().stream("GET", f"{self._url}{_PATH}", headers=headers) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise httpx2.DecodingError("the answer is longer than who somebody is")
            return response.status_code, bytes(body)

    def _connected(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=self._within_s,
                follow_redirects=False,  # the token is for one address
                trust_env=False,
                limits=httpx2.Limits(max_connections=AT_ONCE, max_keepalive_connections=2),
                verify=trusted_roots(),
            )
        return self._client


def _user_id(status: int, body: bytes) -> str:
    answer = _object(body)
    user_id = answer.get("id")
    if status == 200 and isinstance(user_id, str) and user_id:
        return user_id
    log.warning("the provisioner does not say who this is", status=status, code=answer.get("code"))
    raise _refusal(status, answer)


def _refusal(status: int, answer: dict[str, Any]) -> Forbidden:
    code, conflict_id = answer.get("code"), answer.get("conflict_id")
    if status == 403 and code == CONFLICT:
        return conflicting(conflict_id if isinstance(conflict_id, str) else None)
    if status == 403 and code == REPLACED:
        return replaced()
    return unbound()


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
