"""The AWS JSON 1.1 protocol: one POST path, the operation in X-Amz-Target, errors in __type.

Parses, refuses what AWS refuses before looking at an operation, applies faults and limits, checks the
parameters, and hands a Call to the operation modules. Everything that comes in is written to the records.
"""

import asyncio
import json
import re
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from typing import Any

from aiohttp import web

from simulator import identity_store, organizations, sso_assignments, sso_provisioning, sso_sets
from simulator.asynchronous import Plan, new_uuid
from simulator.call import Call, Operation
from simulator.clock import Clock, SystemClock
from simulator.errors import ApiError, internal, rate_exceeded
from simulator.faults import AFTER_ACCEPTANCE, FaultRule, Faults
from simulator.records import Records
from simulator.validation import check, load_model, without_nulls
from simulator.world import World

CONTENT_TYPE = "application/x-amz-json-1.1"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/,\s]+/\d{8}/[a-z0-9-]+/(?P<service>[a-z0-9-]+)/aws4_request,\s*"
    r"SignedHeaders=[^,\s]+,\s*Signature=[0-9a-f]+"
)


@dataclass(frozen=True, slots=True)
class Service:
    """One API: its name in botocore, the name requests are signed for, and its operations."""

    name: str
    signing_name: str
    operations: dict[str, Operation]
    model: Any


@dataclass(slots=True)
class Exchange:
    """One request on its way; filled as it is understood, a refusal is recorded with what is known."""

    request_id: str
    started: float
    service: str = ""
    operation: str = "?"
    params: dict[str, Any] = field(default_factory=dict)


@cache
def load_services() -> dict[str, Service]:
    """By target prefix. Reads botocore's models, which takes a moment."""
    sso = sso_sets.OPERATIONS | sso_provisioning.OPERATIONS | sso_assignments.OPERATIONS
    return {
        "SWBExternalService": _service("sso-admin", "sso", sso),
        "AWSIdentityStore": _service("identitystore", "identitystore", identity_store.OPERATIONS),
        "AWSOrganizationsV20161128": _service("organizations", "organizations", organizations.OPERATIONS),
    }


def _service(name: str, signing_name: str, operations: dict[str, Operation]) -> Service:
    return Service(name, signing_name, operations, load_model(name))


