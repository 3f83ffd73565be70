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
from shared.contracts.documents import User
from shared.contracts.event import Actor, Revisions
from shared.contracts.people import Person
from shared.foundation.errors import Denied, Forbidden, Invalid
from shared.http.addresses import Network, client_address
from shared.http.idempotency import RequestKey
from shared.identity.bindings import Principal, identify
from shared.identity.tokens import Claims
from shared.policy.engine import NOT_READY
from shared.policy.row import RECENTLY_REBOUND
from shared.policy.rows import QUIETED

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
    """A FastAPI dependency: bind the token to an Identity Store user, ask the policy for one verb."""

    def __init__(self, verb: str, *, stale_ok: bool = False, stops: bool = False) -> None:
        self.verb = verb
        self.stale_ok = stale_ok or stops
        self.stops = stops

    async def __call__(self, request: Request) -> Caller:
        context: Context = request.app.state.context
        now = context.clock.now()
        token: str = request.state.token
        claims: Claims = request.state.claims  # verified before the body was read: shared/http/admission.py
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
            unbound_ok=self.stops,
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
    until = context.policy.known().sign_ins.quiet_until(principal.user.id, now)
    if until is not None:
        raise Forbidden(
            f"your sign-in was replaced by another, so you cannot administer before {until:%Y-%m-%d %H:%MZ}; "
            "asking for access, stopping it and reading work as before",
            code=RECENTLY_REBOUND.code.lower(),
            denied=Denied(verb, principal.user.id),
        )


def requires(verb: str, *, stale_ok: bool = False, stops: bool = False) -> Any:
    """The default value of a route's `caller` parameter.

    `stops` marks a route that takes access away: whoever may stop is neither kept waiting by the number of
    their calls nor by the bus, and may have a sign-in that nobody has seen yet (shared/identity/bindings.py).
    `stale_ok` marks one that works on what is known of people and policy, however old, as those that stop do:
    one that mends the bus, or one that shows what is live to those who must act on it.
    """
    return Depends(Requires(verb, stale_ok=stale_ok, stops=stops))


def required_by(dependant: Any) -> Requires | None:
    """What a route declares, wherever among its dependencies; None where it is open to everybody."""
    for dependency in dependant.dependencies if dependant is not None else ():
        found = dependency.call if isinstance(dependency.call, Requires) else required_by(dependency)
        if found is not None:
            return found
    return None


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
