"""One table that says what each AWS or network error means: retry, wait, or call an operator.

Used by `calls` only; everybody else sees `IdentityCenterError`.
"""

import re
import socket
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import ClientConnectorError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)

from services.provisioner.driver import DriverProblem
from services.provisioner.identity_center.types import IdentityCenterError

CODES: Final[Mapping[str, DriverProblem]] = {
    "ThrottlingException": DriverProblem.THROTTLED,
    "Throttling": DriverProblem.THROTTLED,
    "TooManyRequestsException": DriverProblem.THROTTLED,
    "RequestLimitExceeded": DriverProblem.THROTTLED,
    "ConflictException": DriverProblem.CONFLICT,
    "ConcurrentModificationException": DriverProblem.CONFLICT,
    "ResourceNotFoundException": DriverProblem.NOT_FOUND,
    "AccountNotFoundException": DriverProblem.NOT_FOUND,
    "OrganizationalUnitNotFoundException": DriverProblem.NOT_FOUND,
    "ParentNotFoundException": DriverProblem.NOT_FOUND,
    "TargetNotFoundException": DriverProblem.NOT_FOUND,
    "AccessDeniedException": DriverProblem.DENIED,
    "AccessDenied": DriverProblem.DENIED,
    "AccessDeniedForDependencyException": DriverProblem.DENIED,
    "UnrecognizedClientException": DriverProblem.DENIED,
    "InvalidClientTokenId": DriverProblem.DENIED,
    "ExpiredTokenException": DriverProblem.DENIED,
    "InvalidSignatureException": DriverProblem.DENIED,
    "IncompleteSignatureException": DriverProblem.DENIED,
    "MissingAuthenticationTokenException": DriverProblem.DENIED,
    "OptInRequired": DriverProblem.DENIED,
    "AWSOrganizationsNotInUseException": DriverProblem.DENIED,
    "ServiceQuotaExceededException": DriverProblem.QUOTA,
    "ConstraintViolationException": DriverProblem.QUOTA,
    "ValidationException": DriverProblem.INVALID,
    "InvalidInputException": DriverProblem.INVALID,
    "SerializationException": DriverProblem.INVALID,
    "UnknownOperationException": DriverProblem.INVALID,
    "UnsupportedAPIEndpointException": DriverProblem.INVALID,
    "InternalServerException": DriverProblem.TRANSIENT,
    "InternalFailure": DriverProblem.TRANSIENT,
    "ServiceException": DriverProblem.TRANSIENT,
    "ServiceUnavailable": DriverProblem.TRANSIENT,
    "ServiceUnavailableException": DriverProblem.TRANSIENT,
}
"""What is not here is TRANSIENT with a 5xx status and INVALID otherwise."""

_SLOTS_FULL = re.compile(
    r"too many\b.{0,30}\brequests?\b.{0,30}\b(process|in progress|pending|outstanding)", re.IGNORECASE
)
_NEVER_SENT = (ConnectTimeoutError, ProxyConnectionError, SSLError)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, NoAuthTokenError)
_DETAIL_LIMIT = 500


def from_client_error(error: ClientError) -> IdentityCenterError:
    """AWS answered and said no."""
    answer: dict[str, Any] = error.response
    fault = answer.get("Error", {})
    code, detail = str(fault.get("Code", "Unknown")), str(fault.get("Message", ""))[:_DETAIL_LIMIT]
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
    problem = CODES.get(code, DriverProblem.TRANSIENT if status >= 500 else DriverProblem.INVALID)
    if code.startswith("KMS") or str(answer.get("Reason", "")).startswith("KMS_"):
        problem = DriverProblem.KMS
    elif problem is DriverProblem.THROTTLED and _SLOTS_FULL.search(detail):
        # AWS has one code for both of its limits; only the sentence tells them apart.
        problem = DriverProblem.SLOTS_FULL
    return IdentityCenterError(problem, code, detail=detail, ambiguous=status >= 500)


def from_sdk_error(error: Exception) -> IdentityCenterError:
    """No answer was understood: the call was not sent, or nobody knows what became of it."""
    code, detail = type(error).__name__, str(error)[:_DETAIL_LIMIT]
    if isinstance(error, ParamValidationError):
        return IdentityCenterError(DriverProblem.INVALID, code, detail=detail)
    if isinstance(error, _NO_CREDENTIALS):
        return IdentityCenterError(DriverProblem.DENIED, code, detail=detail)
    sent = not isinstance(error, (*_NEVER_SENT, CredentialRetrievalError)) and not _refused(error)
    return IdentityCenterError(DriverProblem.TRANSIENT, code, detail=detail, ambiguous=sent)


def _refused(error: Exception) -> bool:
    """No connection was made.

    EndpointConnectionError says less than its name: the SDK also raises it for connections that break
    after the request was written, so what it wraps decides.
    """
    return isinstance(error, EndpointConnectionError) and isinstance(
        error.kwargs.get("error"), (ClientConnectorError, socket.gaierror)
    )
