"""The simulator behind the real adapter, without a socket between them.

Each call stops before it is sent and before its answer is heard. Faults are the simulator's own rules, put
in force for the one call that the schedule names.
"""

import asyncio
import json
from contextlib import AsyncExitStack
from functools import cache
from typing import Any, Final

from botocore import xform_name
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.parsers import create_parser

from model.turns import PROCESS, Turns
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.api_operations import APIS, OPERATIONS
from services.provisioner.identity_center.types import Credentials, Instance, Limiter
from simulator.asynchronous import new_uuid
from simulator.controls import Controls
from simulator.errors import ApiError
from simulator.faults import AFTER_ACCEPTANCE, FaultRule
from simulator.model import Assignment
from simulator.settings import Settings
from simulator.wire import Exchange, load_services
from simulator.world import World

CALL_FAULTS: Final[dict[str, dict[str, Any]]] = {
    "throttled": {"kind": "error", "code": "ThrottlingException"},
    "conflict": {"kind": "error", "code": "ConflictException", "message": "a change is in progress"},
    "broken": {"kind": "http500"},
    "cut": {"kind": "reset_before"},
    "cut_after": {"kind": "reset_after_accept"},
    "fails": {"kind": "fail_async"},
    "half_fails": {"kind": "fail_async", "partial": True},
    "slow": {"kind": "duration", "seconds": 45},
    "endless": {"kind": "never_finishes"},
    "forgotten": {"kind": "error", "code": "ResourceNotFoundException", "message": "no such request"},
}
OF_A_CHANGE: Final = (
    "throttled", "conflict", "broken", "cut", "cut_after", "fails", "half_fails", "slow", "endless",
    "crash", "hold:3", "freeze:25",
)  # fmt: skip
OF_A_LOOK: Final = ("throttled", "cut", "crash")
OF_A_FOLLOW: Final = ("throttled", "forgotten", "crash")
OF_AN_ANSWER: Final = ("crash", "hold:3", "freeze:25")
CHANGES: Final = ("CreateAccountAssignment", "DeleteAccountAssignment")
STATUS_LISTS: Final = ("ListAccountAssignmentCreationStatus", "ListAccountAssignmentDeletionStatus")


