"""Whom a token's subject is: bound at first sight, in conflict, or rebound by an administrator. Pure.

Both ways are unique within an issuer: one user per subject, one subject per user. What a rebinding killed is
over for ever: such a subject is nobody's any more, and such a pair never comes back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.contracts.change import Alert, Change, Origin
from shared.contracts.documents import Binding, User, binding_id
from shared.contracts.event import Actor
from shared.contracts.identity import IdentityBound, IdentityConflictFound, IdentityRebound
from shared.foundation.errors import Conflict as StateConflict
from shared.foundation.errors import Denied, Forbidden
from shared.policy.directory import Lookup

QUIET_FOR: Final = timedelta(hours=24)
"""How long after a rebinding its user neither votes nor administers: time to object to it."""


@dataclass(frozen=True, slots=True)
class Named:
    """By what a token named its user, so that it can be asked again whom that names."""

    lookup: Lookup
    value: str
    external_id_issuer: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A token that holds, and the one enabled user whom its claim names."""

    iss: str
    sub: str
    user_id: str
    user_name: str
    named: Named
    proof: str
    """Names the one token without holding anything of it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A pair of the issuer that is bound, or was until it was killed."""

    sub: str
    user_id: str
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """The subject is this user."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """Neither the subject nor the user was seen in this issuer: they can be bound."""


@dataclass(frozen=True, slots=True)
class Retired:
    """A rebinding killed this subject, or this pair: it is nobody's for ever."""


@dataclass(frozen=True, slots=True)
class Against:
    """What is bound otherwise: the subject to another user, the user to another subject, or both."""

    bound_user_id: str | None
    bound_sub: str | None


@dataclass(frozen=True, slots=True)
class FoundConflict:
    """A token named a user who is not its subject's; what an administrator can rebind."""

    id: str
    iss: str
    sub: str
    user_id: str
    against: Against
    named: Named
    proof: str
    found_at: datetime
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rebinding:
    """What a rebinding changes."""

    conflict: FoundConflict
    killed: tuple[Held, ...]
    binding: Binding


def first_sight(seen: Sighting, held: Sequence[Held]) -> Known | Unseen | Retired | Against:
    """What a token is, by all pairs that its subject or its user has or had in the issuer."""
    of_subject = next((one.user_id for one in held if one.sub == seen.sub and not one.killed), None)
    of_user = next((one.sub for one in held if one.user_id == seen.user_id and not one.killed), None)
    if of_subject == seen.user_id:
        return Known()
    killed = [one for one in held if one.killed and one.sub == seen.sub]
    if any(of_subject is None or one.user_id == seen.user_id for one in killed):
        return Retired()
    if of_subject is None and of_user is None:
        return Unseen()
    return Against(of_subject, of_user)


def bind(seen: Sighting, origin: Origin) -> Change[Binding]:
    """From now on the subject is this user."""
    binding = _binding(seen.iss, seen.sub, seen.user_id, origin.at)
    why = f"the first token of this subject names {seen.user_name}"
    return Change(binding, (IdentityBound(**_fields(binding), **origin.because(why).fields()),))


def note_conflict(
    seen: Sighting, against: Against, conflict_id: str, origin: Origin
) -> Change[FoundConflict]:
    """What was refused, as an administrator finds it."""
    found = FoundConflict(
        conflict_id, seen.iss, seen.sub, seen.user_id, against, seen.named, seen.proof, origin.at
    )
    fact = IdentityConflictFound(
        subject=found.user_id,
        iss=found.iss,
        sub=found.sub,
        user_id=found.user_id,
        conflict_id=found.id,
        bound_user_id=against.bound_user_id,
        bound_sub=against.bound_sub,
        **origin.because(f"a token names {seen.user_name}, who is not its subject's").fields(),
    )
    return Change(found, (fact,), (_alert(seen, found),))


def rebind(
    found: FoundConflict, held: Sequence[Held], named: Sequence[User], origin: Origin
) -> Change[Rebinding]:
    """Let the conflict's subject be its user, and end for ever what stood against it.

    `held` is what is bound now, `named` whom the token's claim names now. Raises Forbidden for oneself, and
    Conflict where the world is not what it was when the conflict was found.
    """
    _refuse_oneself(found, origin.actor)
    _refuse_stale(found, held, named)
    against = found.against
    killed = [Held(found.sub, against.bound_user_id)] if against.bound_user_id else []
    killed += [Held(against.bound_sub, found.user_id)] if against.bound_sub else []
    quiet_until = origin.at + QUIET_FOR
    binding = _binding(found.iss, found.sub, found.user_id, origin.at, quiet_until=quiet_until)
    fact = IdentityRebound(
        **_fields(binding),
        conflict_id=found.id,
        bound_user_id=against.bound_user_id,
        bound_sub=against.bound_sub,
        quiet_until=quiet_until,
        **origin.fields(),
    )
    return Change(Rebinding(found, tuple(killed), binding), (fact,))


def _refuse_oneself(found: FoundConflict, actor: Actor) -> None:
    """Neither side of it may be who decides."""
    is_user = actor.user_id in {found.user_id, found.against.bound_user_id}
    if is_user or (actor.iss == found.iss and actor.sub in {found.sub, found.against.bound_sub}):
        raise Forbidden(
            "this is about your own sign-in: another administrator has to rebind it",
            code="own_binding",
            denied=Denied("config.write", actor.user_id or actor.name, object_id=found.id),
        )


def _refuse_stale(found: FoundConflict, held: Sequence[Held], named: Sequence[User]) -> None:
    if found.settled_at is not None:
        raise _stale(f"it was settled at {found.settled_at:%Y-%m-%d %H:%M:%SZ}")
    if [(one.id, one.enabled) for one in named] != [(found.user_id, True)]:
        raise _stale("the token's claim does not name this user any more")
    seen = Sighting(found.iss, found.sub, found.user_id, "", found.named, found.proof)
    if first_sight(seen, held) != found.against:
        raise _stale("what stood against it is bound otherwise now")


def _stale(why: str) -> StateConflict:
    return StateConflict(
        f"the world has changed since this conflict was found: {why}; let the person sign in again and look "
        "at GET /v1/bindings/conflicts",
        code="conflict_stale",
    )


def _binding(
    iss: str, sub: str, user_id: str, at: datetime, *, quiet_until: datetime | None = None
) -> Binding:
    return Binding(
        id=binding_id(iss, sub), iss=iss, sub=sub, user_id=user_id, bound_at=at, quiet_until=quiet_until
    )


def _fields(binding: Binding) -> dict[str, str]:
    return {
        "subject": binding.user_id,
        "iss": binding.iss,
        "sub": binding.sub,
        "user_id": binding.user_id,
    }


def _alert(seen: Sighting, found: FoundConflict) -> Alert:
    bound = []
    if found.against.bound_user_id:
        bound.append(f"this subject is user {found.against.bound_user_id}")
    if found.against.bound_sub:
        bound.append(f"this user is subject {found.against.bound_sub}")
    return Alert(
        key=f"identity-conflict/{found.id}",
        summary=f"a token names {seen.user_name}, but its subject or this user is bound otherwise",
        detail=f"issuer {found.iss}, subject {found.sub} names user {found.user_id}; {' and '.join(bound)}; "
        f"conflict {found.id}",
    )
