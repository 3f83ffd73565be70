"""The things of the simulated organisation, as frozen records.

Built by `organisation` from YAML, held by `directory`, written to the state file as they are.
"""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Account(Record):
    id: str
    name: str
    email: str
    parent: str
    state: str = "ACTIVE"
    joined_at: float
    joined_method: str = "CREATED"
    tags: dict[str, str] = {}


class Unit(Record):
    """An organisational unit; `parent` is a unit's id or the root's."""

    id: str
    name: str
    parent: str
    tags: dict[str, str] = {}


class PermissionSet(Record):
    """`revision` grows with every change that accounts only see after provisioning."""

    arn: str
    name: str
    description: str | None = None
    session_duration: str = "PT1H"
    relay_state: str | None = None
    created_at: float
    managed_policies: tuple[str, ...] = ()
    customer_policies: tuple[tuple[str, str], ...] = ()
    inline_policy: str = ""
    boundary_policy: str | None = None
    tags: dict[str, str] = {}
    revision: int = 1


class User(Record):
    id: str
    user_name: str
    given_name: str
    family_name: str
    email: str
    title: str | None = None
    external_ids: tuple[tuple[str, str], ...] = ()
    enabled: bool = True

    @property
    def display_name(self) -> str:
        return f"{self.given_name} {self.family_name}".strip()


class Group(Record):
    id: str
    name: str
    description: str | None = None
    external_ids: tuple[tuple[str, str], ...] = ()


class Membership(Record):
    id: str
    group: str
    user: str


class DelegatedAdministrator(Record):
    account: str
    service: str
    since: float


class Instance(Record):
    """The Identity Center instance and its identity store."""

    arn: str
    name: str
    identity_store: str
    region: str
    created_at: float

    @property
    def resource(self) -> str:
        return self.arn.rsplit("/", 1)[1]


class Assignment(Record):
    """One row of AWS's truth: who has which set on which account. Two equal rows are one."""

    account: str
    permission_set: str
    principal_type: str
    principal: str


class Role(Record):
    """A set's role in an account; a new one, with a new suffix, after the last assignment went."""

    account: str
    permission_set: str
    suffix: str
    revision: int
