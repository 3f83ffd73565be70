"""Facts about whom a token's subject names; said by the provisioner, which owns the bindings."""

from typing import ClassVar

from pydantic import AwareDatetime

from shared.contracts.event import About, Event


class IdentityFact(Event):
    """`subject` is the id of the user whom the token names."""

    iss: str
    sub: str
    user_id: str

    @property
    def about(self) -> About:
        return About(party_ids=(self.user_id,))


class IdentityBound(IdentityFact):
    """A subject was seen for the first time: from now on it is this user and no other."""

    TYPE: ClassVar[str] = "identity.bound.v1"


class IdentityConflictFound(IdentityFact):
    """A token that holds names a user who is not its subject's; it was refused."""

    TYPE: ClassVar[str] = "identity.conflict_found.v1"

    conflict_id: str
    bound_user_id: str | None = None
    """Whom the subject is bound to, where that is somebody else."""
    bound_sub: str | None = None
    """What subject the user is bound to, where that is another one."""


class IdentityRebound(IdentityFact):
    """An administrator let a conflict's subject be its user; what stood against it is over for ever."""

    TYPE: ClassVar[str] = "identity.rebound.v1"

    conflict_id: str
    bound_user_id: str | None = None
    """Whom the subject was bound to until now."""
    bound_sub: str | None = None
    """What subject the user was bound to until now: nobody signs in by it any more."""
    quiet_until: AwareDatetime
    """Until then the user neither votes nor administers."""
