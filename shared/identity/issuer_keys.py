"""An issuer's public keys, fetched over HTTP and kept; shared/identity/tokens.py verifies with them.

Keys come from the issuer's key set only, never from a token. A token can make us fetch at most every
30 seconds, and an issuer that cannot be reached does not lock everybody out for a day.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import httpx2
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from shared.foundation.errors import NotReady
from shared.observability.logs import logger

MAX_AGE: Final = timedelta(minutes=10)
"""Keys older than this are fetched anew."""
STALE_LIMIT: Final = timedelta(hours=24)
"""How long old keys serve while the issuer cannot be reached."""
RETRY_AFTER: Final = timedelta(seconds=30)
"""The least time between two fetches, whatever tokens come in."""
FIRST_RETRY_AFTER: Final = timedelta(seconds=2)
"""The same while there are no keys at all and nobody can get in."""
_FETCH_SECONDS: Final = 3.0
_MAX_BYTES: Final = 1_000_000
_SMALLEST_RSA_BITS: Final = 2048

VerificationKey = RSAKey | ECKey

log = logger("auth")


class KeysUnusable(Exception):
    """The issuer answered, but not with what a key set looks like."""


@dataclass(frozen=True)
class _Keys:
    by_kid: Mapping[str | None, tuple[VerificationKey, ...]]
    fetched_at: datetime


class IssuerKeys:
    """The keys of one issuer. `https_only` also holds for the address that discovery names."""

    def __init__(self, *, issuer: str, jwks_url: str | None, https_only: bool) -> None:
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._https_only = https_only
        self._keys: _Keys | None = None
        self._tried_at: datetime | None = None
        self._fetching = asyncio.Lock()

    async def find(self, *, algorithm: str, kid: str | None, now: datetime) -> VerificationKey | None:
        """The key for a signature; None if the issuer has none such.

        Without a kid the key must be the only one of its kind. Raises NotReady while there is no key set.
        """
        keys = await self._current(now, wanted=kid)
        fitting = [key for key in _candidates(keys, kid) if _fits(key, algorithm)]
        return fitting[0] if len(fitting) == 1 else None

    async def _current(self, now: datetime, *, wanted: str | None) -> _Keys:
        if not self._is_good(now, wanted) and not (self._fetching.locked() and self._is_usable(now)):
            async with self._fetching:
                if not self._is_good(now, wanted) and self._may_try(now):
                    await self._refresh(now)
        if self._keys is None or not self._is_usable(now):
            raise NotReady(
                "the token's issuer cannot be reached to check it; try again in a moment",
                code="issuer_unreachable",
            )
        return self._keys

    def _is_good(self, now: datetime, wanted: str | None) -> bool:
        keys = self._keys
        young = keys is not None and abs(now - keys.fetched_at) <= MAX_AGE
        return young and keys is not None and (wanted is None or wanted in keys.by_kid)

    def _is_usable(self, now: datetime) -> bool:
        return self._keys is not None and abs(now - self._keys.fetched_at) <= STALE_LIMIT

    def _may_try(self, now: datetime) -> bool:
        pause = RETRY_AFTER if self._is_usable(now) else FIRST_RETRY_AFTER
        return self._tried_at is None or abs(now - self._tried_at) >= pause

    async def _refresh(self, now: datetime) -> None:
        self._tried_at = now
        try:
            async with asyncio.timeout(_FETCH_SECONDS * 2):
                self._keys = _Keys(_read_keys(await self._fetch()), now)
        except (httpx2.HTTPError, httpx2.InvalidURL, KeysUnusable, TimeoutError) as error:
            log.warning(
                "issuer keys not fetched", issuer=self._issuer, error=f"{type(error).__name__}: {error}"
            )

    async def _fetch(self) -> Any:
        async with httpx2.AsyncClient(
            timeout=_FETCH_SECONDS, follow_redirects=False, verify=trusted_roots()
        ) as client:
            url = self._jwks_url or await self._discover(client)
            return await _get_json(client, url)

    async def _discover(self, client: httpx2.AsyncClient) -> str:
        document = await _get_json(client, self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if not isinstance(document, dict) or document.get("issuer") != self._issuer:
            raise KeysUnusable("the discovery document is another issuer's")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or (self._https_only and not url.startswith("https://")):
            raise KeysUnusable("the discovery document names no jwks_uri that may be used")
        return url


@cache
def trusted_roots() -> ssl.SSLContext:
    """Loading them takes longer than fetching the keys."""
    return httpx2.create_ssl_context()


async def _get_json(client: httpx2.AsyncClient, url: str) -> Any:
    async with client.stream("GET", url, headers={"Accept": "application/json"}) as response:
        if response.status_code != 200:
            raise KeysUnusable(f"{url} answered {response.status_code}")
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MAX_BYTES:
                raise KeysUnusable(f"{url} answers with more than {_MAX_BYTES} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise KeysUnusable(f"{url} does not answer with JSON") from error


def _read_keys(document: Any) -> dict[str | None, tuple[VerificationKey, ...]]:
    """Signature keys by key id. Keys we cannot use are left out; a set without any is refused."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeysUnusable("the key set has no list of keys")
    found: dict[str | None, tuple[VerificationKey, ...]] = {}
    for entry in entries:
        key = _read_key(entry) if isinstance(entry, dict) else None
        if key is not None:
            kid = entry.get("kid") if isinstance(entry.get("kid"), str) else None
            found[kid] = (*found.get(kid, ()), key)
    if not found:
        raise KeysUnusable("the key set has no RSA or P-256 signature key")
    return found


def _read_key(entry: dict[str, Any]) -> VerificationKey | None:
    """A public RSA or P-256 key; None for anything else: another use, too short, secret or malformed."""
    if entry.get("use", "sig") != "sig":
        return None
    try:
        if entry.get("kty") == "RSA" and entry.get("alg", "RS256") == "RS256":
            if _bits(entry["n"]) < _SMALLEST_RSA_BITS:
                return None
            return RSAKey.import_key({"kty": "RSA", "n": entry["n"], "e": entry["e"]})
        if entry.get("kty") == "EC" and entry.get("crv") == "P-256" and entry.get("alg", "ES256") == "ES256":
            return ECKey.import_key({"kty": "EC", "crv": "P-256", "x": entry["x"], "y": entry["y"]})
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return None


def _bits(number: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(number + "==")).bit_length()


def _candidates(keys: _Keys, kid: str | None) -> tuple[VerificationKey, ...]:
    if kid is not None:
        return keys.by_kid.get(kid, ())
    return tuple(key for same in keys.by_kid.values() for key in same)


def _fits(key: VerificationKey, algorithm: str) -> bool:
    return isinstance(key, RSAKey if algorithm == "RS256" else ECKey)
