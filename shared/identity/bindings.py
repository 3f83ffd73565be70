"""From a verified token to one enabled Identity Store user, the same one for ever.

Comes after shared/identity/tokens.py and before any question of rights. Which user a subject is stands in a
document of the provisioner; one that is not here yet is asked for (first_sight.py), and whoever turns out to
be somebody else is refused.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from shared.contracts.documents import User
from shared.contracts.event import Actor, ActorKind
from shared.foundation.errors import Forbidden, NotReady
from shared.identity.tokens import Claims
from shared.policy.snapshot import Snapshot

CONFLICT: Final = "identity_conflict"
REPLACED: Final = "identity_replaced"
_MOST_REMEMBERED: Final = 10_000
_REMEMBERED_FOR: Final = timedelta(minutes=1)
"""The document arrives within a second; while the bus is away the provisioner is asked again."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A verified token, the user its claim names, and the request it came with."""

    token: str = field(repr=False)
    claims: Claims
    user: User
    cause: str | None = None

    @property
    def actor(self) -> Actor:
        claims, user = self.claims, self.user
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


FirstSight: TypeAlias = Callable[[Sight], Awaitable[str]]
"""The id of the user whom the provisioner has bound the token's subject to.

Raises Forbidden where it refuses, or cannot be asked (identity_unbound).
"""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: the user as the inventory knows them, and the actor as facts name them."""

    user: User
    actor: Actor


class Answers:
    """What the provisioner has answered, until the document of it is here."""

    def __init__(self) -> None:
        self._users: dict[tuple[str, str], tuple[str, datetime]] = {}

    def holds(self, claims: Claims, user_id: str, now: datetime) -> bool:
        known, until = self._users.get((claims.iss, claims.sub), ("", now))
        return known == user_id and now < until

    def remember(self, iss: str, sub: str, user_id: str, *, until: datetime) -> None:
        if len(self._users) >= _MOST_REMEMBERED:
            self._users.clear()
        self._users[iss, sub] = user_id, until


async def identify(
    token: str,
    claims: Claims,
    snapshot: Snapshot,
    now: datetime,
    *,
    first_sight: FirstSight,
    answers: Answers,
    unbound_ok: bool = False,
    cause: str | None = None,
) -> Principal:
    """The user whom the token's subject is bound to, which its claim must name.

    `unbound_ok` is for routes that take access away: they also take a subject that nobody has seen, where the
    user has no other in this issuer, and ask nobody. Raises Forbidden (identity_unknown, identity_ambiguous,
    identity_disabled, identity_conflict, identity_replaced, identity_unbound), or NotReady while the
    inventory is not read.
    """
    sight = Sight(token, claims, _named_by(claims, snapshot), cause)
    if snapshot.sign_ins.is_replaced(claims.iss, claims.sub):
        raise replaced()
    bound = snapshot.sign_ins.binding(claims.iss, claims.sub)
    if bound is not None and bound.user_id == sight.user.id:
        return Principal(sight.user, sight.actor)
    if bound is None:
        free = unbound_ok and _is_free(snapshot, claims, sight.user)
        if free or answers.holds(claims, sight.user.id, now):
            return Principal(sight.user, sight.actor)
    user_id = await first_sight(sight)
    answers.remember(claims.iss, claims.sub, user_id, until=now + _REMEMBERED_FOR)
    return _principal(sight, snapshot, user_id)


def conflicting(conflict_id: str | None) -> Forbidden:
    """A token that names somebody else than its subject, or than the user's own subject."""
    return Forbidden(
        "this sign-in does not match the user it was first seen with; an administrator has been told, and "
        f"finds it as conflict {conflict_id}",
        code=CONFLICT,
        extra={"conflict_id": conflict_id},
    )


def replaced() -> Forbidden:
    """A subject that a rebinding has put another in the place of."""
    return Forbidden(
        "another sign-in has taken the place of this one, for ever: sign in with that one", code=REPLACED
    )


def unbound() -> Forbidden:
    """Nobody has seen this subject, and who could say whom it is did not."""
    return Forbidden(
        "this sign-in is not known yet, and could not be looked up: call GET /v1/me with the same token, and "
        "try again; what stops access works without",
        code="identity_unbound",
    )


def _named_by(claims: Claims, snapshot: Snapshot) -> User:
    if not snapshot.people_known:
        raise NotReady("the inventory is not read yet; try again in a few seconds", code="tables_not_ready")
    matches = snapshot.find_user(claims.lookup, claims.lookup_value, issuer=claims.external_id_issuer)
    if not matches:
        raise Forbidden("nobody in the Identity Store is named by this token", code="identity_unknown")
    if len(matches) > 1:
        raise Forbidden(
            "more than one user in the Identity Store is named by this token", code="identity_ambiguous"
        )
    return _enabled(matches[0])


def _enabled(user: User) -> User:
    if not user.enabled:
        raise Forbidden("this user is disabled in the Identity Store", code="identity_disabled")
    return user


def _is_free(snapshot: Snapshot, claims: Claims, user: User) -> bool:
    """Whether the user has no subject in the token's issuer."""
    return all(one.iss != claims.iss for one in snapshot.sign_ins.of(user.id))


def _principal(sight: Sight, snapshot: Snapshot, user_id: str) -> Principal:
    """The user as the provisioner names them, whose directory may be newer than the one here."""
    user = snapshot.user(user_id)
    if user is None:
        raise NotReady("this person is not known here yet; try again in a moment", code="tables_behind")
    found = Sight(sight.token, sight.claims, _enabled(user), sight.cause)
    return Principal(found.user, found.actor)
