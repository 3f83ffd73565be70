"""What the provisioner's routes answer: the JSON that OpenAPI documents."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from services.provisioner.domain.claims import ClaimState
from services.provisioner.domain.pause import Pause
from shared.contracts.documents import Account, Document, PermissionSet, User
from shared.foundation.shapes import Shown
from shared.policy.directory import name_of
from shared.policy.snapshot import Snapshot


class AssignmentNamed(Shown):
    """Whose access to what. Names are as they are now or were last; an id stands for an unknown one."""

    user_id: str
    user_name: str
    account_id: str
    account_name: str
    set_id: str
    set_name: str


class GrantShown(AssignmentNamed):
    """A beneficiary's access to an account through a permission set, as it stands."""

    id: str
    ticket_id: str
    target_id: str
    state: ClaimState
    version: int
    starts_at: datetime
    ends_at: datetime
    granted_at: datetime | None
    already_held: bool = Field(description="the assignment was there before and is not JIT's to remove")
    request_id: str | None = Field(description="AWS's id of the operation")
    ended_at: datetime | None
    end_cause: str | None
    code: str | None
    detail: str
    kept_by: list[str] = Field(description="claims that keep the access, or `not_ours`")
    credentials_until: datetime | None


class GrantListed(GrantShown):
    """A grant, and what it waits for."""

    expected: str | None = Field(
        description="while it waits for AWS's limit on operations at once: about when it starts, and how many"
        " are before it"
    )


class GrantWhole(GrantListed):
    """A grant, with what was last read of it in AWS."""

    observed: str
    verified_at: datetime | None
    last_error: str
    next_at: datetime | None


class AssignmentRemaining(AssignmentNamed):
    """Access that AWS has at this moment."""

    why: Literal["kept", "being_revoked"]
    kept_by: list[str] = Field(description="claims that hold it, or `not_ours`")
    grants: list[str] = Field(description="the ended ones that wait for the revoke")


class RevocationShown(Shown):
    """What was ended, and what AWS still has."""

    ended: list[GrantShown]
    remaining: list[AssignmentRemaining]
    note: str | None


class SyncShown(Shown):
    """What a reading of AWS changed. `held` says why not all was taken over, where too much was gone."""

    changed: int
    removed: int
    held: str | None
    hold: str | None = Field(description="names what is held, for `POST /v1/inventory/confirm`")


class EngineShown(Shown):
    """Who changes AWS at this moment."""

    holder: str
    epoch: int
    deadline: datetime


class Flight(AssignmentNamed):
    """An operation that AWS works on for us."""

    kind: str
    request_id: str | None
    started_at: datetime
    attempt: int
    last_error: str


class Failing(AssignmentNamed):
    """An assignment that is tried again; AWS's words say why."""

    desired: str
    observed: str
    attempt: int
    next_at: datetime
    last_error: str


class PauseShown(Shown):
    """Since when grants are paused, by whom and why."""

    since: datetime
    user_id: str | None
    user_name: str
    reason: str

    @classmethod
    def of(cls, pause: Pause) -> "PauseShown":
        return cls(
            since=pause.since, user_id=pause.actor.user_id, user_name=pause.actor.name, reason=pause.why
        )


class PauseBegun(PauseShown):
    """A pause that begins."""

    begun: list[str] = Field(
        description="grants that AWS is asked for already, which the pause does not stop"
    )


class Waiting(AssignmentNamed):
    """A call that waits for AWS's limit on operations at once."""

    kind: str
    since: datetime
    before: int = Field(description="how many are to begin before it")
    starts_in_s: int = Field(description="an estimate, by what operations took lately")
    expected: str


class OperationsShown(Shown):
    """The engine at work."""

    engine: EngineShown | None
    active: bool
    pause: PauseShown | None = Field(description="null while grants are not paused")
    grants: dict[str, int] = Field(description="how many grants are in which state")
    due: int
    in_flight: list[Flight]
    failing: list[Failing]
    waiting: list[Waiting]


def with_names(snapshot: Snapshot, shown: Mapping[str, Any]) -> dict[str, Any]:
    """What has the three ids of an assignment, with the names beside them."""
    return {
        **shown,
        "user_name": _name(snapshot.get(User, shown["user_id"]), shown["user_id"]),
        "account_name": _name(snapshot.get(Account, shown["account_id"]), shown["account_id"]),
        "set_name": _name(snapshot.get(PermissionSet, shown["set_id"]), shown["set_id"]),
    }


def _name(found: Document | None, document_id: str) -> str:
    return name_of(found) if found is not None else document_id
