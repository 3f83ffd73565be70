"""From a verified token to one enabled Identity Store user, the same one for ever.

Comes after shared/identity/tokens.py and before any question of rights. Each service remembers in its own
database which user a subject was at first sight; whoever later turns out to be somebody else is refused,
loudly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from shared.contracts.documents import User
from shared.contracts.event import Actor, ActorKind
from shared.foundation.errors import Forbidden, NotReady
from shared.identity.tokens import Claims
from shared.policy.snapshot import Snapshot

_MOST_REMEMBERED: Final = 10_000


class Alerts(Protocol):
    """Where a conflict of identities is made known; see shared/observability/alerts.py."""

    async def raise_alert(self, *, key: str, summary: str, detail: str, once: bool = False) -> None: ...


class Runs(Protocol):
    """What is needed of a connection; a pool will do, and is then used only when a query is needed."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]: ...

    async def execute(self, query: str, *args: Any) -> str: ...


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: the user as the inventory knows them, and the actor as facts name them."""

    user: User
    actor: Actor


class Bindings:
    """Bindings known to be stored in one database, so that a known caller costs no query."""

    def __init__(self) -> None:
        self._users: dict[tuple[str, str], str] = {}

    def holds(self, claims: Claims, user_id: str) -> bool:
        return self._users.get((claims.iss, claims.sub)) == user_id

    def remember(self, claims: Claims, user_id: str) -> None:
        """Keep a binding that was read from the database; one merely written may yet be rolled back."""
        if len(self._users) >= _MOST_REMEMBERED:
            self._users.clear()
        self._users[claims.iss, claims.sub] = user_id


async def bind(
    conn: Runs,
    claims: Claims,
    snapshot: Snapshot,
    now: datetime,
    *,
    alerts: Alerts,
    bindings: Bindings | None = None,
) -> Principal:
    """The user the token names, bound to its subject at first sight.

    Raises Forbidden (identity_unknown, identity_ambiguous, identity_disabled, identity_conflict), or
    NotReady while the inventory is not read. A conflict also raises an alert and stores nothing.
    """
    user = _resolve(claims, snapshot)
    known = Bindings() if bindings is None else bindings
    if not known.holds(claims, user.id):
        await _check_binding(conn, claims, user, now, alerts=alerts, bindings=known)
    return Principal(user, _actor(claims, user))


def _resolve(claims: Claims, snapshot: Snapshot) -> User:
    if not snapshot.people_known:
        raise NotReady("the inventory is not read yet; try again in a few seconds", code="tables_not_ready")
    matches = snapshot.find_user(claims.lookup, claims.lookup_value, issuer=claims.external_id_issuer)
    if not matches:
        raise Forbidden("nobody in the Identity Store is named by this token", code="identity_unknown")
    if len(matches) > 1:
        raise Forbidden(
            "more than one user in the Identity Store is named by this token", code="identity_ambiguous"
        )
    if not matches[0].enabled:
        raise Forbidden("this user is disabled in the Identity Store", code="identity_disabled")
    return matches[0]


async def _check_binding(
    conn: Runs, claims: Claims, user: User, now: datetime, *, alerts: Alerts, bindings: Bindings
) -> None:
    stored = await _stored(conn, claims, user)
    if not stored:
        # Two first requests at once: the second insert does nothing, and what is read then decides.
        await conn.execute(
            "INSERT INTO subject_binding (iss, sub, user_id, first_seen) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT DO NOTHING",
            claims.iss,
            claims.sub,
            user.id,
            now,
        )
        stored = await _stored(conn, claims, user)
    elif stored == [(claims.sub, user.id)]:
        bindings.remember(claims, user.id)
    if stored != [(claims.sub, user.id)]:
        await _refuse_conflict(claims, user, stored, alerts)


async def _stored(conn: Runs, claims: Claims, user: User) -> list[tuple[str, str]]:
    """Every binding of the issuer that the subject or the user already has."""
    rows = await conn.fetch(
        "SELECT sub, user_id FROM subject_binding WHERE iss = $1 AND (sub = $2 OR user_id = $3) ORDER BY sub",
        claims.iss,
        claims.sub,
        user.id,
    )
    return [(row["sub"], row["user_id"]) for row in rows]


async def _refuse_conflict(
    claims: Claims, user: User, stored: Sequence[tuple[str, str]], alerts: Alerts
) -> None:
    known = "; ".join(f"subject {sub} is user {user_id}" for sub, user_id in stored)
    await alerts.raise_alert(
        key=f"identity-conflict/{claims.iss}/{claims.sub}",
        summary=f"a token names {user.user_name}, but its subject or this user is bound otherwise",
        detail=f"issuer {claims.iss}, subject {claims.sub} names user {user.id}; stored: {known}",
        once=True,
    )
    raise Forbidden(
        "this sign-in does not match the user it was first seen with; an administrator has been told",
        code="identity_conflict",
    )


def _actor(claims: Claims, user: User) -> Actor:
    return Actor(
        kind=ActorKind.PERSON,
        name=user.user_name,
        user_id=user.id,
        iss=claims.iss,
        sub=claims.sub,
        client=claims.client,
        auth_time=claims.auth_time,
        acr=claims.acr,
    )