class Wire:
    """`changed` is called after every call that may have changed the world, before the answer goes out."""

    def __init__(self, clock: Clock, faults: Faults, records: Records, changed: Any) -> None:
        self.world: World
        self.services = load_services()
        self._clock = clock
        self.faults = faults
        self._records = records
        self._changed = changed

    async def handle(self, request: web.Request) -> web.StreamResponse:
        exchange = Exchange(request_id=new_uuid(self.world.rng), started=self._clock.now())
        fault: FaultRule | None = None
        try:
            service = self._understand(request, await request.read(), exchange)
            fault = self.faults.strike(exchange.operation, exchange.params, self.world.directory)
            await self._delay(fault)
            if fault and fault.kind == "reset_before":
                return self._cut(request, exchange, "reset_before")
            answer = self._answer(service, exchange, fault)
        except ApiError as error:
            if fault and fault.kind in AFTER_ACCEPTANCE:
                self.faults.spare(fault)
            return self._refusal(exchange, error)
        if fault and fault.kind == "reset_after_accept":
            return self._cut(request, exchange, "reset_after_accept", answer)
        self._record(exchange, "ok", answer=answer)
        return self._response(200, answer, exchange.request_id)

    def _understand(self, request: web.Request, body: bytes, exchange: Exchange) -> Service:
        """Fill `exchange` from headers and body. Raises ApiError as AWS's front door does."""
        prefix, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
        service = self.services.get(prefix)
        if service is None or request.content_type != CONTENT_TYPE:
            raise ApiError("UnknownOperationException", "The requested operation is not known.", status=404)
        exchange.service, exchange.operation = service.name, operation
        _check_authorization(request.headers.get("Authorization"), service)
        if operation not in service.operations:
            raise _not_simulated(service, operation)
        exchange.params = _parsed(body)
        return service

    def _answer(self, service: Service, exchange: Exchange, fault: FaultRule | None) -> dict[str, Any]:
        now = self._clock.now()
        if fault and fault.kind == "error":
            raise ApiError(fault.code, fault.message, status=fault.status)
        if fault and fault.kind == "http500":
            raise internal(service.name)
        rate = self.world.settings.rate_per_second.get(service.name, 0)
        if not self.world.limits.allow(service.name, per_second=rate, now=now):
            raise rate_exceeded(service.name)
        check(service.name, service.model.operation_model(exchange.operation).input_shape, exchange.params)
        if self.world.advance(now):
            self._changed()
        plan = fault.plan if fault else Plan()
        call = Call(service.name, exchange.operation, exchange.params, self.world, now, plan)
        answer = service.operations[exchange.operation](call)
        if not exchange.operation.startswith(("List", "Describe", "Get", "Is")):
            self._changed()
        return answer

    async def _delay(self, fault: FaultRule | None) -> None:
        # With a clock that tests move, waiting in real time would only make them slow.
        if fault and fault.kind == "latency" and isinstance(self._clock, SystemClock):
            await asyncio.sleep(fault.seconds)

    def _cut(
        self, request: web.Request, exchange: Exchange, outcome: str, answer: dict[str, Any] | None = None
    ) -> web.StreamResponse:
        """Drop the connection without an answer."""
        self._record(exchange, outcome, answer=answer)
        if request.transport:
            request.transport.abort()
        return web.Response()

    def _refusal(self, exchange: Exchange, error: ApiError) -> web.Response:
        self._record(exchange, "error", error=error.code, status=error.status)
        body = {"__type": error.code, "Message": error.message, **error.members}
        if exchange.service == "identitystore":
            body["RequestId"] = exchange.request_id
        response = self._response(error.status, body, exchange.request_id)
        response.headers["x-amzn-ErrorType"] = error.code
        return response

    def _response(self, status: int, body: dict[str, Any], request_id: str) -> web.Response:
        """Dated by the simulator's clock, as AWS dates by its own."""
        headers = {
            "x-amzn-RequestId": request_id,
            "Content-Type": CONTENT_TYPE,
            "Date": formatdate(self._clock.now(), usegmt=True),
        }
        return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)

    def _record(
        self,
        exchange: Exchange,
        outcome: str,
        *,
        status: int = 200,
        error: str | None = None,
        answer: dict[str, Any] | None = None,
    ) -> None:
        self._records.call(
            time=exchange.started,
            request_id=exchange.request_id,
            service=exchange.service,
            operation=exchange.operation,
            params=exchange.params,
            outcome=outcome,
            status=status,
            error=error,
            async_request_id=_async_id(answer),
        )


def _check_authorization(header: str | None, service: Service) -> None:
    """A signature must be there and be meant for this service; whether it is right is not checked."""
    if not header:
        raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token", status=403)
    match = _AUTHORIZATION.fullmatch(header)
    if match is None:
        raise ApiError(
            "IncompleteSignatureException", "Authorization header is not a valid signature.", status=403
        )
    if match["service"] != service.signing_name:
        message = f"Credential should be scoped to correct service: '{service.signing_name}'."
        raise ApiError("InvalidSignatureException", message, status=403)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        params = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError("SerializationException", "The request body is not valid JSON.") from error
    if not isinstance(params, dict):
        raise ApiError("SerializationException", "The request body must be a JSON object.")
    cleaned: dict[str, Any] = without_nulls(params)
    return cleaned


def _not_simulated(service: Service, operation: str) -> ApiError:
    if operation in service.model.operation_names:
        message = f"The simulator does not have {operation}; docs/simulator.md lists what it has."
    else:
        message = f"The operation {operation} is not known."
    return ApiError("UnknownOperationException", message, status=404)


def _async_id(answer: dict[str, Any] | None) -> str | None:
    """The asynchronous request that an answer tells of, so that a judge can join calls and assignments."""
    for value in (answer or {}).values():
        if isinstance(value, dict) and "RequestId" in value:
            return str(value["RequestId"])
    return None
