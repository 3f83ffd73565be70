"""What the simulator refuses, in AWS's own error codes and texts.

Raised by the operation modules and by `validation`; turned into the wire form by `wire` only.
Every class of refusal that AWS documents as final or retryable keeps AWS's code, so clients decide alike.
"""

from typing import Any


class ApiError(Exception):
    """One AWS error: `code` goes to `__type`, `members` are further fields of the modelled exception."""

    def __init__(self, code: str, message: str, *, status: int = 400, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members


def invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def invalid_input(reason: str, message: str) -> ApiError:
    """Organizations' form of a validation error; `reason` is one of its InvalidInputExceptionReason."""
    return ApiError("InvalidInputException", message, Reason=reason)


def not_found(message: str, **members: Any) -> ApiError:
    return ApiError("ResourceNotFoundException", message, **members)


def conflict(message: str) -> ApiError:
    return ApiError("ConflictException", message)


def denied(message: str) -> ApiError:
    return ApiError("AccessDeniedException", message)


def rate_exceeded(service: str) -> ApiError:
    """The rate limit's answer; Organizations has a name of its own for it."""
    if service == "organizations":
        return ApiError("TooManyRequestsException", "Rate exceeded", Type="Rate")
    members = {"RetryAfterSeconds": 1} if service == "identitystore" else {}
    return ApiError("ThrottlingException", "Rate exceeded", **members)


def slots_exhausted() -> ApiError:
    # The same code as the rate limit: AWS lets a caller tell the two apart by the text only.
    return ApiError(
        "ThrottlingException",
        "There are too many requests processing for this instance. Try again when they have completed.",
    )


def internal(service: str) -> ApiError:
    code = "ServiceException" if service == "organizations" else "InternalServerException"
    return ApiError(code, "The request processing has failed because of an internal error.", status=500)
