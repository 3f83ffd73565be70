"""The driver for IAM Identity Center, and the two facts that are checked again before each grant.

Decides nothing: it sends, reads to the last page, and translates answers and errors into our types.
The engine knows it as `Driver` and `Directory` (driver.py); `reads`, its other half, serves the inventory.
"""

from datetime import UTC
from typing import Any, Self

from services.provisioner.domain.assignments import CallKind
from services.provisioner.driver import (
    AssignmentKey,
    AwsPrincipal,
    Confirm,
    DriverProblem,
    Priority,
    Request,
    UserStatus,
)
from services.provisioner.identity_center import rows
from services.provisioner.identity_center.api_operations import (
    CREATE_ASSIGNMENT,
    DELETE_ASSIGNMENT,
    DESCRIBE_ACCOUNT,
    DESCRIBE_CREATION,
    DESCRIBE_DELETION,
    DESCRIBE_SET,
    DESCRIBE_USER,
    LIST_ACCOUNTS,
    LIST_ASSIGNMENTS,
    LIST_CREATIONS,
    LIST_DELETIONS,
    LIST_USERS,
)
from services.provisioner.identity_center.calls import Calls, unlimited
from services.provisioner.identity_center.reads import InventoryReads
from services.provisioner.identity_center.types import (
    CHANGE_TIMEOUT_S,
    Credentials,
    IdentityCenterError,
    Instance,
    Limiter,
)

_DESCRIBED = {
    "create": (
        DESCRIBE_CREATION,
        "AccountAssignmentCreationRequestId",
        "AccountAssignmentCreationStatus",
    ),
    "delete": (
        DESCRIBE_DELETION,
        "AccountAssignmentDeletionRequestId",
        "AccountAssignmentDeletionStatus",
    ),
}
_LISTED = {
    "create": (LIST_CREATIONS, "AccountAssignmentsCreationStatus"),
    "delete": (LIST_DELETIONS, "AccountAssignmentsDeletionStatus"),
}


