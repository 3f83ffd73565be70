"""Sends one AWS call at a time: clients, rate limiter, time-outs, metrics, paging, errors.

One long-lived client per API, since a client per call costs 24 times as much. The SDK repeats nothing. Reads
are repeated here, each time after a turn of their own; mutating calls never: a repeated Create can leave
access behind that nobody knows of.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from prometheus_client import Counter, Histogram

from services.provisioner.driver import Confirm, DriverProblem, Priority
from services.provisioner.identity_center.api_operations import APIS, OPERATIONS, Api, ApiOperation
from services.provisioner.identity_center.checked_body import CheckedBody
from services.provisioner.identity_center.dates import date_of
from services.provisioner.identity_center.problems import from_client_error, from_sdk_error
from services.provisioner.identity_center.types import (
    CHANGE_TIMEOUT_S,
    Credentials,
    IdentityCenterError,
    Limiter,
)
from shared.observability.logs import logger

MODELS: Final = Path(__file__).parent / "models"
"""Fields of AWS's answers that the pinned SDK does not know yet, in botocore's own `sdk-extras` form."""
CONNECT_TIMEOUT_S: Final = 3
READ_TIMEOUT_S: Final = 10
LONGEST_READ_S: Final = CONNECT_TIMEOUT_S + READ_TIMEOUT_S
"""From sending to the last byte. The SDK's own time-outs count anew with each byte that comes."""
READS_AGAIN: Final = {DriverProblem.THROTTLED: 3, DriverProblem.TRANSIENT: 1}
"""How often a read is repeated in place; after a throttle its turn is as late as the halved rate makes it."""
USER_AGENT: Final = "jit-access"
"""What CloudTrail shows of the caller, before the SDK's version. What the SDK says by itself names the
machine, and costs a tenth of a call."""

