"""What the provisioner's routes answer: the JSON that OpenAPI documents."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from services.provisioner.domain.claims import ClaimState


class GrantShown(BaseModel):
    """A beneficiary's access to an account through a permission set, as it stands."""

    id: str
    ticket_id: str
    target_id: str
    user_id: str
    account_id: str
    set_id: str
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


class GrantWhole(GrantShown):
    """A grant, with what was last read of it in AWS."""

    observed: str
    verified_at: datetime | None
    last_error: str
    next_at: datetime | None


class AssignmentRemaining(BaseModel):
    """Access that AWS has at this moment."""

    user_id: str
    account_id: str
    set_id: str
    why: Literal["kept", "being_revoked"]
    kept_by: list[str] = Field(description="claims that hold it, or `not_ours`")
    grants: list[str] = Field(description="the ended ones that wait for the revoke")


class RevocationShown(BaseModel):
    """What was ended, and what AWS still has."""

    ended: list[GrantShown]
    remaining: list[AssignmentRemaining]
    note: str | None


class SyncShown(BaseModel):
    """What a reading of AWS changed. `held` says why nothing was, where too much was gone."""

    changed: int
    removed: int
    held: str | None


class Engine(BaseModel):
    """Who changes AWS at this moment."""

    holder: str
    epoch: int
    deadline: datetime


class Flight(BaseModel):
    """An operation that AWS works on for us."""

    user_id: str
    account_id: str
    set_id: str
    kind: str
    request_id: str | None
    started_at: datetime
    attempt: int
    last_error: str


class Failing(BaseModel):
    """An assignment that is tried again; AWS's words say why."""

    user_id: str
    account_id: str
    set_id: str
    desired: str
    observed: str
    attempt: int
    next_at: datetime
    last_error: str


class OperationsShown(BaseModel):
    """The engine at work."""

    engine: Engine | None
    active: bool
    grants: dict[str, int] = Field(description="how many grants are in which state")
    due: int
    in_flight: list[Flight]
    failing: list[Failing]
