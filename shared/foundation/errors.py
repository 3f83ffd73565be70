"""Every error a person or a program can be told about, in one tree.

JitError
├── Invalid              422  the input is wrong; names the fields
├── Malformed            400  the request cannot be read at all
├── Unauthenticated      401  no token, or one that does not hold
├── Forbidden            403  known caller, not allowed; names the guard or rule
├── NotFound             404  not there, or not for this caller to see
├── TooSlow              408
├── Conflict             409  the state does not allow it now
├── PreconditionFailed   412  changed since it was read
├── TooLarge             413
├── UnsupportedMedia     415
├── PreconditionRequired 428  If-Match is missing
├── TooMany              429  more at once than anybody needs; says how long to wait
├── NotReady             503  retry later; nothing was decided or changed
└── Bug                  500  must not happen; says so

`code` is stable and part of the API (RFC 9457 `type` is `urn:jit:problem:<code>`). The sentence is
for the person who reads it and says what to do. Rendering to HTTP is in shared/http/problems.py, only there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One wrong field: a JSON pointer into the body (or a parameter's name), a stable code, a sentence."""

    field: str
    code: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field, "code": self.code, "detail": self.detail}


@dataclass(frozen=True)
class Denied:
    """What was refused to somebody; becomes the fact `authz.denied`, also where the answer is 404."""

    verb: str
    subject: str
    """Ticket id where there is one, else what was asked about."""
    rules: tuple[str, ...] = ()
    object_id: str | None = None


class JitError(Exception):
    """Base of all errors that have an answer. `retryable` means the same call may succeed later."""

    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    wait_s = 2
    """Whole seconds after which it is worth trying again, where `retryable`."""
    title: ClassVar[str] = "Error"

    def __init__(
        self,
        detail: str,
        *,
        code: str,
        fields: Sequence[FieldError] = (),
        extra: Mapping[str, Any] | None = None,
        denied: "Denied | None" = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code
        self.fields = tuple(fields)
        self.extra = dict(extra or {})
        self.denied = denied


class Invalid(JitError):
    status = 422
    title = "The request has errors"


class Malformed(JitError):
    status = 400
    title = "The request cannot be read"


class Unauthenticated(JitError):
    status = 401
    title = "Not authenticated"


class Forbidden(JitError):
    status = 403
    title = "Not allowed"


class NotFound(JitError):
    status = 404
    title = "Not found"


class TooSlow(JitError):
    status = 408
    title = "Too slow"


class Conflict(JitError):
    status = 409
    title = "Not possible in the present state"


class PreconditionFailed(JitError):
    status = 412
    title = "Changed since it was read"


class TooLarge(JitError):
    status = 413
    title = "Too large"


class UnsupportedMedia(JitError):
    status = 415
    title = "Unsupported media type"


class PreconditionRequired(JitError):
    status = 428
    title = "If-Match is required"


class TooMany(JitError):
    status = 429
    retryable = True
    title = "Too many requests"

    def __init__(self, detail: str, *, code: str, wait_s: int) -> None:
        super().__init__(detail, code=code)
        self.wait_s = wait_s


class NotReady(JitError):
    status = 503
    retryable = True
    title = "Not ready"


class Bug(JitError):
    """A state that must not exist. The message should say "this is a bug"."""

    title = "This is a bug"
