"""The same burst through the SDK alone, in one of its retry modes: what JIT's own limits are compared with.

Two clients, all grants at once, each followed by its own Describe a second. It is favoured: one grant of a
pair after the other, since AWS refuses two at once and the SDK repeats no conflict; and it reads nothing
before or after.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Literal, get_args

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from services.provisioner.driver import AssignmentKey
from simulator.server import Simulator

Mode = Literal["legacy", "standard", "adaptive"]
MODES: Final = get_args(Mode)
_ATTEMPTS: Final[dict[Mode, int]] = {"legacy": 5, "standard": 3, "adaptive": 10}
"""AWS's own defaults; adaptive has to be given more to be useful at all."""
_CLIENTS: Final = 2
_POLL_S: Final = 1.0


async def grant_all(aws: Simulator, mode: Mode, keys: Sequence[AssignmentKey]) -> int:
    """How many are known to have succeeded when everything has ended or failed."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(_client(aws, mode)) for _ in range(_CLIENTS)]
        instance = aws.directory.instance.arn
        alone: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

        async def one(number: int, key: AssignmentKey) -> bool:
            async with alone[key.account_id, key.set_arn]:
                return await _grant(clients[number % _CLIENTS], instance, key)

        return sum(await asyncio.gather(*(one(number, key) for number, key in enumerate(keys))))


def _client(aws: Simulator, mode: Mode) -> Any:
    config = AioConfig(retries={"mode": mode, "total_max_attempts": _ATTEMPTS[mode]})
    return get_session().create_client(
        "sso-admin",
        region_name="eu-central-1",
        endpoint_url=aws.url,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="made-up",  # noqa: S106 (the simulator looks at no key)
        config=config,
    )


async def _grant(client: Any, instance: str, key: AssignmentKey) -> bool:
    """Whether its success came to be known; an error that the SDK gives up on is the end."""
    try:
        answer = await client.create_account_assignment(
            InstanceArn=instance,
            TargetId=key.account_id,
            TargetType="AWS_ACCOUNT",
            PermissionSetArn=key.set_arn,
            PrincipalType="USER",
            PrincipalId=key.user_id,
        )
        status = answer["AccountAssignmentCreationStatus"]
        while status["Status"] == "IN_PROGRESS":
            await asyncio.sleep(_POLL_S)
            answer = await client.describe_account_assignment_creation_status(
                InstanceArn=instance, AccountAssignmentCreationRequestId=status["RequestId"]
            )
            status = answer["AccountAssignmentCreationStatus"]
    except (ClientError, BotoCoreError):
        return False
    return bool(status["Status"] == "SUCCEEDED")