class IdentityCenter(InventoryReads):
    """One Identity Center instance. Every method may raise `IdentityCenterError`.

    `endpoint` replaces AWS's own (the simulator); refusing it in production is the settings' task.
    """

    def __init__(
        self,
        *,
        region: str,
        endpoint: str | None = None,
        credentials: Credentials | None = None,
        instance_arn: str | None = None,
        limiter: Limiter = unlimited,
        change_timeout_s: float = CHANGE_TIMEOUT_S,
    ) -> None:
        calls = Calls(
            region=region,
            endpoint=endpoint,
            credentials=credentials,
            limiter=limiter,
            change_timeout_s=change_timeout_s,
        )
        super().__init__(calls, instance_arn=instance_arn)

    async def open(self) -> None:
        """Make the clients now instead of with the first call. Idempotent."""
        await self._calls.open()

    async def close(self) -> None:
        """Let go of the connections. Idempotent; a later call opens them again."""
        await self._calls.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def holders(
        self,
        account_id: str,
        set_arn: str,
        *,
        priority: Priority = "verify",
        confirm: Confirm | None = None,
    ) -> frozenset[AwsPrincipal]:
        """Who holds the set on the account now, as AWS's list shows it (which may lag behind)."""
        instance = await self._instance_of(set_arn)
        found = self._calls.rows(
            LIST_ASSIGNMENTS,
            "AccountAssignments",
            priority=priority,
            confirm=confirm,
            InstanceArn=instance.arn,
            AccountId=account_id,
            PermissionSetArn=set_arn,
        )
        return frozenset([AwsPrincipal(row["PrincipalType"], row["PrincipalId"]) async for row in found])

    async def is_gone(self, account_id: str, set_arn: str, *, priority: Priority = "verify") -> bool:
        """Whether the set or the account was asked for by itself, and is not there."""
        instance = await self._instance_of(set_arn)
        try:
            await self._calls.send(
                DESCRIBE_SET, priority=priority, InstanceArn=instance.arn, PermissionSetArn=set_arn
            )
        except IdentityCenterError as error:
            if error.problem is DriverProblem.NOT_FOUND:
                return True
            raise
        return await self.account_state(account_id, priority=priority) is None

    async def create(self, key: AssignmentKey, *, confirm: Confirm | None = None) -> Request:
        """Ask for an assignment; sent once. The answer proves nothing but that AWS took the request.

        `confirm` is asked right before the send, and stops it by raising.
        """
        answer = await self._calls.send(
            CREATE_ASSIGNMENT, priority="create", confirm=confirm, **await self._target(key)
        )
        return _request("create", answer["AccountAssignmentCreationStatus"])

    async def delete(self, key: AssignmentKey) -> Request:
        """Ask to take an assignment away; sent once. NOT_FOUND proves nothing: read back."""
        answer = await self._calls.send(DELETE_ASSIGNMENT, priority="revoke", **await self._target(key))
        return _request("delete", answer["AccountAssignmentDeletionStatus"])

    async def follow(self, kind: CallKind, request_id: str) -> Request:
        """What became of a request. NOT_FOUND where AWS no longer (or not for this kind) knows the id."""
        described, id_name, status_name = _DESCRIBED[kind]
        instance = await self.instance()
        asked_for: dict[str, Any] = {"InstanceArn": instance.arn, id_name: request_id}
        answer = await self._calls.send(described, priority="poll", **asked_for)
        return _request(kind, answer[status_name])

    async def outstanding(self, kind: CallKind) -> list[Request]:
        """All requests in progress, everybody's, without their keys."""
        listed, name = _LISTED[kind]
        instance = await self.instance()
        found = self._calls.rows(
            listed,
            name,
            priority="poll",
            InstanceArn=instance.arn,
            Filter={"Status": "IN_PROGRESS"},
        )
        return [_request(kind, row) async for row in found]

    async def newest(self, kind: CallKind) -> list[Request]:
        """The newest requests in whatever status, without keys and reasons: as many as one call shows."""
        listed, name = _LISTED[kind]
        instance = await self.instance()
        page = await self._calls.send(
            listed, priority="poll", InstanceArn=instance.arn, MaxResults=listed.page
        )
        return [_request(kind, row) for row in page.get(name, ())]

    async def user(self, user_id: str, *, priority: Priority = "grant") -> UserStatus | None:
        """None for a user that does not exist."""
        store = (await self.instance()).identity_store_id
        try:
            answer = await self._calls.send(
                DESCRIBE_USER, priority=priority, IdentityStoreId=store, UserId=user_id
            )
        except IdentityCenterError as error:
            if error.problem is DriverProblem.NOT_FOUND:
                return None
            raise
        return UserStatus(enabled=rows.enabled(answer))

    async def account_state(self, account_id: str, *, priority: Priority = "grant") -> str | None:
        """AWS's word (ACTIVE, SUSPENDED, ...); None for an account that is not in the organisation."""
        try:
            answer = await self._calls.send(DESCRIBE_ACCOUNT, priority=priority, AccountId=account_id)
        except IdentityCenterError as error:
            if error.problem is DriverProblem.NOT_FOUND:
                return None
            raise
        return rows.state(answer["Account"])

    async def set_digest(self, set_arn: str, *, priority: Priority = "grant") -> str | None:
        """Of what the permission set allows now; None for a set that does not exist. Six calls."""
        found = await self.permission_set(set_arn, priority=priority)
        return found.digest if found else None

    async def _instance_of(self, set_arn: str) -> Instance:
        """Ours. Raises INVALID for a set of another: what AWS says of it here says nothing about it."""
        instance = await self.instance()
        if set_arn.split("/")[1:2] != instance.arn.split("/")[1:2]:
            raise IdentityCenterError(
                DriverProblem.INVALID, "OtherInstance", detail=f"{set_arn} is not of {instance.arn}"
            )
        return instance

    async def every_user(self, *, priority: Priority = "grant") -> dict[str, UserStatus]:
        """All of the directory, by id: where many are asked for, pages of 100 are fewer calls."""
        store = (await self.instance()).identity_store_id
        found = self._calls.rows(LIST_USERS, "Users", priority=priority, IdentityStoreId=store)
        return {str(row["UserId"]): UserStatus(enabled=rows.enabled(row)) async for row in found}

    async def every_account_state(self, *, priority: Priority = "grant") -> dict[str, str]:
        """All of the organisation, by id, in pages of 20."""
        found = self._calls.rows(LIST_ACCOUNTS, "Accounts", priority=priority)
        return {str(row["Id"]): rows.state(row) async for row in found}

    async def _target(self, key: AssignmentKey) -> dict[str, Any]:
        return {
            "InstanceArn": (await self._instance_of(key.set_arn)).arn,
            "TargetType": "AWS_ACCOUNT",
            "TargetId": key.account_id,
            "PermissionSetArn": key.set_arn,
            "PrincipalType": "USER",
            "PrincipalId": key.user_id,
        }


def _request(kind: CallKind, row: dict[str, Any]) -> Request:
    created = row.get("CreatedDate")
    return Request(
        kind=kind,
        request_id=row["RequestId"],
        status=row["Status"],
        reason=row.get("FailureReason", ""),
        created_at=created.astimezone(UTC) if created else None,
        key=_key(row),
    )


def _key(row: dict[str, Any]) -> AssignmentKey | None:
    if row.get("PrincipalType") != "USER" or not {"TargetId", "PermissionSetArn"} <= row.keys():
        return None
    return AssignmentKey(row["PrincipalId"], row["TargetId"], row["PermissionSetArn"])
