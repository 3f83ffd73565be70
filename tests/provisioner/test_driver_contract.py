"""Every driver against the contract; today Identity Center, on the simulator."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from services.provisioner.driver import AssignmentKey, Driver
from services.provisioner.identity_center.adapter import IdentityCenter
from simulator.server import Simulator
from tests.provisioner.driver_contract import DriverContract, Rig, Trouble
from tests.support.aws import Turns, adapter, assignment_key, finish, simulated_aws

FAULTS: dict[Trouble, dict[str, Any]] = {
    "throttled": {"kind": "error", "code": "ThrottlingException", "message": "Rate exceeded"},
    "slots_full": {
        "kind": "error",
        "code": "ThrottlingException",
        "message": "There are too many requests in process",
    },
    "answer_lost": {"kind": "reset_after_accept"},
    "never_arrived": {"kind": "reset_before"},
    "fails": {"kind": "fail_async", "reason": "role limit reached"},
}
CALLS = {"create": "CreateAccountAssignment", "delete": "DeleteAccountAssignment"}


@dataclass
class OnIdentityCenter:
    aws: Simulator
    centre: IdentityCenter
    priorities: list[str] = field(default_factory=list)

    @property
    def driver(self) -> Driver:
        return self.centre

    def key(self, user: str = "ann", account: str = "orders-prod") -> AssignmentKey:
        return assignment_key(self.aws, user=user, account=account)

    def group_holds(self, key: AssignmentKey) -> str:
        self.aws.edit(
            action="add_assignment", group="dev", account="orders-prod", permission_set="Administrator"
        )
        return str(self.aws.directory.find_group("dev").id)

    def nowhere(self) -> AssignmentKey:
        return replace(self.key(), account_id="000000000000")

    def trouble(self, call: Literal["create", "delete"], what: Trouble) -> None:
        self.aws.fault(operation=CALLS[call], times=1, **FAULTS[what])

    def finish(self) -> None:
        finish(self.aws)

    def there(self, key: AssignmentKey) -> bool:
        return any(
            (row.principal, row.account, row.permission_set) == (key.user_id, key.account_id, key.set_arn)
            for row in self.aws.assignments()
        )


class TestIdentityCenter(DriverContract):
    @pytest.fixture
    async def rig(self) -> AsyncIterator[Rig]:
        turns = Turns()
        async with simulated_aws() as aws, adapter(aws, limiter=turns) as centre:
            yield OnIdentityCenter(aws, centre, turns.asked)
