import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from simulator.wire import CONTENT_TYPE
from tests.simulator.aws import ORG, SIGNED, Aws


async def test_request_without_authorization_is_refused(aws: Aws) -> None:
    answer = await aws.raw(Authorization="")
    assert answer.status_code == 403
    assert answer.json()["__type"] == "MissingAuthenticationTokenException"


async def test_authorization_that_is_no_signature_is_refused(aws: Aws) -> None:
    answer = await aws.raw(Authorization="Bearer something")
    assert (answer.status_code, answer.json()["__type"]) == (403, "IncompleteSignatureException")


async def test_signature_for_another_service_is_refused(aws: Aws) -> None:
    answer = await aws.raw(Authorization=SIGNED.format("sso"))
    assert (answer.status_code, answer.json()["__type"]) == (403, "InvalidSignatureException")


async def test_unknown_target_and_operation_are_refused(aws: Aws) -> None:
    for target in ("Nobody.ListRoots", "AWSOrganizationsV20161128.Nothing", ""):
        answer = await aws.raw(X_Amz_Target=target)
        assert (answer.status_code, answer.json()["__type"]) == (404, "UnknownOperationException")


async def test_operation_that_is_not_simulated_says_so(aws: Aws) -> None:
    answer = await aws.refused(ORG, "list_policies", Filter="SERVICE_CONTROL_POLICY")
    assert answer["Error"]["Code"] == "UnknownOperationException"
    assert "docs/simulator.md" in answer["Error"]["Message"]


async def test_other_content_type_is_refused(aws: Aws) -> None:
    answer = await aws.raw(Content_Type="application/json")
    assert answer.json()["__type"] == "UnknownOperationException"


async def test_body_that_is_no_json_object_is_refused(aws: Aws) -> None:
    for body in (b"{", b"[]", b"\xff"):
        answer = await aws.raw(body=body)
        assert (answer.status_code, answer.json()["__type"]) == (400, "SerializationException")


async def test_member_of_a_wrong_type_is_refused(aws: Aws) -> None:
    answer = await aws.raw(body=b'{"MaxResults": "5"}')
    assert answer.json()["__type"] == "SerializationException"


async def test_answers_carry_request_id_and_error_type(aws: Aws) -> None:
    answer = await aws.raw(body=b'{"MaxResults": 21}')
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert answer.headers["x-amzn-errortype"] == "InvalidInputException"
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-amzn-requestid"])


async def test_answers_and_errors_are_dated_by_the_simulators_clock(aws: Aws) -> None:
    now = datetime.fromtimestamp(int(aws.simulator.clock.now()), UTC)
    for body, status in ((b"{}", 200), (b'{"MaxResults": 21}', 400)):
        answer = await aws.raw(body=body)
        assert answer.status_code == status
        assert parsedate_to_datetime(answer.headers["date"]) == now


async def test_null_member_counts_as_absent(aws: Aws) -> None:
    assert (await aws.raw(body=b'{"MaxResults": null}')).status_code == 200