CALLS = Counter("jit_aws_calls_total", "AWS calls by outcome", ["api", "operation", "outcome"])
LATENCY = Histogram(
    "jit_aws_call_seconds",
    "Time from sending a call to its answer, without the wait for the rate limiter",
    ["api", "operation"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

log = logger("identity_center")


class Unlimited:
    """The limiter that never waits."""

    async def __call__(self, priority: str, service: str) -> None:
        pass

    def check(self, *, changes: bool) -> None:
        pass

    def throttled(self, service: str) -> None:
        pass


unlimited: Final = Unlimited()


class Calls:
    """Opens itself with the first call; `close` lets go of the connections and may be called twice."""

    def __init__(
        self,
        *,
        region: str,
        endpoint: str | None = None,
        credentials: Credentials | None = None,
        limiter: Limiter = unlimited,
        change_timeout_s: float = CHANGE_TIMEOUT_S,
    ) -> None:
        """A change is given up after `change_timeout_s`: the lease is held for as long."""
        self._region = region
        self._endpoint = endpoint
        self._session = _session(credentials)
        self._limiter = limiter
        self._change_timeout_s = change_timeout_s
        self.on_date: Callable[[datetime], None] = lambda _date: None
        """Told AWS's time with every answer."""
        self._opening = asyncio.Lock()
        self._stack: AsyncExitStack | None = None
        self._clients: dict[Api, Any] = {}

    async def open(self) -> None:
        """Make the clients; needs credentials but sends nothing. Raises DENIED where there are none."""
        async with self._opening:
            if self._stack is not None:
                return
            if await self._session.get_credentials() is None:
                raise IdentityCenterError(
                    DriverProblem.DENIED, "NoCredentials", detail="give the process a role or AWS_* variables"
                )
            async with AsyncExitStack() as stack:
                for api in APIS:
                    self._clients[api] = await self._client(stack, api)
                self._stack = stack.pop_all()

    async def close(self) -> None:
        async with self._opening:
            stack, self._stack = self._stack, None
            if stack is not None:
                await stack.aclose()

    async def send(
        self,
        operation: ApiOperation,
        *,
        priority: Priority,
        confirm: Confirm | None = None,
        **params: Any,
    ) -> dict[str, Any]:
        """One call and its answer; every failure is an `IdentityCenterError`.

        `confirm` is asked between the turn and the call, however long the turn was waited for; what it
        raises keeps the call from being sent. So does the limiter's check, which comes last.
        """
        if self._stack is None:
            await self.open()
        left = {} if operation.mutating else dict(READS_AGAIN)
        while True:
            await self._refresh_credentials()
            await self._limiter(priority, operation.api)
            if confirm is not None:
                await confirm()
            self._limiter.check(changes=operation.mutating)
            try:
                return await self._sent(operation, params)
            except IdentityCenterError as error:
                if error.problem is DriverProblem.THROTTLED:
                    self._limiter.throttled(operation.api)
                if not left.get(error.problem):
                    raise
                left[error.problem] -= 1

    async def _sent(self, operation: ApiOperation, params: dict[str, Any]) -> dict[str, Any]:
        method = getattr(self._clients[operation.api], xform_name(operation.name))
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._change_timeout_s if operation.mutating else LONGEST_READ_S):
                answer: dict[str, Any] = await method(**params)
        except ClientError as error:
            self._note_date(error.response)
            raise _failed(operation, from_client_error(error), started) from error
        except (BotoCoreError, ResponseParserError, TimeoutError) as error:
            raise _failed(operation, from_sdk_error(error), started) from error
        _measure(operation, "ok", started)
        self._note_date(answer)
        return answer

    async def _refresh_credentials(self) -> None:
        """Before the turn: it may take seconds, and nothing may lie between the last checks and the send."""
        try:
            credentials = await self._session.get_credentials()
            await credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise from_sdk_error(error) from error

    def _note_date(self, answer: Mapping[str, Any]) -> None:
        if (date := date_of(answer)) is not None:
            self.on_date(date)

    async def rows(
        self,
        operation: ApiOperation,
        name: str,
        *,
        priority: Priority,
        confirm: Confirm | None = None,
        **params: Any,
    ) -> AsyncIterator[Any]:
        """The rows called `name` from all pages. Only a missing token ends it: a page may be empty."""
        if operation.page:
            params["MaxResults"] = operation.page
        token: str | None = None
        while True:
            following: dict[str, Any] = {"NextToken": token} if token else {}
            page = await self.send(operation, priority=priority, confirm=confirm, **params, **following)
            for row in page.get(name, ()):
                yield row
            previous, token = token, page.get("NextToken")
            if not token:
                return
            if token == previous:
                raise IdentityCenterError(
                    DriverProblem.TRANSIENT,
                    "TokenRepeated",
                    detail=f"{operation.name} gave the same page twice",
                )

    async def _client(self, stack: AsyncExitStack, api: Api) -> Any:
        config = AioConfig(
            user_agent=USER_AGENT,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "total_max_attempts": 1},
            # AWS_ENDPOINT_URL would be an endpoint override that the settings cannot refuse in production.
            ignore_configured_endpoint_urls=True,
        )
        client = await stack.enter_async_context(
            self._session.client(api, region_name=self._region, endpoint_url=self._endpoint, config=config)
        )
        for operation in OPERATIONS:
            if operation.api == api and operation.mutating:
                client.meta.events.register(f"before-send.{api}.{operation.name}", self._check_signed)
        return client

    def _check_signed(self, request: AWSPreparedRequest, **_: Any) -> None:
        """The SDK takes milliseconds to sign a change, in which the process may have been stopped."""
        self._limiter.check(changes=True)
        request.body = CheckedBody(request.body, partial(self._limiter.check, changes=True))


def _session(credentials: Credentials | None) -> Any:
    core = get_session()
    core.register_component("data_loader", _models())
    if credentials is None:
        return aioboto3.Session(botocore_session=core)
    return aioboto3.Session(
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
        botocore_session=core,
    )


@cache
def _models() -> Loader:
    """Ours before botocore's. Shared, since it keeps what it has read."""
    return create_loader(str(MODELS))


def _failed(operation: ApiOperation, error: IdentityCenterError, started: float) -> IdentityCenterError:
    _measure(operation, error.problem.value, started)
    if error.problem is not DriverProblem.NOT_FOUND:  # an answer like another: no boundary, no such user
        log.info(
            "aws call failed",
            operation=operation.name,
            problem=error.problem.value,
            code=error.code,
            ambiguous=error.ambiguous,
        )
    return error


def _measure(operation: ApiOperation, outcome: str, started: float) -> None:
    CALLS.labels(operation.api, operation.name, outcome).inc()
    LATENCY.labels(operation.api, operation.name).observe(time.perf_counter() - started)
