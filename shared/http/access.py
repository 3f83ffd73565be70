"""Who is calling, and whether the route is theirs to call.

Every route declares one `requires(verb)`. Verbs of the policy are asked here with the scope `*`;
`PERSON` admits anyone with a valid token and leaves the decision about the object to the command.
The route-by-role test in tests/architecture finds these declarations.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fastapi import Depends, Request

from shared.context import Context
from shared.contracts.change import Origin
from shared.contracts.configuration import AuthzDenied
from shared.contracts.documents import User
from shared.contracts.event import Actor, Revisions
from shared.contracts.people import Person
from shared.foundation.errors import Denied, Forbidden, Invalid, JitError
from shared.http.addresses import Network, client_address
from shared.http.idempotency import RequestKey
from shared.http.problems import token_missing
from shared.identity.bindings import Principal, identify
from shared.observability.logs import logger
from shared.policy.engine import NOT_READY
from shared.policy.row import RECENTLY_REBOUND
from shared.policy.rows import QUIETED

log = logger("access")

PERSON: Final = "person"
"""Any enabled person; what they may see or do is decided on the object, in the command."""


@dataclass(frozen=True)
class Caller:
    """The person behind a request, with what a command needs to decide and to record."""

    principal: Principal
    key: RequestKey | None
    cause: str
    """Id of the request, recorded as the cause of what it leads to."""

    @property
    def user(self) -> User:
        return self.principal.user

    @property
    def user_id(self) -> str:
        return self.principal.user.id

    @property
    def actor(self) -> Actor:
        return self.principal.actor

    @property
    def person(self) -> Person:
        return Person.of(self.user)

    def origin(self, at: datetime, why: str = "") -> Origin:
        """Of what they do with this request."""
        return Origin(self.actor, at, self.cause, why)


class Requires:
    """A FastAPI dependency: authenticate, bind to an Identity Store user, ask the policy for one verb."""

    def __init__(self, verb: str, *, stale_ok: bool = False, unbound_ok: bool = False) -> None:
        self.verb = verb
        self.stale_ok = stale_ok
        self.unbound_ok = unbound_ok

    async def __call__(self, request: Request) -> Caller:
        context: Context = request.app.state.context
        now = context.clock.now()
        token = _bearer(request)
        claims = await context.verifier.verify(token, now)
        if not self.stale_ok:
            _check_tables(context, request, self.verb)
        if (wanted := request.headers.get("Jit-Min-Revision")) is not None:
            await context.policy.wait_for(parse_revision(wanted))
        principal = await identify(
            token,
            claims,
            context.policy.known(),
            now,
            first_sight=context.first_sight,
            answers=context.answers,
            unbound_ok=self.unbound_ok,
            cause=_request_id(request),
        )
        principal = _with_address(principal, request, context.settings.trusted_proxies)
        request.state.actor = principal.actor
        self._ask_policy(context, principal, now)
        return Caller(principal, await _request_key(request, principal), _request_id(request))

    def _ask_policy(self, context: Context, principal: Principal, now: datetime) -> None:
        if self.verb == PERSON:
            return
        answer = context.policy.known().may(principal.user.id, self.verb, now=now)
        if answer.code == NOT_READY.code:
            context.policy.snapshot()  # says what it waits for
        if not answer.allowed:
            raise Forbidden(
                f"this needs the right {self.verb}, which you do not have",
                code="not_permitted",
                denied=Denied(self.verb, principal.user.id, rules=answer.rules),
            )
        if self.verb in QUIETED:
            _refuse_while_quiet(context, principal, self.verb, now)


def _refuse_while_quiet(context: Context, principal: Principal, verb: str, now: datetime) -> None:
    until = context.policy.known().quiet_until(principal.user.id, now)
    if until is not None:
        raise Forbidden(
            f"your sign-in was replaced by another, so you cannot administer before {until:%Y-%m-%d %H:%MZ}; "
            "asking for access, stopping it and reading work as before",
            code=RECENTLY_REBOUND.code.lower(),
            denied=Denied(verb, principal.user.id),
        )


def requires(verb: str, *, stale_ok: bool = False, unbound_ok: bool = False) -> Any:
    """The default value of a route's `caller` parameter.

    `stale_ok` marks a route that works on what is known of people and policy, however old: one that takes
    access away, since a stop is never blocked by the bus, one that mends the bus, or one that shows what is
    live to those who must act on it. `unbound_ok` marks those of them that take access away: they also take a
    sign-in that nobody has seen yet, without asking anybody (shared/identity/bindings.py).
    """
    return Depends(Requires(verb, stale_ok=stale_ok, unbound_ok=unbound_ok))


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise token_missing()
    return token.strip()


def _check_tables(context: Context, request: Request, verb: str) -> None:
    if request.method in {"GET", "HEAD"}:
        context.policy.snapshot()
    else:
        context.policy.snapshot(purpose="configure" if verb == "config.write" else "write")


def _with_address(principal: Principal, request: Request, trusted: Sequence[Network]) -> Principal:
    peer = request.client.host if request.client else None
    ip = client_address(peer, request.headers.getlist("X-Forwarded-For"), trusted)
    return Principal(user=principal.user, actor=principal.actor.model_copy(update={"ip": ip}))


async def _request_key(request: Request, principal: Principal) -> RequestKey | None:
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method != "POST":
        return None
    return RequestKey.of(
        caller=principal.user.id,
        key=key,
        method=request.method,
        path=request.url.path,
        body=await request.body(),
    )


def _request_id(request: Request) -> str:
    return str(request.state.request_id)


_REVISION: Final = re.compile(r"([a-z]+)=([0-9]{1,18})")


def parse_revision(text: str) -> Revisions:
    """`catalog=12,rules=3` as revisions; what is not named is not waited for."""
    try:
        parts = [_REVISION.fullmatch(part.strip()) for part in text.split(",")]
        known = {match[1]: int(match[2]) for match in parts if match is not None}
        if len(known) < len(parts) or not set(known) <= set(Revisions.model_fields):
            raise ValueError(text)
        return Revisions(**known)
    except ValueError:
        raise Invalid(
            "Jit-Min-Revision must look like catalog=12,rules=3,inventory=40 (as in Jit-Revision of a write)",
            code="min_revision_invalid",
        ) from None


def format_revision(**revisions: int) -> dict[str, str]:
    """The header a write answers with."""
    return {"Jit-Revision": ",".join(f"{name}={value}" for name, value in revisions.items())}


async def record_denial(context: Context, request: Request, error: JitError) -> None:
    """Make a refusal a fact, in a transaction of its own; the refusal stands whatever becomes of it."""
    actor: Actor | None = getattr(request.state, "actor", None)
    if error.denied is None or actor is None:
        return
    fact = AuthzDenied(
        subject=error.denied.subject,
        actor=actor,
        why=error.detail,
        cause=_request_id(request),
        at=context.clock.now(),
        verb=error.denied.verb,
        code=error.code,
        rules=error.denied.rules,
        route=f"{request.method} {request.url.path}",
        object_id=error.denied.object_id,
    )
    try:
        async with context.unit_of_work() as work:
            context.record(work, fact)
    except Exception:
        log.exception("a refusal could not be recorded", code=error.code, verb=error.denied.verb)