class ModelAws(Controls):
    """The simulator with what it does not know: status lists that lag, and a quick new beginning."""

    status_lag_s: float = 0.0
    answers_in_s: float = 0.0
    """So long an answer is on its way."""

    def begin(self, **settings: Any) -> None:
        """The shipped organisation without its standing assignments, quick operations, no rate limit."""
        if not hasattr(self, "_template"):
            self._template = self.directory
        copied = {
            name: dict(value) if isinstance(value, dict) else list(value)
            for name, value in self._template
            if isinstance(value, dict | list)
        }
        world = World(self._template.model_copy(update=copied), seed=0, starts=1, record=self._record)
        two = {"low": 2, "high": 2}
        world.settings = Settings.model_validate(
            {"rate_per_second": {}, "create_seconds": two, "delete_seconds": two} | settings
        )
        self.wire.world = world
        self.faults.clear()
        self.records.clear()
        self.status_lag_s = self.answers_in_s = 0.0

    def exchange(self, service: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """What the wire does between parsing and answering. Raises as botocore does."""
        found = _served()[service]
        exchange = Exchange(new_uuid(self.world.rng), self.clock.now(), service, operation, params)
        fault = self.faults.strike(operation, params, self.directory)
        if fault and fault.kind == "reset_before":
            raise self._cut(exchange, fault)
        try:
            answer = self.wire._answer(found, exchange, fault)
        except ApiError as error:
            if fault and fault.kind in AFTER_ACCEPTANCE:
                self.faults.spare(fault)
            self.wire._refusal(exchange, error)
            body = {"__type": error.code, "message": error.message, **error.members}
            raise ClientError(_parsed(service, operation, body, error.status), operation) from error
        if fault and fault.kind == "reset_after_accept":
            raise self._cut(exchange, fault, answer)
        self.wire._record(exchange, "ok", answer=answer)
        return _parsed(service, operation, self._lagging(operation, answer), 200)

    def _cut(
        self, exchange: Exchange, fault: FaultRule, answer: dict[str, Any] | None = None
    ) -> ConnectionClosedError:
        self.wire._record(exchange, fault.kind, answer=answer)
        return ConnectionClosedError(endpoint_url="model")

    def _lagging(self, operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if not self.status_lag_s or operation not in STATUS_LISTS:
            return answer
        shown = self.clock.now() - self.status_lag_s
        return {
            name: [row for row in rows if row["CreatedDate"] <= shown] if isinstance(rows, list) else rows
            for name, rows in answer.items()
        }

    def named(self, user: str, account: str, permission_set: str) -> Assignment:
        return Assignment(
            account=self.directory.find_account(account).id,
            permission_set=self.directory.find_set(permission_set).arn,
            principal_type="USER",
            principal=self.directory.find_user(user).id,
        )


class Client:
    """What the adapter takes for one of botocore's clients."""

    def __init__(self, service: str, aws: ModelAws, turns: Turns) -> None:
        self._service = service
        self._aws = aws
        self._turns = turns

    def __getattr__(self, name: str) -> Any:
        operation = _operations()[name]

        async def call(**params: Any) -> dict[str, Any]:
            label = f"{PROCESS.get()} {operation}{_about(self._aws, params)}"
            fault = await self._turns.park(label, *options_of(operation))
            if fault is not None:
                self._aws.faults.clear()
                self._aws.fault(operation=operation, times=1, **CALL_FAULTS[fault])
            if operation in CHANGES:
                self._turns.note_effect()
            try:
                answer = self._aws.exchange(self._service, operation, params)
            finally:
                self._aws.faults.clear()
                if self._aws.answers_in_s:
                    await asyncio.sleep(self._aws.answers_in_s)
                await self._turns.park(f"{label} answered", *OF_AN_ANSWER)
            return answer

        return call


def connect(aws: ModelAws, turns: Turns, limiter: Limiter, *, elsewhere: bool) -> IdentityCenter:
    """The real adapter; `elsewhere` it speaks for another instance, as after a start in a wrong Region."""
    centre = IdentityCenter(
        region="eu-central-1", credentials=Credentials("AKIDEXAMPLE", "made-up"), limiter=limiter
    )
    calls = centre._calls
    calls._stack = AsyncExitStack()
    for api in APIS:
        calls._clients[api] = Client(api, aws, turns)
    arn = aws.directory.instance.arn
    store = aws.directory.instance.identity_store
    centre._instance = Instance(arn[:-4] + "beef" if elsewhere else arn, store)
    return centre


def options_of(operation: str) -> tuple[str, ...]:
    if operation in CHANGES:
        return OF_A_CHANGE
    if operation.startswith("DescribeAccountAssignment"):
        return OF_A_FOLLOW
    return OF_A_LOOK


@cache
def _operations() -> dict[str, str]:
    return {xform_name(operation.name): operation.name for operation in OPERATIONS}


@cache
def _served() -> dict[str, Any]:
    return {service.name: service for service in load_services().values()}


@cache
def _parser() -> Any:
    return create_parser("json")


def _parsed(service: str, operation: str, body: dict[str, Any], status: int) -> dict[str, Any]:
    shape = _served()[service].model.operation_model(operation).output_shape
    answer = {"status_code": status, "headers": {}, "body": json.dumps(body).encode()}
    parsed: dict[str, Any] = _parser().parse(answer, shape)
    return parsed


def _about(aws: ModelAws, params: dict[str, Any]) -> str:
    """Whom a call is about, in names."""
    directory, words = aws.directory, []
    if (user := params.get("PrincipalId") or params.get("UserId")) in directory.users:
        words.append(directory.users[user].user_name.partition("@")[0])
    if (account := params.get("TargetId") or params.get("AccountId")) in directory.accounts:
        words.append(directory.accounts[account].name)
    if (arn := params.get("PermissionSetArn")) in directory.permission_sets:
        words.append(directory.permission_sets[arn].name)
    return f" {'/'.join(words)}" if words else ""
