import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientOSError
from aiohttp.client_reqrep import ConnectionKey
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from services.provisioner.driver import DriverProblem, UserStatus
from services.provisioner.identity_center.adapter import IdentityCenter
from services.provisioner.identity_center.problems import from_client_error, from_sdk_error
from simulator.server import Simulator
from tests.support.aws import (
    CREDENTIALS,
    REGION,
    adapter,
    assignment_key,
    failure,
    finish,
    operations,
    simulated_aws,
)


@pytest.fixture
async def aws() -> AsyncIterator[Simulator]:
    async with simulated_aws() as simulator:
        yield simulator


@pytest.fixture
async def centre(aws: Simulator) -> AsyncIterator[IdentityCenter]:
    async with adapter(aws) as centre:
        yield centre


@pytest.mark.parametrize(
    ("fault", "problem", "ambiguous"),
    [
        ({"kind": "error", "code": "ThrottlingException"}, DriverProblem.THROTTLED, False),
        (
            {"kind": "error", "message": "There are too many requests processing for this instance."},
            DriverProblem.SLOTS_FULL,
            False,
        ),
        ({"kind": "error", "code": "ConflictException"}, DriverProblem.CONFLICT, False),
        ({"kind": "error", "code": "ResourceNotFoundException"}, DriverProblem.NOT_FOUND, False),
        ({"kind": "error", "code": "AccessDeniedException"}, DriverProblem.DENIED, False),
        (
            {"kind": "error", "code": "ServiceQuotaExceededException", "status": 402},
            DriverProblem.QUOTA,
            False,
        ),
        ({"kind": "error", "code": "ValidationException"}, DriverProblem.INVALID, False),
        ({"kind": "error", "code": "NeverHeardOfException"}, DriverProblem.INVALID, False),
        ({"kind": "error", "code": "NeverHeardOfException", "status": 503}, DriverProblem.TRANSIENT, True),
        ({"kind": "http500"}, DriverProblem.TRANSIENT, True),
        ({"kind": "reset_before"}, DriverProblem.TRANSIENT, True),
        ({"kind": "reset_after_accept"}, DriverProblem.TRANSIENT, True),
    ],
)
async def test_create_fault_is_classified_and_sent_once(
    aws: Simulator, centre: IdentityCenter, fault: Mapping[str, Any], problem: DriverProblem, ambiguous: bool
) -> None:
    aws.fault(operation="CreateAccountAssignment", **fault)
    error = await failure(centre.create(assignment_key(aws)))
    assert (error.problem, error.ambiguous) == (problem, ambiguous)
    assert operations(aws).count("CreateAccountAssignment") == 1


async def test_create_reset_after_accept_happened_all_the_same(
    aws: Simulator, centre: IdentityCenter
) -> None:
    aws.fault(operation="CreateAccountAssignment", kind="reset_after_accept", times=1)
    wanted = assignment_key(aws)
    assert (await failure(centre.create(wanted))).ambiguous
    (found,) = await centre.outstanding("create")
    assert (await centre.follow("create", found.request_id)).key == wanted


async def test_create_with_every_slot_taken_is_told_from_a_throttle(
    aws: Simulator, centre: IdentityCenter
) -> None:
    aws.change_settings(slots=1)
    await centre.create(assignment_key(aws))
    error = await failure(centre.create(assignment_key(aws, account="search-dev")))
    assert error.problem is DriverProblem.SLOTS_FULL
    finish(aws)
    aws.change_settings(slots=10, rate_per_second={"sso-admin": 1})
    await centre.create(assignment_key(aws, account="search-dev"))
    error = await failure(centre.create(assignment_key(aws, account="search-test")))
    assert error.problem is DriverProblem.THROTTLED


async def test_create_in_the_management_account_as_delegate_is_denied(
    aws: Simulator, centre: IdentityCenter
) -> None:
    aws.change_settings(caller="delegated")
    assert (
        await failure(centre.create(assignment_key(aws, account="management")))
    ).problem is DriverProblem.DENIED


async def test_read_that_fails_once_is_repeated_by_the_sdk(aws: Simulator, centre: IdentityCenter) -> None:
    aws.fault(operation="DescribeUser", kind="http500", times=1)
    assert await centre.user(aws.directory.find_user("ann").id) == UserStatus(enabled=True)
    assert operations(aws).count("DescribeUser") == 2


async def test_call_without_a_listener_is_transient_and_never_sent(aws: Simulator) -> None:
    async with adapter(aws) as centre:
        await centre.instance()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses connections
            dead = IdentityCenter(
                region=REGION, endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}", credentials=CREDENTIALS
            )
            async with dead:
                dead._instance = await centre.instance()
                error = await failure(dead.create(assignment_key(aws)))
    assert (error.problem, error.ambiguous) == (DriverProblem.TRANSIENT, False)


def _client_error(code: str, status: int, **more: Any) -> ClientError:
    response = {
        "Error": {"Code": code, "Message": ""},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(response, "CreateAccountAssignment")  # type: ignore[no-untyped-call, unused-ignore]


def test_classify_key_trouble_under_any_code_is_kms() -> None:
    for error in (
        _client_error("AccessDeniedException", 400, Reason="KMS_AccessDeniedException"),
        _client_error("ThrottlingException", 400, Reason="KMS_ThrottlingException"),
        _client_error("KMSInvalidStateException", 400),
    ):
        assert from_client_error(error).problem is DriverProblem.KMS


_REFUSED = ClientConnectorError(
    ConnectionKey("127.0.0.1", 1, False, True, None, None, None, None),  # type: ignore[call-arg, unused-ignore]
    OSError("refused"),
)


@pytest.mark.parametrize(
    ("error", "problem", "ambiguous"),
    [
        (ConnectTimeoutError(endpoint_url="x"), DriverProblem.TRANSIENT, False),
        (ReadTimeoutError(endpoint_url="x"), DriverProblem.TRANSIENT, True),
        (ConnectionClosedError(endpoint_url="x"), DriverProblem.TRANSIENT, True),
        (EndpointConnectionError(endpoint_url="x", error=_REFUSED), DriverProblem.TRANSIENT, False),
        (
            EndpointConnectionError(endpoint_url="x", error=ClientOSError(104, "reset")),
            DriverProblem.TRANSIENT,
            True,
        ),
        (CredentialRetrievalError(provider="x", error_msg="y"), DriverProblem.TRANSIENT, False),
        (NoCredentialsError(), DriverProblem.DENIED, False),
        (ParamValidationError(report="x"), DriverProblem.INVALID, False),
        (ResponseParserError("x"), DriverProblem.TRANSIENT, True),
        (BotoCoreError(), DriverProblem.TRANSIENT, True),
    ],
)
def test_classify_errors_without_an_answer(error: Exception, problem: DriverProblem, ambiguous: bool) -> None:
    found = from_sdk_error(error)
    assert (found.problem, found.ambiguous) == (problem, ambiguous)
