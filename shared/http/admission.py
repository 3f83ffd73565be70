"""Who calls, and whether not too often: settled before anything of a request's body is read.

Comes after shared/http/methods.py, which knows what the operation requires, and before bodies and routes.
Which user the token names, and what they may do, is decided by the route (shared/http/access.py).
"""

from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from math import ceil

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.context import Context
from shared.foundation.errors import JitError, TooMany, Unauthenticated
from shared.http.access import Requires
from shared.http.addresses import client_address
from shared.http.limits import Buckets, Rate
from shared.http.problems import problem, token_missing
from shared.identity.tokens import Claims

_MINUTE_S = 60.0


class Admission:
    """Verifies the token and counts the call. A route that stops access is never refused for its number."""

    def __init__(self, app: ASGIApp, *, context: Context) -> None:
        settings = context.settings
        bad = settings.bad_tokens_per_minute
        self._app = app
        self._context = context
        self._callers = Buckets(Rate(settings.requests_per_second, at_once=settings.requests_at_once))
        self._addresses = Buckets(Rate(bad / _MINUTE_S, at_once=bad))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked: Requires | None = scope["state"]["requires"] if scope["type"] == "http" else None
        if asked is not None:
            try:
                token, claims = await self._admit(scope, asked)
                scope["state"] |= {"token": token, "claims": claims}
            except JitError as error:
                await problem(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, asked: Requires) -> tuple[str, Claims]:
        headers, now = Headers(scope=scope), self._context.clock.now()
        try:
            token = _bearer(headers)
            claims = await self._context.verifier.verify(token, now)
        except Unauthenticated:
            # Only now: a good token passes from any address, whoever else calls from there.
            if not asked.stops:
                self._count_bad_token(scope, headers, now)
            raise
        if not asked.stops:
            self._count_call(claims, now)
        return token, claims

    def _count_call(self, claims: Claims, now: datetime) -> None:
        wait = self._callers.take((claims.iss, claims.sub), now)
        if wait is not None:
            raise _too_many("you call more often than this service answers", "too_many_requests", wait)

    def _count_bad_token(self, scope: Scope, headers: Headers, now: datetime) -> None:
        peer = scope["client"][0] if scope.get("client") else None
        trusted = self._context.settings.trusted_proxies
        address = client_address(peer, headers.getlist("X-Forwarded-For"), trusted)
        wait = self._addresses.take(_neighbourhood(address), now)
        if wait is not None:
            raise _too_many(
                "too many calls without a valid token came from here", "too_many_bad_tokens", wait
            )


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise token_missing()
    return token.strip()


def _neighbourhood(address: str | None) -> str | None:
    """What one subscriber has: an IPv4 address, or of IPv6 the whole /64."""
    if address is None or not isinstance(ip_address(address), IPv6Address):
        return address
    return str(ip_network(f"{address.partition('%')[0]}/64", strict=False))


def _too_many(what: str, code: str, wait: timedelta) -> TooMany:
    seconds = ceil(wait.total_seconds())
    return TooMany(f"{what}; wait {seconds} s and try again", code=code, wait_s=seconds)
