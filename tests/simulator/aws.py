"""Unmodified boto3 clients on a simulator, called from a thread, and the names of its organisation.

The clients' own parameter checks are off, so that what is wrong reaches the simulator.
"""

import asyncio
from typing import Any

import boto3
import httpx2
from botocore.config import Config
from botocore.exceptions import ClientError

from simulator.clock import ManualClock
from simulator.server import Simulator
from simulator.wire import CONTENT_TYPE

SSO, STORE, ORG = SERVICES = ("sso-admin", "identitystore", "organizations")
SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-central-1/{}/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=00ff"
)


class Aws:
    def __init__(self, simulator: Simulator, clock: ManualClock) -> None:
        self.simulator = simulator
        self.clock = clock
        self.clients = {service: _client(service, simulator.url) for service in SERVICES}

    async def call(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        """One call; the instance and the identity store are filled in where the operation wants them."""
        client = self.clients[service]
        method = getattr(client, operation)
        answer: dict[str, Any] = await asyncio.to_thread(method, **(self._usual(client, operation) | params))
        return answer

    async def refused(self, service: str, operation: str, **params: Any) -> dict[str, Any]:
        """The error response of a call that must fail."""
        try:
            answer = await self.call(service, operation, **params)
        except ClientError as error:
            return error.response
        raise AssertionError(f"{operation} should have been refused, but was answered {answer}")

    async def code(self, service: str, operation: str, **params: Any) -> str:
        return str((await self.refused(service, operation, **params))["Error"]["Code"])

    async def rows(self, service: str, operation: str, name: str, **params: Any) -> list[Any]:
        """All rows of a list operation, page by page."""
        rows: list[Any] = []
        token: dict[str, str] = {}
        while True:
            answer = await self.call(service, operation, **params | token)
            rows += answer[name]
            if "NextToken" not in answer:
                return rows
            token = {"NextToken": answer["NextToken"]}

    def assignment(
        self, user: str = "ann", account: str = "orders-prod", name: str = "ReadOnly"
    ) -> dict[str, str]:
        """The parameters of Create- and DeleteAccountAssignment."""
        directory = self.simulator.directory
        return {
            "TargetId": directory.find_account(account).id,
            "TargetType": "AWS_ACCOUNT",
            "PermissionSetArn": directory.find_set(name).arn,
            "PrincipalType": "USER",
            "PrincipalId": directory.find_user(user).id,
        }

    async def create(self, **names: str) -> str:
        """Ask for an assignment by names; the request's id."""
        answer = await self.call("sso-admin", "create_account_assignment", **self.assignment(**names))
        return str(answer["AccountAssignmentCreationStatus"]["RequestId"])

    async def delete(self, **names: str) -> str:
        answer = await self.call("sso-admin", "delete_account_assignment", **self.assignment(**names))
        return str(answer["AccountAssignmentDeletionStatus"]["RequestId"])

    async def creation(self, request_id: str) -> dict[str, Any]:
        answer = await self.call(
            "sso-admin",
            "describe_account_assignment_creation_status",
            AccountAssignmentCreationRequestId=request_id,
        )
        status: dict[str, Any] = answer["AccountAssignmentCreationStatus"]
        return status

    async def deletion(self, request_id: str) -> dict[str, Any]:
        answer = await self.call(
            "sso-admin",
            "describe_account_assignment_deletion_status",
            AccountAssignmentDeletionRequestId=request_id,
        )
        status: dict[str, Any] = answer["AccountAssignmentDeletionStatus"]
        return status

    async def listed(self, account: str = "orders-prod", name: str = "ReadOnly") -> list[str]:
        """The ids that ListAccountAssignments shows for an account and a set."""
        directory = self.simulator.directory
        rows = await self.rows(
            "sso-admin",
            "list_account_assignments",
            "AccountAssignments",
            AccountId=directory.find_account(account).id,
            PermissionSetArn=directory.find_set(name).arn,
        )
        return [row["PrincipalId"] for row in rows]

    def user(self, name: str) -> str:
        return self.simulator.directory.find_user(name).id

    async def raw(self, *, body: bytes = b"{}", **headers: str) -> httpx2.Response:
        """A request that no AWS client would make; an empty header is left out."""
        usual = {
            "Content-Type": CONTENT_TYPE,
            "X-Amz-Target": "AWSOrganizationsV20161128.ListRoots",
            "Authorization": SIGNED.format("organizations"),
        }
        wanted = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx2.AsyncClient() as client:
            given = {name: value for name, value in wanted.items() if value}
            return await client.post(self.simulator.url, content=body, headers=given)

    async def sim(self, method: str, path: str, body: Any = None) -> Any:
        """A call of the administration interface; its JSON."""
        async with httpx2.AsyncClient(base_url=self.simulator.url) as client:
            answer = await client.request(method, f"/_sim{path}", json=body)
        return answer.json()

    def close(self) -> None:
        for client in self.clients.values():
            client.close()

    def _usual(self, client: Any, operation: str) -> dict[str, str]:
        name = client.meta.method_to_api_mapping[operation]
        shape = client.meta.service_model.operation_model(name).input_shape
        required = shape.required_members if shape else []
        instance = self.simulator.directory.instance
        usual = {"InstanceArn": instance.arn, "IdentityStoreId": instance.identity_store}
        return {member: value for member, value in usual.items() if member in required}


def _client(service: str, url: str) -> Any:
    return boto3.client(
        service,
        region_name="eu-central-1",
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )
