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

from services.provisioner.driver import Problem
from services.provisioner.identity_center.types import IdentityCenterError

CODES: Final[Mapping[str, Problem]] = {
    "ThrottlingException": Problem.THROTTLED,
    "Throttling": Problem.THROTTLED,
    "TooManyRequestsException": Problem.THROTTLED,
    "RequestLimitExceeded": Problem.THROTTLED,
    "ConflictException": Problem.CONFLICT,
    "ConcurrentModificationException": Problem.CONFLICT,
    "ResourceNotFoundException": Problem.NOT_FOUND,
    "AccountNotFoundException": Problem.NOT_FOUND,
    "OrganizationalUnitNotFoundException": Problem.NOT_FOUND,
    "ParentNotFoundException": Problem.NOT_FOUND,
    "TargetNotFoundException": Problem.NOT_FOUND,
    "AccessDeniedException": Problem.DENIED,
    "AccessDenied": Problem.DENIED,
    "AccessDeniedForDependencyException": Problem.DENIED,
    "UnrecognizedClientException": Problem.DENIED,
    "InvalidClientTokenId": Problem.DENIED,
    "ExpiredTokenException": Problem.DENIED,
    "InvalidSignatureException": Problem.DENIED,
    "IncompleteSignatureException": Problem.DENIED,
    "MissingAuthenticationTokenException": Problem.DENIED,
    "OptInRequired": Problem.DENIED,
    "AWSOrganizationsNotInUseException": Problem.DENIED,
    "ServiceQuotaExceededException": Problem.QUOTA,
    "ConstraintViolationException": Problem.QUOTA,
    "ValidationException": Problem.INVALID,
    "InvalidInputException": Problem.INVALID,
    "SerializationException": Problem.INVALID,
    "UnknownOperationException": Problem.INVALID,
    "UnsupportedAPIEndpointException": Problem.INVALID,
    "InternalServerException": Problem.TRANSIENT,
    "InternalFailure": Problem.TRANSIENT,
    "ServiceException": Problem.TRANSIENT,
    "ServiceUnavailable": Problem.TRANSIENT,
    "ServiceUnavailableException": Problem.TRANSIENT,
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
    problem = CODES.get(code, Problem.TRANSIENT if status >= 500 else Problem.INVALID)
    if code.startswith("KMS") or str(answer.get("Reason", "")).startswith("KMS_"):
        problem = Problem.KMS
    elif problem is Problem.THROTTLED and _SLOTS_FULL.search(detail):
        # AWS has one code for both of its limits; only the sentence tells them apart.
        problem = Problem.SLOTS_FULL
    return IdentityCenterError(problem, code, detail=detail, ambiguous=status >= 500)


def from_sdk_error(error: Exception) -> IdentityCenterError:
    """No answer was understood: the call was not sent, or nobody knows what became of it."""
    code, detail = type(error).__name__, str(error)[:_DETAIL_LIMIT]
    if isinstance(error, ParamValidationError):
        return IdentityCenterError(Problem.INVALID, code, detail=detail)
    if isinstance(error, _NO_CREDENTIALS):
        return IdentityCenterError(Problem.DENIED, code, detail=detail)
    sent = not isinstance(error, (*_NEVER_SENT, CredentialRetrievalError)) and not _refused(error)
    return IdentityCenterError(Problem.TRANSIENT, code, detail=detail, ambiguous=sent)


def _refused(error: Exception) -> bool:
    """No connection was made.

    EndpointConnectionError says less than its name: the SDK also raises it for connections that break
    after the request was written, so what it wraps decides.
    """
    return isinstance(error, EndpointConnectionError) and isinstance(
        error.kwargs.get("error"), (ClientConnectorError, socket.gaierror)
    )
