"""Tries every read that JIT makes, once and for one row, to see whether AWS allows it. For `jit doctor`.

Nothing is changed: giving and taking access cannot be tried without doing it. What a call needs to name is
what an earlier one showed.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from services.provisioner.driver import DriverProblem
from services.provisioner.identity_center import api_operations as api
from services.provisioner.identity_center.api_operations import ApiOperation
from services.provisioner.identity_center.calls import Calls
from services.provisioner.identity_center.reads import SERVICE_PRINCIPAL
from services.provisioner.identity_center.types import IdentityCenterError
from shared.foundation.clock import new_id

Learned = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one operation. `problem` is None where AWS allowed it."""

    operation: ApiOperation
    problem: DriverProblem | None = None
    detail: str = ""
    untried: str = ""
    """What it needs and nobody could show, such as `account`."""


@dataclass
class Probes:
    """All of them, and what AWS's clock said with the first answer."""

    tried: list[Tried] = field(default_factory=list)
    aws_time: datetime | None = None
    """As AWS said with its first answer, in whole seconds."""
    first_answer: float = 0.0
    """When that came, by the clock that nobody sets."""

    @property
    def refused_or_failed(self) -> bool:
        return any(one.problem is not None for one in self.tried)

    @property
    def since_aws_time(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self.first_answer)


@dataclass(frozen=True, slots=True)
class _Probe:
    operation: ApiOperation
    names: Mapping[str, str] = field(default_factory=dict)
    """Parameter to what was learned."""
    given: Mapping[str, Any] = field(default_factory=dict)
    learns: Callable[[dict[str, Any]], Learned] = lambda _: {}


def _first(rows: str, name: str, known: str) -> Callable[[dict[str, Any]], Learned]:
    """The id in the first row, where there is one."""
    return lambda answer: {known: str(answer[rows][0][name])} if answer.get(rows) else {}


def _arn(answer: dict[str, Any]) -> Learned:
    return {"set": str(answer["PermissionSets"][0])} if answer.get("PermissionSets") else {}


_INSTANCE: Final = {"InstanceArn": "instance"}
_SET: Final = {"InstanceArn": "instance", "PermissionSetArn": "set"}
_STORE: Final = {"IdentityStoreId": "store"}
_RUNNING: Final = {"Filter": {"Status": "IN_PROGRESS"}}
_CREATION: Final = {"InstanceArn": "instance", "AccountAssignmentCreationRequestId": "request"}
_DELETION: Final = {"InstanceArn": "instance", "AccountAssignmentDeletionRequestId": "request"}
_PROBES: Final = (
    _Probe(api.DESCRIBE_ORGANIZATION),
    _Probe(api.LIST_ROOTS, learns=_first("Roots", "Id", "root")),
    _Probe(api.LIST_UNITS, {"ParentId": "root"}),
    _Probe(api.LIST_ACCOUNTS, learns=_first("Accounts", "Id", "account")),
    _Probe(api.DESCRIBE_ACCOUNT, {"AccountId": "account"}),
    _Probe(api.LIST_PARENTS, {"ChildId": "account"}),
    _Probe(api.LIST_ACCOUNT_TAGS, {"ResourceId": "account"}),
    _Probe(api.LIST_DELEGATED, given={"ServicePrincipal": SERVICE_PRINCIPAL}),
    _Probe(api.LIST_SETS, _INSTANCE, learns=_arn),
    _Probe(api.DESCRIBE_SET, _SET),
    _Probe(api.GET_INLINE_POLICY, _SET),
    _Probe(api.GET_BOUNDARY, _SET),
    _Probe(api.LIST_MANAGED, _SET),
    _Probe(api.LIST_CUSTOMER, _SET),
    _Probe(api.LIST_SET_TAGS, {"InstanceArn": "instance", "ResourceArn": "set"}),
    _Probe(api.LIST_ASSIGNMENTS, {**_SET, "AccountId": "account"}),
    _Probe(api.LIST_CREATIONS, _INSTANCE, _RUNNING),
    _Probe(api.LIST_DELETIONS, _INSTANCE, _RUNNING),
    _Probe(api.DESCRIBE_CREATION, _CREATION),
    _Probe(api.DESCRIBE_DELETION, _DELETION),
    _Probe(api.LIST_USERS, _STORE, learns=_first("Users", "UserId", "user")),
    _Probe(api.DESCRIBE_USER, {**_STORE, "UserId": "user"}),
    _Probe(api.LIST_GROUPS, _STORE, learns=_first("Groups", "GroupId", "group")),
    _Probe(api.LIST_MEMBERS, {**_STORE, "GroupId": "group"}),
)


async def probe(calls: Calls, *, instance_arn: str | None) -> Probes:
    """One after the other, at the lowest priority. Raises IdentityCenterError without credentials."""
    await calls.open()
    probes = Probes()
    known = {"request": new_id()}  # nobody's: that AWS does not know it says that it may be asked
    known |= await _instance(calls, probes, instance_arn)
    for one in _PROBES:
        if missing := [name for name in one.names.values() if name not in known]:
            probes.tried.append(Tried(one.operation, untried=missing[0]))
            continue
        named = {parameter: known[name] for parameter, name in one.names.items()}
        answer = await _try(calls, probes, one.operation, **named, **one.given)
        known |= one.learns(answer)
    return probes


async def _instance(calls: Calls, probes: Probes, wanted: str | None) -> Learned:
    """The one the settings name, or the only one."""
    answer = await _try(calls, probes, api.LIST_INSTANCES)
    probes.aws_time, probes.first_answer = _date(answer), time.monotonic()
    found = [row for row in answer.get("Instances", ()) if wanted in {None, row["InstanceArn"]}]
    if len(found) != 1:
        return {}
    return {"instance": found[0]["InstanceArn"], "store": found[0]["IdentityStoreId"]}


async def _try(calls: Calls, probes: Probes, operation: ApiOperation, **params: Any) -> dict[str, Any]:
    """The answer; nothing where there was none."""
    try:
        answer = await calls.send(operation, priority="catalog", **params)
    except IdentityCenterError as error:
        if error.problem is DriverProblem.NOT_FOUND:  # it was allowed to ask
            probes.tried.append(Tried(operation))
        else:
            probes.tried.append(Tried(operation, error.problem, str(error)))
        return {}
    probes.tried.append(Tried(operation))
    return answer


def _date(answer: Mapping[str, Any]) -> datetime | None:
    """The moment in the head of AWS's answer."""
    text = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(text).astimezone(UTC) if text else None
