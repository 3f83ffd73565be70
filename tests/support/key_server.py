"""An issuer over real HTTP on loopback: discovery, a key set that can rotate, and faults."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

Key = RSAKey | ECKey


def rsa_key(kid: str, bits: int = 2048) -> RSAKey:
    return RSAKey.generate_key(bits, {"kid": kid})


def ec_key(kid: str, curve: str = "P-256") -> ECKey:
    return ECKey.generate_key(curve, {"kid": kid})


class KeyServer:
    """What the issuer publishes now, and how often its keys were fetched."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: list[dict[str, Any]] = []
        self.discovery: dict[str, Any] = {}
        self.status = 200
        self.body: bytes | None = None
        self.fetched = 0
        self.hold: asyncio.Event | None = None
        """While there, keys are not given out before it is set."""
        self.held = asyncio.Event()

    def publish(self, *keys: Key) -> None:
        self.keys = [key.as_dict(private=False) for key in keys]

    async def jwks(self, request: web.Request) -> web.Response:
        self.fetched += 1
        if self.hold is not None:
            self.held.set()
            await self.hold.wait()
        body = json.dumps({"keys": self.keys}).encode() if self.body is None else self.body
        return web.Response(status=self.status, body=body, content_type="application/json")

    async def configuration(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **self.discovery})


@asynccontextmanager
async def key_server() -> AsyncIterator[KeyServer]:
    server = KeyServer()
    app = web.Application()
    app.router.add_get("/jwks", server.jwks)
    app.router.add_get("/.well-known/openid-configuration", server.configuration)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


def claims(issuer: str, now: datetime, **changes: Any) -> dict[str, Any]:
    """Good claims; a change to None leaves the claim out."""
    good = {
        "iss": issuer,
        "sub": "subject-1",
        "aud": "jit",
        "exp": int((now + timedelta(minutes=5)).timestamp()),
        "iat": int(now.timestamp()),
        "preferred_username": "ann",
        "azp": "portal",
        "auth_time": int(now.timestamp()),
        "acr": "mfa",
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def sign(key: Any, payload: Mapping[str, Any] | str, *, algorithm: str = "RS256", **header: Any) -> str:
    """A compact token; `header` may hold anything, also what no honest issuer sends."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    registry = jws.JWSRegistry(algorithms=["RS256", "ES256", "HS256"], strict_check_header=False)
    registry.max_header_length = 100_000
    return jws.serialize_compact({"alg": algorithm, **header}, text, key, registry=registry)
